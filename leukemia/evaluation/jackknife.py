"""A figure with all subjects and with each left out in turn: how much of it rests on whom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leukemia.errors import UserError
from leukemia.evaluation import curves
from leukemia.evaluation.metrics import NAMES, THRESHOLD
from leukemia.evaluation.predictions import Predictions

Repeats = Sequence[Sequence[Predictions]]  # seeds, and of each its folds

COUNTED = ("acc", "bal_acc", "sens", "spec", "prec", "f1", "wf1")  # by the confusion counts
MEANS = {"loss": 2, "brier": 3}  # of a cell's penalty: where SubjectCounts.sums holds them
METRICS = (*NAMES, "brier")
LEAST = 1e-7  # scores are clipped to [LEAST, 1 - LEAST] for the cross-entropy


@dataclass(frozen=True, kw_only=True)
class Jackknife:
    """A figure with all subjects and without each of them, by seed.

    names: (n,) str, the subjects, sorted. kinds: (n,) int, 1 for subjects with positive cells
        only, 2 with negative ones only, 3 with both.
    whole: (seeds,) float64. without: (seeds, n) float64.
    """

    names: np.ndarray
    kinds: np.ndarray
    whole: np.ndarray
    without: np.ndarray

    @property
    def value(self) -> float:
        """The mean over seeds; NaN where the figure is of nothing."""
        return float(self.whole.mean()) if len(self.whole) else float("nan")

    def over_seeds(self) -> "Jackknife":
        """The mean over seeds as if there were one."""
        whole, without = (part.mean(axis=0, keepdims=True) for part in (self.whole, self.without))
        return Jackknife(names=self.names, kinds=self.kinds, whole=whole, without=without)

    def less(self, other: "Jackknife") -> "Jackknife":
        """The difference, seed by seed, to another figure of the same subjects."""
        whole, without = self.whole - other.whole, self.without - other.without
        return Jackknife(names=self.names, kinds=self.kinds, whole=whole, without=without)

    def over(self, names: np.ndarray, kinds: np.ndarray) -> "Jackknife":
        """For more subjects: without one that was not tested, the figure is what it is."""
        without = np.repeat(self.whole[:, None], len(names), axis=1)
        without[:, np.searchsorted(names, self.names)] = self.without
        return Jackknife(names=names, kinds=kinds, whole=self.whole, without=without)


@dataclass(frozen=True, kw_only=True)
class SubjectCounts:
    """What a technique's test cells come to, subject by subject.

    names (n,) and kinds (n,) as in Jackknife.
    sums: (4, seeds, n, 2) float64: number of cells, of right ones, sum of the cross-entropy and
        of the squared error, by subject and label (0, 1); the folds of a seed are pooled.
    folds: one entry a seed: of each fold the subject's place in `names`, labels and scores.
    """

    names: np.ndarray
    kinds: np.ndarray
    sums: np.ndarray
    folds: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]

    @property
    def share(self) -> np.ndarray:
        """(seeds,) float64: share of positive cells."""
        by_label = self.sums[0].sum(axis=1)
        return by_label[:, 1] / by_label.sum(axis=1)


def subject_counts(repeats: Repeats) -> SubjectCounts:
    """Sum up cells by subject; 60,000 cells take a tenth of a second, names most of it.

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
    folds = [
        [(next(of_fold), fold.labels, fold.scores.astype(np.float64)) for fold in of_seed]
        for of_seed in repeats
    ]
    sums = np.stack([_sums(of_seed, len(names)) for of_seed in folds], axis=1)
    has = sums[0].sum(axis=0) > 0
    return SubjectCounts(names=names, kinds=has[:, 1] + 2 * has[:, 0], sums=sums, folds=folds)


