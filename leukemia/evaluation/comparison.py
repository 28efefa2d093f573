"""Whether one technique is better than another on the same subjects, or only luckier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, chdtrc, ndtr, ndtri

from leukemia.errors import UserError
from leukemia.evaluation.curves import placements
from leukemia.evaluation.intervals import WORST, fewest, is_known, most_hidden
from leukemia.evaluation.jackknife import Repeats, aligned, leave_out, subject_counts
from leukemia.evaluation.metrics import THRESHOLD
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import (
    NOTHING,
    TAIL,
    VarianceComponents,
    of_seeds,
    of_subjects,
)

FEW = 25  # discordant cells: below, McNemar's chi-square is no good guide


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A figure of one technique less another's, with its 95 % interval and two-sided p.

    p is below .05 where the interval leaves 0 out. NaN where a class has fewer than two subjects.
    subjects: number of them. method: a few words for people.
    """

    value: float
    low: float
    high: float
    p: float
    subjects: int
    method: str


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Cells that only one of two techniques calls rightly (once a seed), and what follows.

    statistic: chi-square with one degree of freedom. p: two-sided, of equal accuracy.
    """

    only_a: int
    only_b: int
    statistic: float
    p: float
    subjects: int
    method: str


def difference(a: Repeats, b: Repeats, metric: str = "bal_acc") -> Difference:
    """How much better a is than b, for other subjects and networks trained anew.

    Subjects are paired by name, seeds by their order where there are as many. The two may have
    tested subjects in other folds, or other cells of them; a subject that only one has tested
    widens the interval as it would alone.

    Raises:
        UserError: no such metric, or a seed without cells.
    Source: Efron & Stein 1981; Owen 2007; Zou & Donner 2008 (see `spread`).
    """
    of_a, of_b = aligned(leave_out(subject_counts(a), metric), leave_out(subject_counts(b), metric))
    count = len(of_a.names)
    if not (is_known(of_a, metric) and is_known(of_b, metric)):
        nan = float("nan")
        return Difference(
            value=nan,
            low=nan,
            high=nan,
            p=nan,
            subjects=count,
            method="none: too few subjects of a class",
        )
    paired = len(of_a.whole) == len(of_b.whole)
    gap = of_a.less(of_b) if paired else of_a.over_seeds().less(of_b.over_seeds())
    apart = of_seeds(gap) if paired else [*of_seeds(of_a), *of_seeds(of_b)]
    around = VarianceComponents(parts=(of_subjects(gap), *apart))
    top = WORST.get(metric, 1.0)
    if around.variance <= NOTHING:
        return _without_spread(gap.value, fewest(gap, metric), top, count)
    low, high = max(gap.value - around.reach(), -top), min(gap.value + around.reach(), top)
    method = "paired jackknife over subjects" + " and seeds" * bool(apart)
    return Difference(
        value=gap.value, low=low, high=high, p=around.p(gap.value), subjects=count, method=method
    )


def mcnemar(a: Repeats, b: Repeats) -> Disagreement:
    """McNemar's test on the same cells, where those of one subject may go together.

    The seeds of a cell fall to its subject: the test is of these networks, not of others trained
    anew. With one cell a subject it is McNemar's without continuity correction, or the exact
    binomial test below 25 discordant cells.

    Raises:
        UserError: the two did not test the same cells in as many seeds.
    Source: Obuchowski 1998, without the factor (K-1)/K that McNemar's does not have.
    """
    pairs = _pairs(a, b)
    names, places = np.unique(pairs.subjects, return_inverse=True)
    only_a, only_b = (
        int(np.count_nonzero(one & ~other))
        for one, other in ((pairs.right_a, pairs.right_b), (pairs.right_b, pairs.right_a))
    )
    moved = np.bincount(places, pairs.right_a.astype(float) - pairs.right_b)
    squares = float(np.sum(moved**2))
    statistic = float(moved.sum() ** 2 / squares) if squares else 0.0
    p, method = float(chdtrc(1, statistic)), f"McNemar, clustered by {len(names)} subjects"
    if len(names) == len(places) and only_a + only_b < FEW:
        p = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
        method = "McNemar, exact"
    return Disagreement(
        only_a=only_a, only_b=only_b, statistic=statistic, p=p, subjects=len(names), method=method
    )


def delong(a: Repeats, b: Repeats) -> Difference:
    """The difference of the areas under two ROC curves of the same cells, clustered by subject.

    Areas are means over folds and seeds, of these networks. It leans on the normal distribution:
    with fewer than 20 subjects a class prefer `difference(a, b, "auroc")`.

    Raises:
        UserError: the two did not test the same cells in as many seeds.
    Source: Obuchowski 1997; DeLong, DeLong & Clarke-Pearson 1988, to which one cell a subject
        reduces it.
    """
    names = np.unique(_pairs(a, b).subjects)
    of_a, of_b = _components(a, names), _components(b, names)
    value, moved = of_a.area - of_b.area, of_a.parts - of_b.parts
    positive, negative = of_a.has
    by_positive, by_negative = moved
    variance = (
        _widened(positive, of_a.folds) * float(by_positive @ by_positive)
        + _widened(negative, of_a.folds) * float(by_negative @ by_negative)
        + _widened(positive | negative, of_a.folds) * float(2 * by_positive @ by_negative)
    )
    subjects = min(int(positive.sum()), int(negative.sum()))
    if subjects < 2 or np.isnan(variance):
        nan = float("nan")
        return Difference(
            value=value,
            low=nan,
            high=nan,
            p=nan,
            subjects=len(names),
            method="none: too few subjects of a class",
        )
    if variance <= NOTHING:
        return _without_spread(value, subjects, 1.0, len(names))
    error = float(np.sqrt(variance))
    low, high = (value + side * float(ndtri(1 - TAIL)) * error for side in (-1, 1))
    p = 2 * float(ndtr(-abs(value) / error))
    return Difference(
        value=value,
        low=max(low, -1.0),
        high=min(high, 1.0),
        p=p,
        subjects=len(names),
        method="DeLong, clustered",
    )


def holm(p: np.ndarray) -> np.ndarray:
    """(n,) p values corrected for being n: the chance that any of those below is luck.

    A NaN stays one and is not counted. Source: Holm 1979.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN come last
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order])
    return np.minimum(corrected, 1.0)


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """(n,) of each seed's cells: whether a and b are right, and the subject."""

    right_a: np.ndarray
    right_b: np.ndarray
    subjects: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Components:
    """An area under the ROC curve, and what each subject's cells add to it.

    parts (2, n): by positive and by negative cells. has (2, n) bool. folds: a seed's, at most.
    """

    area: float
    parts: np.ndarray
    has: np.ndarray
    folds: int


