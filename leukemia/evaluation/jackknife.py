"""The jackknife: a metric of all test cells, without each subject, and without each network.

How much the value moves when a subject (or what a network tested) is left out shows how far it
would move for other subjects (or networks): `variance_components` makes variances of it,
`intervals` and `comparison` bounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from leukemia.errors import UserError
from leukemia.evaluation.metrics import Metric, metric_of, of_rates, part, ratio
from leukemia.evaluation.predictions import Predictions

Repeats = Sequence[Sequence[Predictions]]  # seeds, and of each its folds


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """A metric's value with all subjects, without each of them and without each network, by seed.

    A network is one of a seed's folds: it alone has tested that fold's cells.

    names: (n,) str, the subjects, sorted. kinds: (n,) int, 1 for subjects with positive cells
        only, 2 with negative ones only, 3 with both. sizes: (n,) float64, each subject's share of
        the cells of its classes.
    whole: (seeds,) float64, of all subjects. without: (seeds, n) float64, without each.
    without_fold: (seeds, folds) float64, without the cells of each fold; NaN where a seed has
        fewer folds, or one alone. shares: (seeds, folds) float64, of a seed's cells, 0 likewise.
    """

    names: np.ndarray
    kinds: np.ndarray
    sizes: np.ndarray
    whole: np.ndarray
    without: np.ndarray
    without_fold: np.ndarray
    shares: np.ndarray

    @property
    def value(self) -> float:
        """The mean over seeds; NaN where no seed has a value."""
        return float(self.whole.mean()) if len(self.whole) else float("nan")

    def over_seeds(self) -> "Jackknife":
        """The mean over seeds as a single seed, whose networks are not told apart."""
        whole, without = (rows.mean(axis=0, keepdims=True) for rows in (self.whole, self.without))
        return replace(
            self, whole=whole, without=without,
            without_fold=np.full((1, 1), np.nan), shares=np.ones((1, 1)),
        )  # fmt: skip

    def less(self, other: "Jackknife") -> "Jackknife":
        """This minus another, seed by seed and fold by fold, of the same subjects."""
        return replace(
            self,
            whole=self.whole - other.whole,
            without=self.without - other.without,
            without_fold=self.without_fold - other.without_fold,
        )

    def over(self, names: np.ndarray, kinds: np.ndarray) -> "Jackknife":
        """The same for `names`, more subjects; to leave out one without cells changes nothing."""
        places, sizes = np.searchsorted(names, self.names), np.zeros(len(names))
        without = np.repeat(self.whole[:, None], len(names), axis=1)
        without[:, places], sizes[places] = self.without, self.sizes
        return replace(self, names=names, kinds=kinds, sizes=sizes, without=without)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The n test cells of one network.

    places: (n,) int, each cell's subject as a place among all names. labels: (n,) 0/1. scores:
    (n,) float64. right: (n,) bool, whether the cell is called by its label. subjects: number of
    all names.
    """

    places: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    subjects: int
    _known: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def cells(self) -> np.ndarray:
        """(subjects, 2) float64: number of cells by subject and label (0, 1)."""
        return self.summed(np.ones(len(self.labels)))

    @cached_property
    def right_cells(self) -> np.ndarray:
        """(subjects, 2) float64: number of cells that are called by their label."""
        return self.summed(self.right)

    def summed(self, quantity: np.ndarray) -> np.ndarray:
        """(subjects, 2) float64: the sum of a quantity (n,) by subject and label."""
        row = 2 * self.places + (self.labels == 1)
        return np.bincount(row, quantity, minlength=2 * self.subjects).reshape(-1, 2)

    def without_each(self, metric: Metric) -> np.ndarray:
        """(1 + subjects,) float64: a metric of scores of these cells, then without each subject's.

        Kept, since the composites of a study ask for the same fold many times.
        """
        if metric.name not in self._known:
            self._known[metric.name] = _without_each(metric, self)
        return self._known[metric.name]

    def but(self, places: np.ndarray, metric: Metric) -> float:
        """The metric of the cells of all subjects but those at `places`; NaN where undefined."""
        gone = np.zeros(self.subjects, bool)
        gone[places] = True
        if metric.of_counts:
            cells, right = (each[~gone].sum(axis=0) for each in (self.cells, self.right_cells))
            spec, sens = ratio(right, cells, of_nothing=np.nan)
            share = ratio(cells[1], cells.sum(), of_nothing=np.nan)
            return float(metric.of_counts(of_rates(sens, spec, share)))
        kept = ~gone[self.places]
        return _of_scores(metric, self.labels[kept], self.scores[kept])


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
    folds: Sequence[Sequence[Fold]]

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
    names, of_fold = numbered([fold for folds in repeats for fold in folds])
    every = iter(of_fold)
    return counted(names, [[next(every) for _ in folds] for folds in repeats])