def leave_out(subject_counts: SubjectCounts, metric: str) -> Jackknife:
    """A metric of METRICS with all subjects and without each.

    Counts are pooled over a seed's folds, at the share of positive cells that was tested (a
    subject fewer changes how often cells are right, not how frequent the classes are). Areas
    under curves are means over folds, since scores of two networks are not on one scale.
    Seeds in which the figure is of nothing are left out.

    Raises:
        UserError: no such metric.
    Source: LeDell, Petersen & van der Laan 2015 (section 3), for the areas.
    """
    if metric not in METRICS:
        raise UserError(f"no metric {metric!r}: expected one of {', '.join(METRICS)}")
    if metric in ("auroc", "auprc"):
        both = _area(subject_counts, metric)
    else:
        share = subject_counts.share[:, None]
        first, second = (_by_label(subject_counts, MEANS.get(metric, 1), label) for label in (1, 0))
        if metric in MEANS:
            both = _part(share, first) + _part(1 - share, second)
        else:
            both = from_rates(metric, first, second, share)
    known = ~np.isnan(both[:, 0])
    return Jackknife(
        names=subject_counts.names,
        kinds=subject_counts.kinds,
        whole=both[known, 0],
        without=both[known, 1:],
    )


def aligned(a: Jackknife, b: Jackknife) -> tuple[Jackknife, Jackknife]:
    """Both for all the subjects that either has."""
    names = np.union1d(a.names, b.names)
    kinds = np.zeros(len(names), np.int64)
    for left in (a, b):
        kinds[np.searchsorted(names, left.names)] |= left.kinds
    return a.over(names, kinds), b.over(names, kinds)


def from_rates(metric: str, sens: np.ndarray, spec: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A metric of COUNTED from sensitivity, specificity and the share of positive cells.

    Arrays broadcast; a rate of a class without cells may be NaN.
    """
    tp, fn = _part(share, sens), _part(share, 1 - sens)
    tn, fp = _part(1 - share, spec), _part(1 - share, 1 - spec)
    f1 = _ratio(2 * tp, 2 * tp + fn + fp)
    if metric == "wf1":
        return share * f1 + (1 - share) * _ratio(2 * tn, 2 * tn + fp + fn)
    return {
        "acc": tp + tn,
        "bal_acc": (sens + spec) / 2,
        "sens": sens,
        "spec": spec,
        "prec": _ratio(tp, tp + fp),
        "f1": f1,
    }[metric]


def _sums(folds: list[tuple[np.ndarray, np.ndarray, np.ndarray]], subjects: int) -> np.ndarray:
    """(4, subjects, 2), see SubjectCounts."""
    places, labels, scores = (np.concatenate(parts) for parts in zip(*folds, strict=True))
    of_truth = np.where(labels == 1, scores, 1 - scores)
    right = (scores >= THRESHOLD) == (labels == 1)
    loss = -np.log(np.clip(of_truth, LEAST, 1 - LEAST))
    each = 2 * places + (labels == 1)
    return np.stack(
        [
            np.bincount(each, quantity, minlength=2 * subjects).reshape(-1, 2)
            for quantity in (np.ones(len(labels)), right, loss, (1 - of_truth) ** 2)
        ]
    )


def _by_label(subject_counts: SubjectCounts, quantity: int, label: int) -> np.ndarray:
    """(seeds, 1 + n): the mean of a quantity over the label's cells, of all and without each."""
    parts, cells = subject_counts.sums[quantity, :, :, label], subject_counts.sums[0, :, :, label]
    return _ratio(_less_each(parts), _less_each(cells), of_nothing=np.nan)


def _less_each(parts: np.ndarray) -> np.ndarray:
    """(seeds, n) parts as (seeds, 1 + n): their sum, then the sum less each."""
    whole = parts.sum(axis=1, keepdims=True)
    return np.concatenate([whole, whole - parts], axis=1)


def _area(subject_counts: SubjectCounts, metric: str) -> np.ndarray:
    """(seeds, 1 + n): the mean of the folds that have both classes, of all and without each."""
    area = curves.auroc_without if metric == "auroc" else curves.auprc_without
    subjects = len(subject_counts.names)
    return np.stack(
        [
            _mean_of_known([area(*fold, subjects) for fold in folds])
            for folds in subject_counts.folds
        ]
    )


def _mean_of_known(rows: list[np.ndarray]) -> np.ndarray:
    known = ~np.isnan(rows)
    return _ratio(np.where(known, rows, 0).sum(axis=0), known.sum(axis=0), of_nothing=np.nan)


def _part(weight: np.ndarray, rate: np.ndarray) -> np.ndarray:
    return np.where(weight > 0, weight * rate, 0.0)


def _ratio(part: np.ndarray, whole: np.ndarray, of_nothing: float = 0.0) -> np.ndarray:
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, of_nothing), where=np.not_equal(whole, 0))
