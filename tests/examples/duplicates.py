"""Adds cells: exact copies of the rarer class, drawn at random until the classes are balanced.

Source: random over-sampling, as in Batista et al. 2004 (doi 10.1145/1007730.1007735). Wrong when
the rarer class has few subjects: their cells are then seen so often that they are learned by heart.
"""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet, with_synthetic


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Nothing to set."""


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells and copies of the rarer class."""
    rarer = np.flatnonzero(train.labels == train.minority())
    rows = context.rng.choice(rarer, train.shortage())
    return with_synthetic(train, train.images[rows], "duplicates", parents=rows[:, None])
