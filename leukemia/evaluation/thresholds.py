"""Test cells called from another score than 0.5, which validation cells choose.

What comes back are predictions like any others: every metric, interval and difference takes them.
A threshold costs no training, so what a technique gains should be seen beside what moving it gains.
"""

from dataclasses import replace

import numpy as np

from leukemia.cells import Labels, Scores
from leukemia.evaluation.operating import ASKED, choose_threshold
from leukemia.evaluation.predictions import THRESHOLD, Predictions

ROUNDING = 1e-12  # two balanced accuracies that are less apart are equal


def at_half(test: Predictions) -> Predictions:
    """The test cells as called from 0.5 on, whatever the technique decides."""
    return replace(test, threshold=THRESHOLD)


def at_best(validation: Predictions, test: Predictions) -> Predictions:
    """The test cells as called from the threshold with the best balanced accuracy on validation."""
    return replace(test, threshold=best_threshold(validation.labels, validation.scores))


def at_sensitivity(validation: Predictions, test: Predictions, asked: float = ASKED) -> Predictions:
    """The test cells as called from the highest threshold with the asked validation sensitivity.

    Raises:
        UserError: `asked` is outside (0, 1], or no validation cell is positive.
    """
    return replace(test, threshold=choose_threshold(validation.labels, validation.scores, asked))


def best_threshold(labels: Labels, scores: Scores) -> float:
    """The threshold with the highest balanced accuracy of labels (n,) 0/1 and scores (n,).

    It lies halfway between two neighbouring scores. Of several that are as good it is the middle
    one: with few subjects they may lie far apart, and the outer ones are one cell's chance. Where
    none is better than to call all cells alike, or a class is missing, it is 0.5: nothing is known
    that would move it.
    """
    positive = labels == 1
    if positive.all() or not positive.any():
        return THRESHOLD
    levels, place = np.unique(scores.astype(np.float64), return_inverse=True)
    missed, refused = (
        np.cumsum(np.bincount(place, side, len(levels))) / side.sum()
        for side in (positive, ~positive)
    )
    gained = (refused - missed)[:-1]  # sensitivity + specificity - 1, called from the next level on
    if not len(gained) or gained.max() <= ROUNDING:
        return THRESHOLD
    best = np.flatnonzero(gained > gained.max() - ROUNDING)
    middle = best[len(best) // 2]
    return float(levels[middle : middle + 2].mean())
