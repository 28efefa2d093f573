"""The metrics of a classifier, one entry each in METRICS; the positive class (1) is ALL.

Logged names, curves, jackknife, intervals, comparisons, the choices of `--metric`, the ranking's
columns, the registry's gate and the model card all follow from that list: to add a metric is to
add an entry. Importing this module loads neither scikit-learn nor SciPy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leukemia.errors import UserError
from leukemia.evaluation.predictions import THRESHOLD

LEAST = 1e-7  # scores are clipped to [LEAST, 1 - LEAST] for the cross-entropy
SPECIFICITY = 0.9  # at which `sens90s` looks
SENSITIVITY = 0.95  # at which `spec95s` looks


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of cells: true/false positives/negatives."""

    tp: int
    fn: int
    fp: int
    tn: int

    @property
    def matrix(self) -> np.ndarray:
        """(2, 2) int64: rows the true class, columns the called one, positive first."""
        return np.array([[self.tp, self.fn], [self.fp, self.tn]])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The confusion counts of one or many sets of cells: float64 arrays that broadcast.

    They are numbers of cells, or all of them shares of the cells. positive, negative: cells of
    each class. total: cells of both. sens, spec: NaN where a class has no cells.
    """

    tp: np.ndarray
    fn: np.ndarray
    fp: np.ndarray
    tn: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    total: np.ndarray
    sens: np.ndarray
    spec: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: what it is called, how it is computed and what its values mean.

    Exactly one of `of_counts` and `of_scores` is given.

    name: as logged behind train_, val_ or test_; at most 8 characters, since MLflow's table cuts
        a heading at about 12. long_name: in words, for the model card.
    of_counts: Counts -> array of their shape, the same for numbers and for shares of cells.
    of_scores: labels (n,) 0/1, scores (n,) in [0, 1] -> the value, NaN where it is not defined.
    penalty: labels, scores -> (n,) float64 >= 0, where the metric is the mean of that over cells.
    without_each: places (n,) int in [0, subjects), labels, scores, subjects -> (1 + subjects,)
        float64, the value of all cells and then without each subject's. Where a metric of scores
        has neither this nor a penalty, it is computed anew without each subject.
    bounds: its lowest and highest possible value. higher_is_better: which of them is best.
    ranks: whether a ranking may go by it. shown: whether every ranking has a column of it.
    classes: labels of the classes whose cells decide it.
    luck: the standard deviation of one network's test value when a technique is trained anew, as
        measured (docs/measured.md); None where it is not known.
    """

    name: str
    long_name: str
    of_counts: Callable[[Counts], np.ndarray] | None = None
    of_scores: Callable[[np.ndarray, np.ndarray], float] | None = None
    penalty: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    without_each: Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    ranks: bool = False
    shown: bool = False
    classes: tuple[int, ...] = (0, 1)
    luck: float | None = None

    def __post_init__(self) -> None:
        if (self.of_counts is None) == (self.of_scores is None):
            raise TypeError(f"metric {self.name}: give either of_counts or of_scores")

    @property
    def sign(self) -> int:
        """1, or -1 where lower values are better: what a difference times this gains."""
        return 1 if self.higher_is_better else -1


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float = THRESHOLD) -> Confusion:
    """Counts for labels (n,) 0/1 and scores (n,) in [0, 1]; at the threshold a cell is called 1."""
    # In float32 a threshold from float64 scores would be rounded, perhaps past a score.
    called = scores.astype(np.float64) >= threshold
    positive = labels == 1
    return Confusion(
        tp=int(np.sum(positive & called)),
        fn=int(np.sum(positive & ~called)),
        fp=int(np.sum(~positive & called)),
        tn=int(np.sum(~positive & ~called)),
    )


def metrics(
    labels: np.ndarray, scores: np.ndarray, threshold: float = THRESHOLD
) -> dict[str, float]:
    """Every metric by name, for labels (n,) 0/1 and scores (n,) in [0, 1].

    threshold: the score from which a cell is called positive, for the metrics of counts.
    """
    counted = from_confusion(confusion(labels, scores, threshold))
    return {
        name: metric.of_scores(labels, scores) if metric.of_scores else counted[name]
        for name, metric in METRICS.items()
    }


def from_confusion(counts: Confusion) -> dict[str, float]:
    """The metrics of counts by name; NaN where a share is of nothing.

    Source: equations 1-4 of the thesis; precision is 0 where nothing is called positive.
    """
    tp, fn, fp, tn = (np.array(count, np.float64) for count in vars(counts).values())
    of_cells = Counts(
        tp=tp, fn=fn, fp=fp, tn=tn, positive=tp + fn, negative=fp + tn, total=tp + fn + fp + tn,
        sens=ratio(tp, tp + fn, of_nothing=np.nan), spec=ratio(tn, fp + tn, of_nothing=np.nan),
    )  # fmt: skip
    return {
        name: float(metric.of_counts(of_cells))
        for name, metric in METRICS.items()
        if metric.of_counts
    }


