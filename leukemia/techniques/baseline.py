"""Nothing is balanced: what every cure has to beat.

Source: the thesis, section 4.3. Wrong when the classes' costs differ and the decision
threshold is left at 0.5: the classifier then leans to the frequent class.
"""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Cells, TrainingSet, unchanged
from leukemia.report import Report
from leukemia.schedule import Schedule, Stage

THESIS = Schedule(Stage(1e-3, 5), Stage(1e-4, 10))


@dataclass(frozen=True)
class Settings:
    """The baseline has nothing to set."""


def balance(
    train: Cells, settings: Settings, rng: np.random.Generator, report: Report
) -> TrainingSet:
    """The training cells as they are."""
    return unchanged(train)
