"""Nothing is balanced: what every cure has to beat.

Source: the thesis, section 4.3. Wrong when the classes' costs differ and the decision
threshold is left at 0.5: the classifier then leans to the frequent class.
"""

from dataclasses import dataclass

from leukemia.cells import Cells, TrainingSet, unchanged
from leukemia.schedule import Schedule, Stage
from leukemia.techniques import Workshop

THESIS = Schedule(Stage(1e-3, 5), Stage(1e-4, 10))


@dataclass(frozen=True)
class Settings:
    """The baseline has nothing to set."""


def balance(train: Cells, settings: Settings, workshop: Workshop) -> TrainingSet:
    """The training cells as they are."""
    return unchanged(train)
