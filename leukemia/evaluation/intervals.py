"""How far off a figure may be for new subjects and a newly trained network.

Cells of one subject are not independent, so subjects are the unit: each is left out in turn. A
share has the exact (Clopper-Pearson) interval of as many independent cells as would vary as much;
where no subject differs from another, of one cell a subject. Percentiles of a bootstrap over
subjects are too narrow by far with so few of them: see benchmarks/coverage.py.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri

from leukemia.evaluation.jackknife import (
    LEAST,
    MEANS,
    METRICS,
    Jackknife,
    Repeats,
    SubjectCounts,
    from_rates,
    leave_out,
    subject_counts,
)
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import (
    NOTHING,
    TAIL,
    VarianceComponents,
    of_seeds,
    of_subjects,
)

WORST = {"loss": float(-np.log(LEAST)), "brier": 1.0}
OF_ONE_CLASS = {"sens": 1, "spec": 0}
AREAS = ("auroc", "auprc")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its 95 % interval over subjects, and over seeds where there are several.

    low and high are NaN where a class has fewer than two subjects.
    subjects: number of them. method: a few words for people.
    """

    value: float
    low: float
    high: float
    subjects: int
    method: str


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    low: float
    high: float
    exact: bool  # no subject differs from another


def interval(repeats: Repeats, metric: str = "bal_acc") -> Interval:
    """A technique's figure with its 95 % interval, from the test cells of its seeds and folds.

    metric: one of METRICS. With one seed the luck of that training is not in the interval. The
    folds of a seed share training cells, which no interval can allow for.

    Raises:
        UserError: no such metric, or a seed without cells.
    Source: Korn & Graubard 1998 (a share of clusters); Zou & Donner 2008 (of two shares);
        Bengio & Grandvalet 2004 (folds).
    """
    return _interval(subject_counts(repeats), metric)


def intervals(predictions: Predictions) -> dict[str, Interval]:
    """The interval of each of METRICS from one run's test cells; 2,000 cells take 10 ms."""
    summed = subject_counts([[predictions]])
    return {metric: _interval(summed, metric) for metric in METRICS}


def most_hidden(subjects: int) -> float:
    """The largest share of all subjects that may be otherwise where none of so many is."""
    return float(1 - TAIL ** (1 / subjects))


def fewest(left: Jackknife, metric: str) -> int:
    """Number of subjects in the smaller of the classes that a metric speaks of."""
    labels = [OF_ONE_CLASS[metric]] if metric in OF_ONE_CLASS else [0, 1]
    return min(int(np.count_nonzero(left.kinds & (1 if label else 2))) for label in labels)


def is_known(left: Jackknife, metric: str) -> bool:
    """Whether there are two subjects of each class, and the figure stands without any of them."""
    return fewest(left, metric) > 1 and len(left.whole) > 0 and not np.isnan(left.without).any()


def _interval(summed: SubjectCounts, metric: str) -> Interval:
    left, count = leave_out(summed, metric), len(summed.names)
    if not is_known(left, metric):
        nan = float("nan")
        return Interval(
            value=left.value,
            low=nan,
            high=nan,
            subjects=count,
            method="none: too few subjects of a class",
        )
    if metric in MEANS:
        bounds = _of_penalty(left, WORST[metric])
    elif metric in AREAS or metric in OF_ONE_CLASS:
        bounds = _of_share(left, metric, summed)
    else:
        bounds = _of_two_shares(summed, metric, left.value)
    low, high = _widened(left, bounds, WORST.get(metric, 1.0))
    method = "jackknife over subjects" + " and seeds" * (len(left.whole) > 1)
    method += "; exact bound where no subject differs" * bounds.exact
    return Interval(value=left.value, low=low, high=high, subjects=count, method=method)


def _widened(left: Jackknife, bounds: _Bounds, worst: float) -> tuple[float, float]:
    """Bounds over subjects as bounds over subjects and seeds; the errors are independent."""
    value, of_seed = left.value, VarianceComponents(parts=tuple(of_seeds(left))).reach()
    low = value - float(np.hypot(value - bounds.low, of_seed))
    high = value + float(np.hypot(bounds.high - value, of_seed))
    return max(low, 0.0), min(high, worst)


def _of_share(left: Jackknife, metric: str, summed: SubjectCounts) -> _Bounds:
    share, around, cells = (
        left.value,
        VarianceComponents(parts=(of_subjects(left),)),
        _cells(summed, metric),
    )
    exact = share in (0, 1)
    if exact:
        trials = float(fewest(left, metric))
    elif around.variance > NOTHING:
        trials = min(share * (1 - share) * float(ndtri(TAIL) / around.reach()) ** 2, cells)
    else:
        trials = cells
    hits, misses = share * trials, (1 - share) * trials
    low = float(betaincinv(hits, misses + 1, TAIL)) if hits else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - TAIL)) if misses else 1.0
    return _Bounds(low=low, high=high, exact=exact)


def _of_two_shares(summed: SubjectCounts, metric: str, value: float) -> _Bounds:
    """What sensitivity and specificity decide, from the bounds of each and how they agree."""
    sens, spec = leave_out(summed, "sens"), leave_out(summed, "spec")
    ends = _of_share(sens, "sens", summed), _of_share(spec, "spec", summed)

    def reach(sens_at: float, spec_at: float) -> float:
        there, here = from_rates(
            metric,
            np.array([sens_at, sens.value]),
            np.array([spec_at, spec.value]),
            summed.share.mean(keepdims=True),
        )
        return abs(float(there - here))

    agreement = _correlation(sens, spec)
    down, up = (
        _together(reach(of_sens, spec.value), reach(sens.value, of_spec), agreement)
        for of_sens, of_spec in zip(*((end.low, end.high) for end in ends), strict=True)
    )
    exact = any(end.exact for end in ends)
    return _Bounds(low=max(value - down, 0.0), high=min(value + up, 1.0), exact=exact)


def _of_penalty(left: Jackknife, worst: float) -> _Bounds:
    """Of a mean that is 0 at best and falls off to the right: symmetrical in its logarithm."""
    mean, around = left.value, VarianceComponents(parts=(of_subjects(left),))
    if around.variance <= NOTHING:
        hidden = most_hidden(len(left.names))
        return _Bounds(low=mean * (1 - hidden), high=mean + (worst - mean) * hidden, exact=True)
    factor = float(np.exp(min(around.reach() / mean, 100)))
    return _Bounds(low=mean / factor, high=min(mean * factor, worst), exact=False)


def _correlation(a: Jackknife, b: Jackknife) -> float:
    """Between two figures of the same subjects."""
    both = Jackknife(
        names=a.names, kinds=a.kinds, whole=a.whole + b.whole, without=a.without + b.without
    )
    first, second, summed = (of_subjects(left)[0] for left in (a, b, both))
    if not first * second:
        return 0.0
    return float(np.clip((summed - first - second) / (2 * np.sqrt(first * second)), -1, 1))


def _together(first: float, second: float, agreement: float) -> float:
    return float(np.sqrt(max(first**2 + second**2 + 2 * agreement * first * second, 0.0)))


def _cells(summed: SubjectCounts, metric: str) -> float:
    """Number of different cells that a metric speaks of: a cell is tested once a seed."""
    by_label = summed.sums[0].sum(axis=1)
    label = OF_ONE_CLASS.get(metric)
    return float((by_label.sum(axis=1) if label is None else by_label[:, label]).max())
