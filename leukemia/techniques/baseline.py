"""Nothing is balanced: what every technique has to beat.

Source: the thesis, section 4.3. Wrong when the classes' costs differ and the decision
threshold is left at 0.5: the classifier then leans to the frequent class.
"""

from dataclasses import dataclass

from leukemia.cells import Cells
from leukemia.contract import Schedule, Stage, TechniqueContext, TrainingSet, unchanged

THESIS = Schedule(
    transfer=Stage(learning_rate=1e-3, epochs=5), fine_tune=Stage(learning_rate=1e-4, epochs=10)
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The baseline has nothing to set."""


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are."""
    return unchanged(train)
