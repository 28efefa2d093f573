"""95 % intervals of a metric, for other subjects and for a network that is trained anew.

Cells of one subject are not independent, so the variance comes from leaving out whole subjects.
A percentile bootstrap over subjects is much too narrow with so few of them: see
benchmarks/coverage.py.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv, ndtri

from leukemia.evaluation.jackknife import (
    Jackknife,
    Repeats,
    SubjectCounts,
    leave_out,
    subject_counts,
)
from leukemia.evaluation.metrics import METRICS, Metric, metric_of, of_rates
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import (
    NOTHING,
    TAIL,
    VarianceComponents,
    of_subjects,
    over_subjects_and_networks,
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A metric's value and its 95 % interval over subjects, and over seeds if there are several.

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
    """The mean of a metric over seeds with its 95 % interval.

    Args:
        repeats: the test predictions of one technique, by seed and fold.
        metric: a name in `metrics.METRICS`.

    Returns:
        The bounds allow for other subjects of the same kinds. With several seeds they allow for
        networks trained anew as well; with one seed they are of that very network. The folds of
        a seed share training cells, which no interval can allow for.

    Raises:
        UserError: no such metric, or a seed without cells.
    Source: Korn & Graubard 1998 (a share of clusters); Zou & Donner 2008 (of two shares);
        Bengio & Grandvalet 2004 (folds).
    """
    return of_counts(subject_counts(repeats), metric_of(metric))


def of_counts(counts: SubjectCounts, metric: Metric) -> Interval:
    """`interval` of cells that are counted already."""
    jackknife = leave_out(counts, metric.name)
    if not is_known(jackknife, metric):
        return Interval(
            value=jackknife.value,
            low=float("nan"),
            high=float("nan"),
            subjects=int(np.count_nonzero(counts.kinds)),
            method="none: too few subjects of a class",
        )
    bounds = _over_subjects(jackknife, metric, counts)
    low, high = _over_networks_too(jackknife, bounds, metric)
    method = "jackknife over subjects" + " and networks" * (len(jackknife.whole) > 1)
    method += "; exact bound where no subject differs" * bounds.exact
    return Interval(
        value=jackknife.value,
        low=low,
        high=high,
        subjects=int(np.count_nonzero(counts.kinds)),
        method=method,
    )


def intervals(predictions: Predictions) -> dict[str, Interval]:
    """The interval of every metric from one run's test cells; 2,000 cells take 30 ms."""
    counts = subject_counts([[predictions]])
    return {name: of_counts(counts, metric) for name, metric in METRICS.items()}


def most_hidden(subjects: int) -> float:
    """The largest share of all subjects that may differ if none of `subjects` does (at 95 %)."""
    return float(1 - TAIL ** (1 / subjects))


def fewest(jackknife: Jackknife, metric: Metric) -> int:
    """Number of subjects in the smaller of the classes that decide a metric."""
    return min(
        int(np.count_nonzero(jackknife.kinds & (1 if label else 2))) for label in metric.classes
    )


def is_known(jackknife: Jackknife, metric: Metric) -> bool:
    """Whether an interval can be given: two subjects of each class, and a value without any."""
    return (
        fewest(jackknife, metric) > 1
        and len(jackknife.whole) > 0
        and not np.isnan(jackknife.without).any()
    )


def _over_subjects(jackknife: Jackknife, metric: Metric, counts: SubjectCounts) -> _Bounds:
    """The bounds for other subjects, by the kind of metric."""
    if metric.penalty:
        return _bounds_of_penalty(jackknife, metric)
    if metric.of_scores or len(metric.classes) == 1:
        return _bounds_of_share(jackknife, metric, counts)
    return _bounds_of_two_shares(jackknife.value, metric, counts)


def _over_networks_too(
    jackknife: Jackknife, bounds: _Bounds, metric: Metric
) -> tuple[float, float]:
    """Bounds over subjects, moved outwards by what networks add to them."""
    value, of_both = jackknife.value, over_subjects_and_networks(jackknife).reach()
    of_one = VarianceComponents(parts=(of_subjects(jackknife),)).reach()
    added = float(np.sqrt(max(of_both**2 - of_one**2, 0.0)))
    low = value - float(np.hypot(value - bounds.low, added))
    high = value + float(np.hypot(bounds.high - value, added))
    return max(low, metric.bounds[0]), min(high, metric.bounds[1])


