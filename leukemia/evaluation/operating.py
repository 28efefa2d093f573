"""A threshold for an asked sensitivity: chosen on validation cells, reported on test cells.

Missing a blast is worse than a second look at a normal cell, so 0.5 is seldom the threshold
that a laboratory would use.
"""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Labels, Scores
from leukemia.errors import UserError
from leukemia.evaluation.metrics import Confusion, confusion, from_confusion
from leukemia.evaluation.predictions import Predictions

ASKED = 0.95  # sensitivity


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold and what it does on both sides; a score at the threshold calls positive.

    asked: the sensitivity that validation cells had to reach.
    validation, test: counts at the threshold. Only `test` says what to expect.
    """

    threshold: float
    asked: float
    validation: Confusion
    test: Confusion

    @property
    def metrics(self) -> dict[str, float]:
        """val_sens, val_spec, test_sens and test_spec; NaN where a side lacks the class."""
        return {
            f"{side}_{name}": from_confusion(counts)[name]
            for side, counts in (("val", self.validation), ("test", self.test))
            for name in ("sens", "spec")
        }

    @property
    def step(self) -> float:
        """One positive validation cell more or less moves validation sensitivity by this."""
        return 1 / (self.validation.tp + self.validation.fn)

    @property
    def text(self) -> str:
        """One line for reports."""
        counts, shares = self.validation, self.metrics
        return (
            f"threshold {self.threshold:.4g} for a sensitivity of at least {self.asked:g}: "
            f"validation {shares['val_sens']:.3f} ({counts.tp} of {counts.tp + counts.fn} positive "
            f"cells, steps of {self.step:.2g}), specificity {shares['val_spec']:.3f}; "
            f"test {shares['test_sens']:.3f}, specificity {shares['test_spec']:.3f}"
        )


def operate(validation: Predictions, test: Predictions, asked: float = ASKED) -> OperatingPoint:
    """Choose the threshold on validation cells and apply it to test cells.

    Raises:
        UserError: `asked` is outside (0, 1], or no validation cell is positive.
    """
    threshold = choose_threshold(validation.labels, validation.scores, asked)
    return OperatingPoint(
        threshold=threshold,
        asked=asked,
        validation=confusion(validation.labels, validation.scores, threshold),
        test=confusion(test.labels, test.scores, threshold),
    )


def choose_threshold(labels: Labels, scores: Scores, asked: float) -> float:
    """The highest threshold at which scores (n,) find the asked share of positive labels (n,).

    It is a positive cell's own score. Of P positive cells the sensitivity is a multiple of
    1 / P, so what is reached lies up to 1 / P above what was asked, and higher where scores
    are equal. With `asked` above 1 - 1 / P it is the lowest positive score: one odd cell then
    decides.

    Raises:
        UserError: `asked` is outside (0, 1], or no label is positive.
    """
    if not 0 < asked <= 1:
        raise UserError(f"sensitivity {asked:g}: expected above 0 and at most 1, such as {ASKED:g}")
    positive = np.sort(scores[labels == 1])[::-1]
    if not len(positive):
        raise UserError(
            "no validation cell is positive, so that no threshold can be chosen for a "
            "sensitivity; put subjects of both classes on the validation side"
        )
    # Compared as shares: 0.07 * 100 is above 7, and a rounded-up product would ask one too many.
    reached = np.arange(1, len(positive) + 1) / len(positive)
    return float(positive[np.searchsorted(reached, asked)])
