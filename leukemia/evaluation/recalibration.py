"""How a network's probabilities would have to be moved to come true, with intervals over subjects.

Logistic recalibration fits log-odds of the truth = intercept + slope * log-odds of the score. A
slope below 1: scores are too extreme. An intercept above 0: positive cells are more frequent than
the scores say. Beside them stand the shift alone (`citl`, calibration in the large) and the
expected calibration error. Unlike ranks, probabilities of two networks claim to be on one scale,
so the folds of a seed are pooled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from leukemia.errors import UserError
from leukemia.evaluation import logistic
from leukemia.evaluation.calibration import BINS, log_odds
from leukemia.evaluation.jackknife import (
    Fold,
    Jackknife,
    Repeats,
    aligned,
    leave_out,
    subject_counts,
)
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import NOTHING, over_subjects_and_networks

SURE = 2.0  # standard deviations from which on a bin's error is more than chance


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic, or by how much two differ, with a 95 % interval over subjects (and seeds).

    low and high are NaN where there is no interval, and `reason` says why. p: two-sided, of no
    difference; NaN for a statistic alone.
    """

    value: float
    low: float
    high: float
    p: float
    subjects: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The n cells of a seed.

    places: (n,) int, each cell's subject as a place in kinds. labels: (n,) 0/1. scores: (n,)
    float64. kinds: (subjects,) int as in Jackknife.
    """

    places: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray

    @property
    def subjects(self) -> int:
        """Number of subjects, those without cells of this seed among them."""
        return len(self.kinds)


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """What is measured of a seed's cells.

    long_name: in words. without_each: cells -> (1 + subjects,) float64, the value of all and then
    without each subject's. by_chance: cells -> the part of the value that few subjects may give
    to scores that come true; None: what the jackknife says. bounds: the lowest and the highest
    possible value.
    """

    long_name: str
    without_each: Callable[[Pooled], np.ndarray]
    by_chance: Callable[[Pooled], float] | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A statistic of one technique: jackknife, and by how much its value is too high by chance."""

    jackknife: Jackknife
    too_high: float


def measure(repeats: Repeats, statistic: str) -> Measured:
    """A statistic of all subjects and without each, by seed; the folds of a seed are pooled.

    A seed of 2,000 cells of 76 subjects takes 20 ms.

    Args:
        repeats: the test predictions of one technique, by seed and fold.
        statistic: a name in STATISTICS.

    Raises:
        UserError: no such statistic, or a seed without cells.
    """
    entry, counts = statistic_of(statistic), subject_counts(repeats)
    seeds = [_pooled(folds, counts.kinds) for folds in counts.folds]
    values = np.stack([entry.without_each(cells) for cells in seeds])
    usual = leave_out(counts, "acc")  # which is defined in every seed: the same subjects and folds
    without_fold = np.full(usual.shares.shape, np.nan)
    for number, folds in enumerate(counts.folds):
        if len(folds) > 1:
            without_fold[number, : len(folds)] = entry.without_each(_by_fold(folds))[1:]
    jackknife = replace(usual, whole=values[:, 0], without=values[:, 1:], without_fold=without_fold)
    too_high = (
        float(np.mean([entry.by_chance(cells) for cells in seeds]))
        if entry.by_chance
        else _bias(jackknife)
    )
    return Measured(jackknife=jackknife, too_high=too_high)


def interval_of(repeats: Repeats | Measured, statistic: str) -> Estimate:
    """The mean of a statistic over seeds with its 95 % interval.

    The interval allows for the value being too high or too low by chance, and so is not about its
    middle: scores that come true have a calibration error above 0 all the same, and a slope that
    is fitted to few subjects tends to be too steep.

    Args:
        repeats: the test predictions of one technique, by seed and fold, or what `measure` made of
            them.
        statistic: a name in STATISTICS.

    Raises:
        UserError: no such statistic, or a seed without cells.
    """
    measured = _measured(repeats, statistic)
    found = _around(measured.jackknife, statistic_of(statistic).bounds, measured.too_high)
    return replace(found, p=float("nan"))


def difference_of(a: Repeats | Measured, b: Repeats | Measured, statistic: str) -> Estimate:
    """A statistic of a minus the same of b; arguments as in `interval_of`.

    Subjects and seeds are paired as in `difference`; where one technique is compared with several,
    it need be measured only once.

    Raises:
        UserError: no such statistic, or a seed without cells.
    """
    least, most = statistic_of(statistic).bounds
    first, second = _measured(a, statistic), _measured(b, statistic)
    of_a, of_b = aligned(first.jackknife, second.jackknife)
    if of_a.shares.shape != of_b.shares.shape:
        of_a, of_b = of_a.over_seeds(), of_b.over_seeds()
    bounds = (least - most, most - least)
    return _around(of_a.less(of_b), bounds, first.too_high - second.too_high)


