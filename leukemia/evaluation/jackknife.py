"""The jackknife over subjects: a metric of all test cells, and of those without each subject.

How much the value moves when a subject is left out shows how far it would move for other
subjects: `variance_components` makes variances of it, `intervals` and `comparison` bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leukemia.errors import UserError
from leukemia.evaluation.metrics import Metric, metric_of, of_rates, part, ratio
from leukemia.evaluation.predictions import Predictions

Repeats = Sequence[Sequence[Predictions]]  # seeds, and of each its folds


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """A metric's value with all subjects and without each of them, by seed.

    names: (n,) str, the subjects, sorted. kinds: (n,) int, 1 for subjects with positive cells
        only, 2 with negative ones only, 3 with both.
    whole: (seeds,) float64, of all subjects. without: (seeds, n) float64, without each.
    """

    names: np.ndarray
    kinds: np.ndarray
    whole: np.ndarray
    without: np.ndarray

    @property
    def value(self) -> float:
        """The mean over seeds; NaN where no seed has a value."""
        return float(self.whole.mean()) if len(self.whole) else float("nan")

    def over_seeds(self) -> "Jackknife":
        """The mean over seeds as a single seed."""
        whole, without = (rows.mean(axis=0, keepdims=True) for rows in (self.whole, self.without))
        return Jackknife(names=self.names, kinds=self.kinds, whole=whole, without=without)

    def less(self, other: "Jackknife") -> "Jackknife":
        """This minus another, seed by seed, of the same subjects."""
        whole, without = self.whole - other.whole, self.without - other.without
        return Jackknife(names=self.names, kinds=self.kinds, whole=whole, without=without)

    def over(self, names: np.ndarray, kinds: np.ndarray) -> "Jackknife":
        """The same for `names`, more subjects; to leave out one without cells changes nothing."""
        without = np.repeat(self.whole[:, None], len(names), axis=1)
        without[:, np.searchsorted(names, self.names)] = self.without
        return Jackknife(names=names, kinds=kinds, whole=self.whole, without=without)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The n test cells of one network.

    places: (n,) int, each cell's subject as a place among all names. labels: (n,) 0/1. scores:
    (n,) float64. right: (n,) bool, whether the cell is called by its label.
    """

    places: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SubjectCounts:
    """A technique's test cells, counted by subject.

    names (n,) and kinds (n,) as in Jackknife.
    cells, right: (seeds, n, 2) float64, number of cells and of those called by their label, by
        subject and label (0, 1); the folds of a seed are pooled.
    folds: of each seed.
    """

    names: np.ndarray
    kinds: np.ndarray
    cells: np.ndarray
    right: np.ndarray
    folds: list[list[Fold]]

    @property
    def share(self) -> np.ndarray:
        """(seeds,) float64: share of positive cells."""
        by_label = self.cells.sum(axis=1)
        share: np.ndarray = by_label[:, 1] / by_label.sum(axis=1)
        return share


def subject_counts(repeats: Repeats) -> SubjectCounts:
    """Count cells by subject; 60,000 cells take a tenth of a second, names most of it.

    Raises:
        UserError: there is no seed, or one without a cell.
    """
    sizes = [[len(fold) for fold in folds] for folds in repeats]
    if not sizes or not all(map(sum, sizes)):
        raise UserError(f"cells by seed and fold: {sizes}; expected some of every seed")
    every = [fold for folds in repeats for fold in folds]
    names, places = np.unique(
        np.concatenate([fold.subjects for fold in every]), return_inverse=True
    )
    of_fold = iter(np.split(places, np.cumsum([len(fold) for fold in every])[:-1]))
    folds = [[_fold(next(of_fold), predictions) for predictions in seed] for seed in repeats]
    cells, right = (
        np.stack([_summed(seed, quantity, len(names)) for seed in folds])
        for quantity in (_one_each, _right)
    )
    has = cells.sum(axis=0) > 0
    kinds = has[:, 1] + 2 * has[:, 0]
    return SubjectCounts(names=names, kinds=kinds, cells=cells, right=right, folds=folds)