def _bounds_of_share(jackknife: Jackknife, metric: Metric, counts: SubjectCounts) -> _Bounds:
    """The exact binomial (Clopper-Pearson) interval of as many independent cells as vary alike.

    The metric is taken as a share of the way between its bounds. At a bound itself no variance
    can be estimated: then every subject counts as one cell.
    """
    least, most = metric.bounds
    share, around = (jackknife.value - least) / (most - least), of_subjects(jackknife)
    components, cells = VarianceComponents(parts=(around,)), _distinct_cells(counts, metric)
    exact = share in (0, 1)
    if exact:
        trials = float(fewest(jackknife, metric))
    elif components.variance > NOTHING:
        reach = components.reach() / (most - least)
        trials = min(share * (1 - share) * float(ndtri(TAIL) / reach) ** 2, cells)
    else:
        trials = cells
    hits, misses = share * trials, (1 - share) * trials
    low = float(betaincinv(hits, misses + 1, TAIL)) if hits else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - TAIL)) if misses else 1.0
    return _Bounds(
        low=least + low * (most - least), high=least + high * (most - least), exact=exact
    )


def _bounds_of_two_shares(value: float, metric: Metric, counts: SubjectCounts) -> _Bounds:
    """The bounds of a function of sensitivity and specificity, from the bounds of these two.

    Each of the two is moved to its own bound; the changes of the metric are added up under the
    correlation that the subjects show (Zou & Donner's method).
    """
    sens, spec = leave_out(counts, "sens"), leave_out(counts, "spec")
    of_sens = _bounds_of_share(sens, METRICS["sens"], counts)
    of_spec = _bounds_of_share(spec, METRICS["spec"], counts)

    def change(sens_at: float, spec_at: float) -> float:
        """How much the metric differs there from its value."""
        assert metric.of_counts
        there, here = metric.of_counts(
            of_rates(
                np.array([sens_at, sens.value]),
                np.array([spec_at, spec.value]),
                counts.share.mean(keepdims=True),
            )
        )
        return abs(float(there - here))

    correlation = _correlation(sens, spec)
    down = _combined(change(of_sens.low, spec.value), change(sens.value, of_spec.low), correlation)
    up = _combined(change(of_sens.high, spec.value), change(sens.value, of_spec.high), correlation)
    return _Bounds(
        low=max(value - down, metric.bounds[0]),
        high=min(value + up, metric.bounds[1]),
        exact=of_sens.exact or of_spec.exact,
    )


def _bounds_of_penalty(jackknife: Jackknife, metric: Metric) -> _Bounds:
    """The bounds of a mean that is 0 at best and skewed to the right: symmetrical in its log."""
    mean, components = jackknife.value, VarianceComponents(parts=(of_subjects(jackknife),))
    worst = metric.bounds[1]
    if components.variance <= NOTHING:
        hidden = most_hidden(int(np.count_nonzero(jackknife.kinds)))
        return _Bounds(low=mean * (1 - hidden), high=mean + (worst - mean) * hidden, exact=True)
    factor = float(np.exp(min(components.reach() / mean, 100)))
    return _Bounds(low=mean / factor, high=min(mean * factor, worst), exact=False)


def _correlation(a: Jackknife, b: Jackknife) -> float:
    """The correlation of two metrics of the same subjects."""
    both = replace(a, whole=a.whole + b.whole, without=a.without + b.without)
    first, second, of_sum = (of_subjects(each)[0] for each in (a, b, both))
    if not first * second:
        return 0.0
    return float(np.clip((of_sum - first - second) / (2 * np.sqrt(first * second)), -1, 1))


def _combined(first: float, second: float, correlation: float) -> float:
    """The length of the sum of two correlated errors."""
    return float(np.sqrt(max(first**2 + second**2 + 2 * correlation * first * second, 0.0)))


def _distinct_cells(counts: SubjectCounts, metric: Metric) -> float:
    """Number of different cells that decide a metric: each is tested once a seed."""
    by_label = counts.cells.sum(axis=1)
    return float(by_label[:, list(metric.classes)].sum(axis=1).max())