def statistic_of(name: str) -> Statistic:
    """The entry of STATISTICS.

    Raises:
        UserError: there is none of that name.
    """
    if name not in STATISTICS:
        raise UserError(f"no statistic {name!r}: expected one of {', '.join(STATISTICS)}")
    return STATISTICS[name]


def shift_prior(scores: np.ndarray, seen: float, own: float) -> np.ndarray:
    """Scores (n,) of a network that was trained as if a share `seen` of cells were positive, where
    a share `own` of them is: float64, in the same order.

    Exact where a technique weighs or draws cells by class alone; with synthetic cells as far as
    these are like the class they stand for. Source: Elkan 2001, theorem 2; Saerens et al. 2002,
    equation 2.4.
    """
    shifted: np.ndarray = expit(log_odds(scores) + logit(own) - logit(seen))
    return shifted


def prior_corrected(predictions: Predictions, seen: float, own: float) -> Predictions:
    """The cells with scores for the prior `own`; the threshold moves along, so no call changes."""
    moved = shift_prior(np.append(predictions.scores, predictions.threshold), seen, own)
    return replace(predictions, scores=moved[:-1], threshold=float(moved[-1]))


def _measured(technique: Repeats | Measured, statistic: str) -> Measured:
    return technique if isinstance(technique, Measured) else measure(technique, statistic)


def _pooled(folds: Sequence[Fold], kinds: np.ndarray) -> Pooled:
    """The cells of a seed."""
    places, labels, scores = (
        np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("places", "labels", "scores")
    )
    return Pooled(places=places, labels=labels, scores=scores, kinds=kinds)


def _by_fold(folds: Sequence[Fold]) -> Pooled:
    """The same with folds in the place of subjects."""
    sizes = [len(fold.labels) for fold in folds]
    places = np.repeat(np.arange(len(folds)), sizes)
    return replace(_pooled(folds, np.full(len(folds), 3)), places=places)


def _around(jackknife: Jackknife, bounds: tuple[float, float], too_high: float) -> Estimate:
    """The interval about the value and the value less `too_high`, whichever lies further out."""
    subjects, value, nan = len(jackknife.names), jackknife.value, float("nan")
    if reason := _reason(jackknife):
        return Estimate(value=value, low=nan, high=nan, p=nan, subjects=subjects, reason=reason)
    components = over_subjects_and_networks(jackknife)
    reach, ends = 0.0, sorted((value, value - too_high))
    nearest = max(ends[0], -ends[1], 0.0)  # how far from 0 both are
    p = float(nearest == 0)
    if components.variance > NOTHING:
        reach, p = components.reach(), components.p(nearest)
    return Estimate(
        value=value,
        low=max(ends[0] - reach, bounds[0]),
        high=min(ends[1] + reach, bounds[1]),
        p=p,
        subjects=subjects,
    )


def _reason(jackknife: Jackknife) -> str:
    """Why there is no interval; "" where there is one."""
    if min(np.count_nonzero(jackknife.kinds & kind) for kind in (1, 2)) < 2:
        return "too few subjects of a class"
    if np.isnan(jackknife.whole).any():
        return "the scores separate the classes, or are all equal"
    if np.isnan(jackknife.without).any():
        name = jackknife.names[np.isnan(jackknife.without).any(axis=0)][0]
        return f"without subject {name} the scores separate the classes, or are all equal"
    several = len(jackknife.whole) > 1 and jackknife.shares.shape[1] > 1
    if several and np.isnan(jackknife.without_fold[jackknife.shares > 0]).any():
        return "without one of the folds the scores separate the classes, or are all equal"
    return ""


def _bias(jackknife: Jackknife) -> float:
    """By how much the value is too high. Source: Quenouille 1956, for strata Jones 1974."""
    without, kinds = jackknife.without.mean(axis=0), jackknife.kinds
    strata = [without[kinds == kind] for kind in np.unique(kinds)]
    return sum((len(each) - 1) * (float(each.mean()) - jackknife.value) for each in strata)