def _without_spread(value: float, subjects: int, top: float, count: int) -> Difference:
    """Where all subjects differ alike: the sign test, and a bound on those not seen."""
    hidden = most_hidden(subjects)
    low, high = value - hidden * (value + top), value + hidden * (top - value)
    p = 1.0 if abs(value) <= np.sqrt(NOTHING) else min(1.0, 2 * 0.5**subjects)
    return Difference(
        value=value,
        low=low,
        high=high,
        p=p,
        subjects=count,
        method="exact bound: no subject differs",
    )


def _pairs(a: Repeats, b: Repeats) -> _Pairs:
    if len(a) != len(b):
        raise UserError(f"{len(a)} seeds against {len(b)}: compare the seeds that both ran")
    rows = []
    for number, (of_a, of_b) in enumerate(zip(map(_of_seed, a), map(_of_seed, b), strict=True)):
        if not (
            np.array_equal(of_a.cell_id, of_b.cell_id) and np.array_equal(of_a.labels, of_b.labels)
        ):
            common = len(np.intersect1d(of_a.cell_id, of_b.cell_id))
            raise UserError(
                f"seed {number}: {len(of_a)} cells against {len(of_b)}, {common} of them in "
                f"common; expected the same cells: compare runs of one split, or use `difference`"
            )
        rows.append((_right(of_a), _right(of_b), of_a.subjects))
    right_a, right_b, subjects = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return _Pairs(right_a=right_a, right_b=right_b, subjects=subjects)


def _of_seed(folds: Sequence[Predictions]) -> Predictions:
    """All of a seed's cells, ordered by file."""
    labels, scores, subjects, cell_id = (
        np.concatenate([getattr(fold, part) for fold in folds])
        for part in ("labels", "scores", "subjects", "cell_id")
    )
    order = np.argsort(cell_id, kind="stable")
    return Predictions(
        labels=labels[order], scores=scores[order], subjects=subjects[order], cell_id=cell_id[order]
    )


def _right(cells: Predictions) -> np.ndarray:
    return (cells.scores >= THRESHOLD) == (cells.labels == 1)


def _components(repeats: Repeats, names: np.ndarray) -> _Components:
    areas, parts, has, most = [], np.zeros((2, len(names))), np.zeros((2, len(names)), bool), 1
    for of_seed in repeats:
        folds = [fold for fold in of_seed if len(set(fold.labels.tolist())) == 2]
        most, weight = max(most, len(folds)), 1 / (len(repeats) * max(len(folds), 1))
        found = []
        for fold in folds:
            places, wins = (
                np.searchsorted(names, fold.subjects),
                placements(fold.labels, fold.scores),
            )
            for row, side in enumerate((fold.labels == 1, fold.labels != 1)):
                rates = wins[side] / np.count_nonzero(~side)
                centred = (rates - rates.mean()) / len(rates)
                parts[row] += weight * np.bincount(places[side], centred, minlength=len(names))
                has[row, places[side]] = True
            found.append(rates.mean())
        areas.append(np.mean(found) if found else np.nan)
    return _Components(area=float(np.mean(areas)), parts=parts, has=has, folds=most)


def _widened(subjects: np.ndarray, folds: int) -> float:
    """What the variance of so many subjects is multiplied by; each fold has a mean of its own."""
    count = int(np.count_nonzero(subjects))
    return count / (count - folds) if count > folds else float("nan")
