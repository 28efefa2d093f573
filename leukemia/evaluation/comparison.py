"""Paired comparisons of two techniques on the same subjects: differences, p values, tests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr, chdtrc, ndtr, ndtri

from leukemia.errors import UserError
from leukemia.evaluation.curves import placements
from leukemia.evaluation.intervals import fewest, is_known, most_hidden
from leukemia.evaluation.jackknife import (
    Jackknife,
    Repeats,
    aligned,
    leave_out,
    subject_counts,
)
from leukemia.evaluation.metrics import metric_of
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import (
    NOTHING,
    TAIL,
    VarianceComponents,
    of_networks,
    of_subjects,
    over_subjects_and_networks,
)

FEW = 25  # discordant cells: below, McNemar's chi-square is no good guide


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of one technique minus another's, with its 95 % interval and two-sided p.

    p is below .05 where 0 is outside the interval. low, high and p are NaN where a class has fewer
    than two subjects.
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
    """McNemar's test: the cells that only one of two techniques calls by their label.

    only_a, only_b: number of such cells, each counted once a seed.
    statistic: chi-square with one degree of freedom. p: two-sided, of equal accuracy.
    """

    only_a: int
    only_b: int
    statistic: float
    p: float
    subjects: int
    method: str


def difference(a: Repeats, b: Repeats, metric: str = "bal_acc") -> Difference:
    """A metric of a minus the same of b, for other subjects and for networks trained anew.

    Subjects are paired by name, and seeds by their order where both have as many. The two may have
    tested a subject in different folds, or different cells of it. A subject that only one of them
    has tested widens the interval as it would in that technique's own.

    Args:
        a, b: the test predictions of each technique, by seed and fold.
        metric: a name in `metrics.METRICS`.

    Raises:
        UserError: no such metric, or a seed without cells.
    Source: Efron & Stein 1981; Owen 2007; Zou & Donner 2008 (see `variance_components`).
    """
    return of_jackknives(
        *aligned(leave_out(subject_counts(a), metric), leave_out(subject_counts(b), metric)), metric
    )


def of_jackknives(of_a: Jackknife, of_b: Jackknife, metric: str) -> Difference:
    """`difference` of two jackknives over the same subjects."""
    count, entry = int(np.count_nonzero(of_a.kinds)), metric_of(metric)
    if not (is_known(of_a, entry) and is_known(of_b, entry)):
        nan = float("nan")
        return Difference(
            value=nan,
            low=nan,
            high=nan,
            p=nan,
            subjects=count,
            method="none: too few subjects of a class",
        )
    paired = of_a.shares.shape == of_b.shares.shape
    gap = of_a.less(of_b) if paired else of_a.over_seeds().less(of_b.over_seeds())
    several = max(len(of_a.whole), len(of_b.whole)) > 1
    if paired:
        components = over_subjects_and_networks(gap)
    else:
        apart = [of_networks(each) for each in (of_a, of_b) if len(each.whole) > 1]
        components = VarianceComponents(parts=(of_subjects(gap), *apart))
    largest = entry.bounds[1] - entry.bounds[0]
    if components.variance <= NOTHING:
        return _without_variance(gap.value, fewest(gap, entry), largest, count)
    reach = components.reach()
    method = "paired jackknife over subjects" + " and networks" * several
    return Difference(
        value=gap.value,
        low=max(gap.value - reach, -largest),
        high=min(gap.value + reach, largest),
        p=components.p(gap.value),
        subjects=count,
        method=method,
    )


def with_luck(gap: Difference, metric: str, networks: int) -> Difference:
    """A difference of one seed, its interval widened by the luck of typical networks.

    p is NaN: nothing about these very networks says how far others of their techniques lie apart.

    Args:
        networks: how many each technique has.
    """
    luck = metric_of(metric).luck
    if luck is None:
        return replace(gap, p=float("nan"), method=f"{gap.method}; of these networks alone")
    added = float(-ndtri(TAIL)) * luck * float(np.sqrt(2 / networks))
    low = gap.value - float(np.hypot(gap.value - gap.low, added))
    high = gap.value + float(np.hypot(gap.high - gap.value, added))
    method = f"{gap.method}, and networks of typical luck (sd {luck:.3f})"
    return replace(gap, low=low, high=high, p=float("nan"), method=method)


def mcnemar(a: Repeats, b: Repeats) -> Disagreement:
    """McNemar's test on the same cells, where cells of one subject may depend on each other.

    A cell counts once a seed, within its subject: the test is of these networks, not of others
    trained anew. With one cell a subject it is McNemar's test without continuity correction, or
    the exact binomial test below 25 discordant cells.

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
    """DeLong's test: the difference of two areas under the ROC curve, clustered by subject.

    Both are of the same cells. Areas are means over folds and seeds, of these networks. The test
    assumes a normal distribution: with fewer than 20 subjects a class prefer
    `difference(a, b, "auroc")`.

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
        _small_sample_factor(positive, of_a.folds) * float(by_positive @ by_positive)
        + _small_sample_factor(negative, of_a.folds) * float(by_negative @ by_negative)
        + _small_sample_factor(positive | negative, of_a.folds)
        * float(2 * by_positive @ by_negative)
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
        return _without_variance(value, subjects, 1.0, len(names))
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
    """(n,) p values corrected for n comparisons, by Holm's method; NaN stays and does not count.

    Source: Holm 1979.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN come last
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order])
    return corrected.clip(max=1.0)