def _centred(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """values (subjects, ...) less the mean of their kind."""
    centred = np.empty_like(values)
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        centred[of_kind] = values[of_kind] - values[of_kind].mean(axis=0)
    return centred


def _slope(cells: Pooled) -> np.ndarray:
    return _recalibrated(cells)[:, 1]


def _intercept(cells: Pooled) -> np.ndarray:
    return _recalibrated(cells)[:, 0]


def _recalibrated(cells: Pooled) -> np.ndarray:
    """(1 + subjects, 2) float64: intercept and slope of all cells, then without each subject's.

    NaN where the scores separate the classes, so that no slope is steep enough, or are all equal.
    Source: Cox 1958.
    """
    x, positive = log_odds(cells.scores), cells.labels == 1
    overlap = logistic.overlap(x, positive, cells.places, cells.subjects)
    if not overlap[0]:
        return np.full((1 + cells.subjects, 2), np.nan)
    middle, width = x.mean(), x.std()
    design = np.stack([np.ones_like(x), (x - middle) / width], axis=1)
    fits = logistic.fits(_cases(cells, design, np.zeros_like(x)))
    slope = fits[:, 1] / width
    found = np.stack([fits[:, 0] - slope * middle, slope], axis=1)
    return np.where(overlap[:, None], found, np.nan)


def _in_the_large(cells: Pooled) -> np.ndarray:
    """The shift of all log-odds after which as many cells are expected as are positive.

    NaN where a class is missing. Source: Cox 1958; Van Calster et al. 2016.
    """
    positives, of_subject = (
        np.bincount(cells.places, each, cells.subjects)
        for each in (cells.labels == 1, np.ones(len(cells.labels)))
    )
    left, of_left = (np.append(each.sum(), each.sum() - each) for each in (positives, of_subject))
    known = (left > 0) & (left < of_left)
    if not known[0]:
        return np.full(1 + cells.subjects, np.nan)
    design = np.ones((len(cells.labels), 1))
    shifts = logistic.fits(_cases(cells, design, log_odds(cells.scores)))[:, 0]
    return np.where(known, shifts, np.nan)


def _cases(cells: Pooled, design: np.ndarray, offset: np.ndarray) -> logistic.Cases:
    return logistic.Cases(
        design=design,
        offset=offset,
        positive=cells.labels == 1,
        places=cells.places,
        subjects=cells.subjects,
    )


def _calibration_error(cells: Pooled) -> np.ndarray:
    """In BINS bins of equal width. Source: Naeini et al. 2015."""
    errors: np.ndarray = np.abs(_gaps(cells)).sum(axis=1)
    return errors


def _error_by_chance(cells: Pooled) -> float:
    """The calibration error that bins show by chance which may have none.

    The error adds up distances, which are above 0 also where scores come true.
    """
    gaps = _gaps(cells)
    kind_of, counts = np.unique(cells.kinds, return_inverse=True)[1], np.bincount(cells.kinds)
    shares = 1 - 1 / counts[cells.kinds]
    spread = np.sqrt(shares @ _centred(gaps[1:], kind_of) ** 2)
    return float(np.sqrt(2 / np.pi) * spread[np.abs(gaps[0]) < SURE * spread].sum())


def _gaps(cells: Pooled) -> np.ndarray:
    """(1 + subjects, BINS): the sum of score - label over a bin's cells, by number of all cells;
    of all subjects, then without each."""
    of_bin = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], cells.scores)
    rows, size = cells.places * BINS + of_bin, cells.subjects * BINS
    sums = np.bincount(rows, cells.scores - cells.labels, size).reshape(-1, BINS)
    count = np.bincount(cells.places, minlength=cells.subjects)[:, None]
    left = np.concatenate([count.sum(keepdims=True), count.sum() - count]).astype(np.float64)
    left[left == 0] = np.nan
    gaps: np.ndarray = np.concatenate([sums.sum(axis=0, keepdims=True), sums.sum(axis=0) - sums])
    return gaps / left


STATISTICS = {
    "ece": Statistic(
        long_name="expected calibration error",
        without_each=_calibration_error,
        by_chance=_error_by_chance,
        bounds=(0.0, 1.0),
    ),
    "slope": Statistic(
        long_name="calibration slope: below 1 the scores are too extreme", without_each=_slope
    ),
    "intercept": Statistic(
        long_name="calibration intercept, beside the slope", without_each=_intercept
    ),
    "citl": Statistic(
        long_name="calibration in the large: the shift that the log-odds lack",
        without_each=_in_the_large,
    ),
}