def numbered(every: Sequence[Predictions]) -> tuple[np.ndarray, list[Fold]]:
    """The sorted names (m,) of all their subjects, and the same cells with places among them."""
    names, places = np.unique(
        np.concatenate([fold.subjects for fold in every]), return_inverse=True
    )
    of_fold = np.split(places, np.cumsum([len(fold) for fold in every])[:-1])
    folds = [
        Fold(
            places=own,
            labels=fold.labels,
            scores=fold.scores.astype(np.float64),
            right=fold.right,
            subjects=len(names),
        )
        for own, fold in zip(of_fold, every, strict=True)
    ]
    return names, folds


def counted(names: np.ndarray, folds: Sequence[Sequence[Fold]]) -> SubjectCounts:
    """Counts of the folds of each seed, by all the names that the folds know."""
    cells = np.stack([np.sum([fold.cells for fold in seed], axis=0) for seed in folds])
    right = np.stack([np.sum([fold.right_cells for fold in seed], axis=0) for seed in folds])
    has = cells.sum(axis=0) > 0
    kinds = has[:, 1] + 2 * has[:, 0]
    return SubjectCounts(names=names, kinds=kinds, cells=cells, right=right, folds=folds)


def leave_out(counts: SubjectCounts, name: str) -> Jackknife:
    """The metric of that name with all subjects, without each, and without each fold's cells.

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
        values = [_of_rates(counts, metric, each) for each in _sums(counts, _right_cells)]
    elif metric.penalty:
        values = _mean_penalties(counts, metric)
    else:
        values = _means_over_folds(counts, metric)
    (whole, without), without_fold = _split(values[0]), values[1]
    defined = ~np.isnan(whole)
    return Jackknife(
        names=counts.names,
        kinds=counts.kinds,
        sizes=_sizes(counts),
        whole=whole[defined],
        without=without[defined],
        without_fold=without_fold[defined],
        shares=_shares(counts)[defined],
    )


def aligned(a: Jackknife, b: Jackknife) -> tuple[Jackknife, Jackknife]:
    """Both for all the subjects that either has."""
    names = np.union1d(a.names, b.names)
    kinds = np.zeros(len(names), np.int64)
    for each in (a, b):
        kinds[np.searchsorted(names, each.names)] |= each.kinds
    return a.over(names, kinds), b.over(names, kinds)


def _split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[:, 0], values[:, 1:]


def _right_cells(fold: Fold) -> np.ndarray:
    return fold.right_cells


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums of a quantity and numbers of cells, by label: (seeds, m, 2) float64 each."""

    sums: np.ndarray
    cells: np.ndarray

    def means(self, label: int) -> np.ndarray:
        """(seeds, m): the quantity's mean over the label's cells; NaN where there are none."""
        return ratio(self.sums[..., label], self.cells[..., label], of_nothing=np.nan)


def _sums(counts: SubjectCounts, quantity: Callable[[Fold], np.ndarray]) -> tuple[_Sums, _Sums]:
    """A quantity (subjects, 2) of each fold summed over all subjects and without each (m: 1 + n),
    and without each fold (m: folds; NaN where a seed has fewer, or one alone)."""
    by_fold = [[quantity(fold) for fold in seed] for seed in counts.folds]
    sums = np.stack([np.sum(seed, axis=0) for seed in by_fold])
    cells = [[fold.cells for fold in seed] for seed in counts.folds]
    return (
        _Sums(sums=_less_each(sums), cells=_less_each(counts.cells)),
        _Sums(
            sums=sums.sum(axis=1, keepdims=True) - _by_label(by_fold),
            cells=counts.cells.sum(axis=1, keepdims=True) - _by_label(cells),
        ),
    )


