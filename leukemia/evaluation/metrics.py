"""What a classifier's scores are worth against the labels; ALL (1) is the positive class."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from leukemia.evaluation.predictions import THRESHOLD

# Names as logged: short, since MLflow's table cuts a column's head at about 12 characters.
NAMES = {
    "loss": "binary cross-entropy, unweighted",
    "acc": "accuracy",
    "bal_acc": "balanced accuracy: mean of sensitivity and specificity",
    "sens": "sensitivity: share of positive cells found",
    "spec": "specificity: share of negative cells left alone",
    "prec": "precision: share of positive calls that are right",
    "f1": "F1 of the positive class",
    "wf1": "F1 of both classes, weighted by their frequency (the C-NMC challenge's measure)",
    "auroc": "area under the ROC curve",
    "auprc": "area under the precision-recall curve (average precision)",
}


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


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float = THRESHOLD) -> Confusion:
    """Counts for labels (n,) 0/1 and scores (n,) in [0, 1]; at the threshold a cell is called 1."""
    called = scores >= threshold
    positive = labels == 1
    return Confusion(
        tp=int(np.sum(positive & called)),
        fn=int(np.sum(positive & ~called)),
        fp=int(np.sum(~positive & called)),
        tn=int(np.sum(~positive & ~called)),
    )


def from_confusion(counts: Confusion) -> dict[str, float]:
    """The metrics that the four counts decide; NaN where a share is of nothing.

    Source: equations 1-4 of the thesis; precision is 0 where nothing is called positive.
    """
    positive, negative = counts.tp + counts.fn, counts.fp + counts.tn
    sensitivity, specificity = _share(counts.tp, positive), _share(counts.tn, negative)
    f1_positive = _f1(counts.tp, counts.fn, counts.fp)
    f1_negative = _f1(counts.tn, counts.fp, counts.fn)
    return {
        "acc": _share(counts.tp + counts.tn, positive + negative),
        "bal_acc": (sensitivity + specificity) / 2,
        "sens": sensitivity,
        "spec": specificity,
        "prec": _share(counts.tp, counts.tp + counts.fp, of_nothing=0.0),
        "f1": f1_positive,
        "wf1": _share(positive * f1_positive + negative * f1_negative, positive + negative),
    }


def metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All metrics of NAMES for labels (n,) 0/1 and scores (n,) in [0, 1]."""
    both = len(set(labels.tolist())) == 2
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    return {
        "loss": float(log_loss(labels, clipped, labels=[0, 1])),
        **from_confusion(confusion(labels, scores)),
        "auroc": float(roc_auc_score(labels, scores)) if both else float("nan"),
        "auprc": float(average_precision_score(labels, scores)) if both else float("nan"),
    }


def _share(part: float, whole: float, of_nothing: float = float("nan")) -> float:
    return part / whole if whole else of_nothing


def _f1(hit: int, missed: int, wrong: int) -> float:
    return _share(2 * hit, 2 * hit + missed + wrong, of_nothing=0.0)
