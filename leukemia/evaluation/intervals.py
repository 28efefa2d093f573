"""How wide a figure is: cells of one subject are not independent, so subjects are resampled."""

import numpy as np

from leukemia.evaluation.metrics import THRESHOLD

RESAMPLES = 2000
COVERAGE = 0.95


def balanced_accuracy_interval(
    labels: np.ndarray, scores: np.ndarray, subjects: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of balanced accuracy by a bootstrap over subjects.

    labels (n,) 0/1, scores (n,) in [0, 1], subjects (n,). Resamples without both classes are
    left out; (NaN, NaN) where none is left or there is but one subject.
    Source: Field & Welsh 2007, cluster bootstrap.
    """
    counts = counts_by_subject(labels, scores, subjects)
    if len(counts) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    tp, fn, fp, tn = (draws @ counts).T.astype(np.float64)
    whole = (tp + fn > 0) & (fp + tn > 0)
    if not whole.any():
        return float("nan"), float("nan")
    values = (tp[whole] / (tp + fn)[whole] + tn[whole] / (fp + tn)[whole]) / 2
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def counts_by_subject(labels: np.ndarray, scores: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """(subjects, 4) int64: TP, FN, FP, TN of each subject's cells."""
    names, of_cell = np.unique(subjects, return_inverse=True)
    kind = 2 * (labels == 0) + (scores >= THRESHOLD)  # 0 FN, 1 TP, 2 TN, 3 FP
    counts = np.bincount(of_cell * 4 + kind, minlength=4 * len(names)).reshape(-1, 4)
    return counts[:, [1, 0, 3, 2]]