def _by_label(by_fold: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """(seeds, most folds, 2): each fold's sum over subjects; NaN where none can be left out."""
    out = np.full((len(by_fold), max(map(len, by_fold)), 2), np.nan)
    for number, seed in enumerate(by_fold):
        if len(seed) > 1:
            out[number, : len(seed)] = [each.sum(axis=0) for each in seed]
    return out


def _less_each(sums: np.ndarray) -> np.ndarray:
    """(seeds, n, 2) sums as (seeds, 1 + n, 2): their total, then the total less each."""
    total = sums.sum(axis=1, keepdims=True)
    return np.concatenate([total, total - sums], axis=1)


def _of_rates(counts: SubjectCounts, metric: Metric, sums: _Sums) -> np.ndarray:
    assert metric.of_counts
    return metric.of_counts(of_rates(sums.means(1), sums.means(0), counts.share[:, None]))


def _mean_penalties(counts: SubjectCounts, metric: Metric) -> list[np.ndarray]:
    """The mean of the metric's penalty, as `_sums` leaves out subjects and folds."""
    penalty, share = metric.penalty, counts.share[:, None]
    assert penalty
    return [
        part(share, each.means(1)) + part(1 - share, each.means(0))
        for each in _sums(counts, lambda fold: fold.summed(penalty(fold.labels, fold.scores)))
    ]


def _means_over_folds(counts: SubjectCounts, metric: Metric) -> list[np.ndarray]:
    """The mean of the folds with a value, of all subjects and without each, and without folds."""
    by_seed = [np.stack([fold.without_each(metric) for fold in seed]) for seed in counts.folds]
    without_fold = np.full((len(by_seed), max(map(len, by_seed))), np.nan)
    for number, rows in enumerate(by_seed):
        for fold in range(len(rows) if len(rows) > 1 else 0):
            without_fold[number, fold] = _mean_of_known(np.delete(rows[:, :1], fold, axis=0))[0]
    return [np.stack([_mean_of_known(rows) for rows in by_seed]), without_fold]


def _sizes(counts: SubjectCounts) -> np.ndarray:
    """(n,): each subject's share of the cells of its classes, the mean over those."""
    cells = counts.cells.sum(axis=0)
    shares = ratio(cells, cells.sum(axis=0))
    return ratio(shares.sum(axis=1), (cells > 0).sum(axis=1))


def _shares(counts: SubjectCounts) -> np.ndarray:
    """(seeds, folds): each fold's share of its seed's cells, 0 where a seed has fewer folds."""
    shares = np.zeros((len(counts.folds), max(map(len, counts.folds))))
    for number, seed in enumerate(counts.folds):
        shares[number, : len(seed)] = [len(fold.labels) for fold in seed]
    return ratio(shares, shares.sum(axis=1, keepdims=True))


def _without_each(metric: Metric, fold: Fold) -> np.ndarray:
    """(1 + subjects,): the metric of a fold's cells, then without each subject's."""
    if metric.without_each:
        return metric.without_each(fold.places, fold.labels, fold.scores, fold.subjects)
    values = np.full(1 + fold.subjects, _of_scores(metric, fold.labels, fold.scores))
    for place in np.unique(fold.places):
        kept = fold.places != place
        values[1 + place] = _of_scores(metric, fold.labels[kept], fold.scores[kept])
    return values


def _of_scores(metric: Metric, labels: np.ndarray, scores: np.ndarray) -> float:
    assert metric.of_scores
    return metric.of_scores(labels, scores) if len(labels) else float("nan")


def _mean_of_known(rows: np.ndarray) -> np.ndarray:
    known = ~np.isnan(rows)
    return ratio(np.where(known, rows, 0).sum(axis=0), known.sum(axis=0), of_nothing=np.nan)
