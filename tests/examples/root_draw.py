"""Draws: each class with a probability that falls with the square root of its size.

Source: square-root sampling, Mahajan et al. 2018 (arXiv 1805.00932), section 2.2. Wrong when a
class is so rare that even this shows its few cells too often.
"""

from dataclasses import dataclass, replace

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet, unchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Nothing to set."""


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells, each with its probability of being drawn."""
    weights = 1 / np.sqrt(np.bincount(train.labels)[train.labels])
    return replace(unchanged(train), draw_weights=weights / weights.sum())