def of_rates(sens: np.ndarray, spec: np.ndarray, share: np.ndarray) -> Counts:
    """Counts as shares of the cells, of which `share` are positive; the arrays broadcast.

    A rate of a class without cells may be NaN.
    """
    return Counts(
        tp=part(share, sens),
        fn=part(share, 1 - sens),
        fp=part(1 - share, 1 - spec),
        tn=part(1 - share, spec),
        positive=share,
        negative=1 - share,
        total=np.ones(()),
        sens=sens,
        spec=spec,
    )


def metric_of(name: str) -> Metric:
    """The entry of METRICS; of AT_BEST's names that of calls from any threshold.

    Raises:
        UserError: there is none of that name.
    """
    name = AT_BEST.get(name, name)
    if name not in METRICS:
        raise UserError(f"no metric {name!r}: expected one of {', '.join(METRICS)}")
    return METRICS[name]


def brier(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean squared distance of scores (n,) from labels (n,) 0/1; 0 is best. Source: Brier 1950."""
    return float(np.mean((scores.astype(np.float64) - labels) ** 2))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve of labels (n,) 0/1 and scores (n,); NaN of one class alone."""
    if not _has_both(labels):
        return float("nan")
    from leukemia.evaluation.curves import placements

    positive = labels == 1
    pairs = np.count_nonzero(positive) * np.count_nonzero(~positive)
    return float(placements(labels, scores)[positive].sum() / pairs)


def part(weight: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """weight * rate, and 0 where the weight is 0, whatever the rate."""
    return np.where(weight > 0, weight * rate, 0.0)


def ratio(numerator: np.ndarray, whole: np.ndarray, of_nothing: float = 0.0) -> np.ndarray:
    """numerator / whole, and `of_nothing` where the whole is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(whole))
    out = np.full(shape, of_nothing)
    np.divide(numerator, whole, out=out, where=np.not_equal(whole, 0))
    return out


def _f1(hit: np.ndarray, missed: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    return ratio(2 * hit, 2 * hit + missed + wrong)


def _weighted_f1(c: Counts) -> np.ndarray:
    of_both = c.positive * _f1(c.tp, c.fn, c.fp) + c.negative * _f1(c.tn, c.fp, c.fn)
    return ratio(of_both, c.total, of_nothing=np.nan)


def _mcc(c: Counts) -> np.ndarray:
    """0 where all cells are called alike. Source: Matthews 1975."""
    product = (c.tp + c.fp) * (c.tn + c.fn) * c.positive * c.negative
    return _of_both(c, ratio(c.tp * c.tn - c.fp * c.fn, np.sqrt(product)))


def _kappa(c: Counts) -> np.ndarray:
    """Source: Cohen 1960."""
    chance = (c.tp + c.fp) * c.negative + c.positive * (c.fn + c.tn)
    return _of_both(c, ratio(2 * (c.tp * c.tn - c.fp * c.fn), chance))


def _of_both(c: Counts, value: np.ndarray) -> np.ndarray:
    """The value, and NaN where a class has no cells."""
    return np.where((c.positive > 0) & (c.negative > 0), value, np.nan)


def _log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    clipped = np.clip(scores.astype(np.float64), LEAST, 1 - LEAST)
    return float(log_loss(labels, clipped, labels=[0, 1]))


def _cross_entropy(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    losses: np.ndarray = -np.log(np.clip(_of_truth(labels, scores), LEAST, 1 - LEAST))
    return losses


def _squared_error(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (1 - _of_truth(labels, scores)) ** 2


def _of_truth(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(n,): the probability that is given to each cell's own class."""
    return np.where(labels == 1, scores, 1 - scores)


def _auprc(labels: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if _has_both(labels) else float("nan")


def _auroc_without(
    places: np.ndarray, labels: np.ndarray, scores: np.ndarray, subjects: int
) -> np.ndarray:
    from leukemia.evaluation import curves

    return curves.auroc_without(places, labels, scores, subjects)


def _auprc_without(
    places: np.ndarray, labels: np.ndarray, scores: np.ndarray, subjects: int
) -> np.ndarray:
    from leukemia.evaluation import curves

    return curves.auprc_without(places, labels, scores, subjects)


def _sens_at_specificity(labels: np.ndarray, scores: np.ndarray) -> float:
    """The highest sensitivity at any threshold with a specificity of at least SPECIFICITY."""
    if not _has_both(labels):
        return float("nan")
    negative = np.sort(scores[labels != 1])[::-1]
    count = len(negative)
    specificities = (count - np.arange(1, count + 1)) / count  # with 1, 2, ... called positive
    allowed = int(np.count_nonzero(specificities >= SPECIFICITY))
    return float(np.mean(scores[labels == 1] > negative[allowed]))


def _spec_at_sensitivity(labels: np.ndarray, scores: np.ndarray) -> float:
    """The highest specificity at any threshold with a sensitivity of at least SENSITIVITY."""
    if not _has_both(labels):
        return float("nan")
    positive = np.sort(scores[labels == 1])
    count = len(positive)
    sensitivities = (count - np.arange(1, count + 1)) / count  # with 1, 2, ... of them missed
    missed = int(np.count_nonzero(sensitivities >= SENSITIVITY))
    return float(np.mean(scores[labels != 1] < positive[missed]))


def _has_both(labels: np.ndarray) -> bool:
    positive = int(np.count_nonzero(labels == 1))
    return 0 < positive < len(labels)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="loss",
            long_name="binary cross-entropy, unweighted",
            luck=0.064,
            of_scores=_log_loss,
            penalty=_cross_entropy,
            bounds=(0.0, float(-np.log(LEAST))),
            higher_is_better=False,
        ),
        Metric(
            name="acc",
            long_name="accuracy",
            luck=0.040,
            of_counts=lambda c: ratio(c.tp + c.tn, c.total, of_nothing=np.nan),
            ranks=True,
        ),
        Metric(
            name="bal_acc",
            long_name="balanced accuracy: mean of sensitivity and specificity",
            luck=0.047,
            of_counts=lambda c: (c.sens + c.spec) / 2,
            ranks=True,
        ),
        Metric(
            name="sens",
            long_name="sensitivity: share of positive cells that are called so",
            luck=0.111,
            of_counts=lambda c: c.sens,
            shown=True,
            classes=(1,),
        ),
        Metric(
            name="spec",
            long_name="specificity: share of negative cells that are called so",
            luck=0.168,
            of_counts=lambda c: c.spec,
            shown=True,
            classes=(0,),
        ),
        Metric(
            name="prec",
            long_name="precision: share of positive calls that are right",
            luck=0.069,
            of_counts=lambda c: ratio(c.tp, c.tp + c.fp),
        ),
        Metric(
            name="f1",
            long_name="F1 of the positive class",
            luck=0.042,
            of_counts=lambda c: _f1(c.tp, c.fn, c.fp),
            ranks=True,
        ),
        Metric(
            name="wf1",
            long_name="F1 of both classes, weighted by their frequency (the C-NMC challenge's)",
            luck=0.037,
            of_counts=_weighted_f1,
            ranks=True,
            shown=True,
        ),
        Metric(
            name="auroc",
            long_name="area under the ROC curve",
            luck=0.040,
            of_scores=auroc,
            without_each=_auroc_without,
            ranks=True,
            shown=True,
        ),
        Metric(
            name="auprc",
            long_name="area under the precision-recall curve (average precision)",
            luck=0.026,
            of_scores=_auprc,
            without_each=_auprc_without,
            ranks=True,
        ),
        Metric(
            name="brier",
            long_name="Brier score: mean squared distance of probability and label",
            luck=0.024,
            of_scores=brier,
            penalty=_squared_error,
            higher_is_better=False,
        ),
        Metric(
            name="mcc",
            long_name="Matthews' correlation of call and label",
            luck=0.069,
            of_counts=_mcc,
            bounds=(-1.0, 1.0),
            ranks=True,
        ),
        Metric(
            name="kappa",
            long_name="Cohen's kappa: agreement of call and label beyond chance",
            luck=0.073,
            of_counts=_kappa,
            bounds=(-1.0, 1.0),
            ranks=True,
        ),
        Metric(
            name="gmean",
            long_name="geometric mean of sensitivity and specificity",
            luck=0.054,
            of_counts=lambda c: np.sqrt(c.sens * c.spec),
            ranks=True,
        ),
        Metric(
            name="sens90s",
            long_name="sensitivity at the threshold with a specificity of 90 %",
            luck=0.128,
            of_scores=_sens_at_specificity,
            ranks=True,
        ),
        Metric(
            name="spec95s",
            long_name="specificity at the threshold with a sensitivity of 95 %",
            luck=0.093,
            of_scores=_spec_at_sensitivity,
            ranks=True,
        ),
    )
}
# Metrics of calls from the threshold that is best on validation, by the names that runs log.
AT_BEST = {"bal_v": "bal_acc"}
PRIMARY = (*(name for name, metric in METRICS.items() if metric.ranks), *AT_BEST)
