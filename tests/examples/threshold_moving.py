"""Decides otherwise: the score from which a cell is called positive is chosen on validation cells.

Source: threshold moving, Zhou & Liu 2006 (doi 10.1109/TKDE.2006.17). Wrong when the validation
split has few subjects: the threshold is then theirs.
"""

from dataclasses import dataclass, replace

import numpy as np

from leukemia.cells import Cells, Labels, Scores
from leukemia.contract import TechniqueContext, TrainingSet, unchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Nothing to set."""


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are, and a rule for calls."""

    def best(labels: Labels, scores: Scores) -> float:
        """The threshold with the highest balanced accuracy; of equal ones the lowest."""
        thresholds = np.unique(scores)
        called = scores >= thresholds[:, None]
        right = called[:, labels == 1].mean(axis=1) + (~called[:, labels == 0]).mean(axis=1)
        return float(thresholds[np.argmax(right)])

    return replace(unchanged(train), decide=best)