def leave_out(counts: SubjectCounts, name: str) -> Jackknife:
    """The metric of that name with all subjects and without each.

    Metrics of counts, and means of a penalty, pool a seed's folds and keep the share of positive
    cells that was tested: one subject fewer changes how often cells are called rightly, not how
    frequent the classes are. Other metrics of scores are means over folds, since the scores of
    two networks are not on one scale. Seeds in which the metric is not defined are left out.

    Raises:
        UserError: no such metric.
    Source: LeDell, Petersen & van der Laan 2015 (section 3), for the areas under curves.
    """
    metric = metric_of(name)
    if metric.of_counts:
        sens, spec = (_by_label(counts.right, counts.cells, label) for label in (1, 0))
        values = metric.of_counts(of_rates(sens, spec, counts.share[:, None]))
    elif metric.penalty:
        values = _mean_penalty(counts, metric)
    else:
        values = _mean_over_folds(counts, metric)
    defined = ~np.isnan(values[:, 0])
    return Jackknife(
        names=counts.names,
        kinds=counts.kinds,
        whole=values[defined, 0],
        without=values[defined, 1:],
    )


def aligned(a: Jackknife, b: Jackknife) -> tuple[Jackknife, Jackknife]:
    """Both for all the subjects that either has."""
    names = np.union1d(a.names, b.names)
    kinds = np.zeros(len(names), np.int64)
    for each in (a, b):
        kinds[np.searchsorted(names, each.names)] |= each.kinds
    return a.over(names, kinds), b.over(names, kinds)


def _fold(places: np.ndarray, predictions: Predictions) -> Fold:
    return Fold(
        places=places,
        labels=predictions.labels,
        scores=predictions.scores.astype(np.float64),
        right=predictions.right,
    )


def _one_each(fold: Fold) -> np.ndarray:
    return np.ones(len(fold.labels))


def _right(fold: Fold) -> np.ndarray:
    return fold.right


def _summed(folds: list[Fold], quantity: Callable[[Fold], np.ndarray], subjects: int) -> np.ndarray:
    """(subjects, 2): the sum of a quantity of each cell, by subject and label."""
    of_cells = np.concatenate([quantity(fold) for fold in folds])
    row = np.concatenate([2 * fold.places + (fold.labels == 1) for fold in folds])
    return np.bincount(row, of_cells, minlength=2 * subjects).reshape(-1, 2)


def _by_label(sums: np.ndarray, cells: np.ndarray, label: int) -> np.ndarray:
    """(seeds, 1 + n): the mean over the label's cells, of all subjects and without each."""
    of_label, count = sums[:, :, label], cells[:, :, label]
    return ratio(_less_each(of_label), _less_each(count), of_nothing=np.nan)


def _less_each(sums: np.ndarray) -> np.ndarray:
    """(seeds, n) sums as (seeds, 1 + n): their total, then the total less each."""
    total = sums.sum(axis=1, keepdims=True)
    return np.concatenate([total, total - sums], axis=1)


def _mean_penalty(counts: SubjectCounts, metric: Metric) -> np.ndarray:
    """(seeds, 1 + n): the mean of the metric's penalty, of all subjects and without each."""
    penalty, share = metric.penalty, counts.share[:, None]
    assert penalty
    sums = np.stack(
        [
            _summed(seed, lambda fold: penalty(fold.labels, fold.scores), len(counts.names))
            for seed in counts.folds
        ]
    )
    of_positive, of_negative = (_by_label(sums, counts.cells, label) for label in (1, 0))
    mean: np.ndarray = part(share, of_positive) + part(1 - share, of_negative)
    return mean


def _mean_over_folds(counts: SubjectCounts, metric: Metric) -> np.ndarray:
    """(seeds, 1 + n): the mean of the folds with a value, of all subjects and without each."""
    subjects = len(counts.names)
    return np.stack(
        [_mean_of_known([_without_each(metric, fold, subjects) for fold in seed])
         for seed in counts.folds]
    )  # fmt: skip


def _without_each(metric: Metric, fold: Fold, subjects: int) -> np.ndarray:
    """(1 + subjects,): the metric of a fold's cells, then without each subject's."""
    if metric.without_each:
        return metric.without_each(fold.places, fold.labels, fold.scores, subjects)
    values = np.full(1 + subjects, _of_scores(metric, fold.labels, fold.scores))
    for place in np.unique(fold.places):
        kept = fold.places != place
        values[1 + place] = _of_scores(metric, fold.labels[kept], fold.scores[kept])
    return values


def _of_scores(metric: Metric, labels: np.ndarray, scores: np.ndarray) -> float:
    assert metric.of_scores
    return metric.of_scores(labels, scores) if len(labels) else float("nan")


def _mean_of_known(rows: list[np.ndarray]) -> np.ndarray:
    known = ~np.isnan(rows)
    return ratio(np.where(known, rows, 0).sum(axis=0), known.sum(axis=0), of_nothing=np.nan)
