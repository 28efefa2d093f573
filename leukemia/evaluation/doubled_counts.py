"""The metrics as the thesis counted them, to be set beside the honest ones."""

import numpy as np

from leukemia.evaluation.metrics import Confusion, from_confusion
from leukemia.evaluation.predictions import Predictions


def as_the_thesis_counts(pooled: dict[str, Predictions]) -> dict[str, float]:
    """`thesis_...`: the training split with its synthetic cells, each image counted twice.

    pooled: split -> its cells, real and synthetic ones as they were pooled before the split.

    The thesis' matrices have as many positives as negatives, and as many of each as there are
    training images: what Keras' counters give over two outputs a cell, where each cell is a
    positive of one output and a negative of the other. `thesis_val_acc` and `thesis_test_acc`
    are accuracies on the held-out part of the pool, synthetic cells included. None of these is to
    be believed. Source: the thesis, sections 4.4 to 4.6.
    """
    counts = doubled(pooled["train"])
    shown = from_confusion(counts)
    return {
        **{f"thesis_{name}": float(count) for name, count in vars(counts).items()},
        **{f"thesis_{name}": shown[name] for name in ("acc", "sens", "spec", "prec")},
        "thesis_val_acc": _accuracy(pooled["validation"]),
        "thesis_test_acc": _accuracy(pooled["test"]),
    }


def doubled(cells: Predictions) -> Confusion:
    """Counts over two one-hot outputs: a cell called by its label is a true positive of one output
    and a true negative of the other; any other is a false positive and a false negative."""
    right = int(np.sum(cells.right))
    wrong = len(cells) - right
    return Confusion(tp=right, fn=wrong, fp=wrong, tn=right)


def _accuracy(cells: Predictions) -> float:
    return float(np.mean(cells.right))