@dataclass(frozen=True, kw_only=True)
class _Pooled:
    """(n,) of one seed's cells, as in Predictions."""

    labels: np.ndarray
    right: np.ndarray
    subjects: np.ndarray
    cell_id: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """(n,) of all seeds' cells: whether a and b call each by its label, and its subject."""

    right_a: np.ndarray
    right_b: np.ndarray
    subjects: np.ndarray


@dataclass(frozen=True, kw_only=True)
class _Components:
    """An area under the ROC curve, and what each of n subjects adds to its deviation.

    parts: (2, n) float64, by the subject's positive and its negative cells. has: (2, n) bool,
    whether it has such cells. folds: the largest number of folds of a seed.
    """

    area: float
    parts: np.ndarray
    has: np.ndarray
    folds: int


def _without_variance(value: float, subjects: int, largest: float, count: int) -> Difference:
    """Where all subjects differ alike: the sign test, and a bound on subjects not seen."""
    hidden = most_hidden(subjects)
    low, high = value - hidden * (value + largest), value + hidden * (largest - value)
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
    for number, (of_a, of_b) in enumerate(zip(map(_pooled, a), map(_pooled, b), strict=True)):
        if not (
            np.array_equal(of_a.cell_id, of_b.cell_id) and np.array_equal(of_a.labels, of_b.labels)
        ):
            common = len(np.intersect1d(of_a.cell_id, of_b.cell_id))
            raise UserError(
                f"seed {number}: {len(of_a.labels)} cells against {len(of_b.labels)}, {common} of "
                f"them in common; expected the same cells: compare runs of one split, or use "
                f"`difference`"
            )
        rows.append((of_a.right, of_b.right, of_a.subjects))
    right_a, right_b, subjects = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return _Pairs(right_a=right_a, right_b=right_b, subjects=subjects)


def _pooled(folds: Sequence[Predictions]) -> _Pooled:
    """All of a seed's cells, ordered by cell_id; each fold has a threshold of its own."""
    labels, right, subjects, cell_id = (
        np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("labels", "right", "subjects", "cell_id")
    )
    order = np.argsort(cell_id, kind="stable")
    return _Pooled(
        labels=labels[order], right=right[order], subjects=subjects[order], cell_id=cell_id[order]
    )


def _components(repeats: Repeats, names: np.ndarray) -> _Components:
    seed_areas, most = [], 1
    parts, has = np.zeros((2, len(names))), np.zeros((2, len(names)), bool)
    for of_seed in repeats:
        folds = [fold for fold in of_seed if len(set(fold.labels.tolist())) == 2]
        most, weight = max(most, len(folds)), 1 / (len(repeats) * max(len(folds), 1))
        areas = []
        for fold in folds:
            places = np.searchsorted(names, fold.subjects)
            wins = placements(fold.labels, fold.scores)
            for row, side in enumerate((fold.labels == 1, fold.labels != 1)):
                rates = wins[side] / np.count_nonzero(~side)
                centred = (rates - rates.mean()) / len(rates)
                parts[row] += weight * np.bincount(places[side], centred, minlength=len(names))
                has[row, places[side]] = True
            areas.append(rates.mean())
        seed_areas.append(np.mean(areas) if areas else np.nan)
    return _Components(area=float(np.mean(seed_areas)), parts=parts, has=has, folds=most)


def _small_sample_factor(subjects: np.ndarray, folds: int) -> float:
    """n / (n - folds), by which a variance over n subjects is multiplied to be unbiased.

    One degree of freedom is lost a fold, since each fold has a mean of its own. subjects: (m,)
    bool, n of them true. NaN where n is not above the number of folds.
    """
    count = int(np.count_nonzero(subjects))
    return count / (count - folds) if count > folds else float("nan")
