"""Areas under ROC and precision-recall curves with all subjects and without each of them."""

import numpy as np

AT_ONCE = 4_000_000  # entries of the largest array, 32 MB


def auroc_without(
    places: np.ndarray, labels: np.ndarray, scores: np.ndarray, subjects: int
) -> np.ndarray:
    """(1 + subjects,) float64: the area under the ROC curve of all cells, then without each.

    places (n,) int in [0, subjects), labels (n,) 0/1, scores (n,). NaN where a class is gone.
    Pairs are counted with ranks: n log n in cells, however many subjects there are.
    """
    positive = labels == 1
    wins = placements(labels, scores)
    own = _own_wins(places, positive, scores, subjects)
    lost = np.bincount(places, wins, minlength=subjects) - own
    pairs = wins[positive].sum() - np.concatenate([[0.0], lost])
    first, second = (_left(places[side], subjects) for side in (positive, ~positive))
    possible = first * second
    areas = np.full(subjects + 1, np.nan)
    np.divide(pairs, possible, out=areas, where=possible > 0)
    return areas


def placements(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,) float64: against how many cells of the other class each cell is ordered rightly.

    A tie counts half. Source: DeLong, DeLong & Clarke-Pearson 1988, equation 4.
    """
    positive = labels == 1
    of_positive, of_negative = np.sort(scores[positive]), np.sort(scores[~positive])
    wins = np.empty(len(labels))
    wins[positive] = _below(of_negative, scores[positive])
    wins[~positive] = len(of_positive) - _below(of_positive, scores[~positive])
    return wins


def _below(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How many of the ordered scores lie below each score, where an equal one counts half."""
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return np.asarray((left + right) / 2)


def auprc_without(
    places: np.ndarray, labels: np.ndarray, scores: np.ndarray, subjects: int
) -> np.ndarray:
    """(1 + subjects,) float64: average precision of all cells, then without each subject.

    Arguments as in `auroc_without`; scikit-learn's average precision. Cells x subjects steps:
    0.3 s for 20,000 cells of 400 subjects.
    """
    order = np.argsort(-scores, kind="stable")
    places, positive, falling = places[order], labels[order] == 1, scores[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of equal scores
    chunk = max(1, AT_ONCE // len(falling))
    everyone = np.arange(-1, subjects)  # -1: nobody is left out
    return np.concatenate(
        [
            _average_precision(places != everyone[start : start + chunk, None], positive, ends)
            for start in range(0, len(everyone), chunk)
        ]
    )


def _average_precision(kept: np.ndarray, positive: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(m,) for kept (m, n) bool of cells in falling order; NaN where a class is gone."""
    called = np.cumsum(kept, axis=1, dtype=np.int32)[:, ends]
    hits = np.cumsum(kept & positive, axis=1, dtype=np.int32)[:, ends]
    gained = np.diff(hits, axis=1, prepend=0)
    summed = (gained * (hits / np.maximum(called, 1))).sum(axis=1)
    total = hits[:, -1]
    both = (total > 0) & (total < called[:, -1])
    areas = np.full(len(kept), np.nan)
    np.divide(summed, total, out=areas, where=both)
    return areas


def _own_wins(
    places: np.ndarray, positive: np.ndarray, scores: np.ndarray, subjects: int
) -> np.ndarray:
    """(subjects,): pairs within each subject that are ordered rightly."""
    # Sorted by subject first: what a cell then lies above is all of the subjects before it,
    # which is taken off, and its own subject's lower cells.
    _, dense = np.unique(scores, return_inverse=True)
    wins = placements(positive.astype(np.int8), places * (len(scores) + 1) + dense)
    earlier = np.cumsum(_counts(places[~positive], subjects)) - _counts(places[~positive], subjects)
    mine = places[positive]
    return np.bincount(mine, wins[positive] - earlier[mine], minlength=subjects)


def _left(places: np.ndarray, subjects: int) -> np.ndarray:
    """(1 + subjects,) float64: number of cells, then without each subject's."""
    return len(places) - np.concatenate([[0.0], _counts(places, subjects)])


def _counts(places: np.ndarray, subjects: int) -> np.ndarray:
    return np.bincount(places, minlength=subjects)
