"""Takes cells out of training: cells of the more frequent class, at random.

Source: random under-sampling, as in Batista et al. 2004 (doi 10.1145/1007730.1007735). Wrong when
cells are scarce: what is left out would have taught something.
"""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet, setting, without


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How far the classes are brought together."""

    share: float = setting(1.0, "share of the surplus of the frequent class that is left out")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells without a part of the more frequent class."""
    frequent = np.flatnonzero(train.labels != train.minority())
    count = round(settings.share * train.shortage())
    return without(train, context.rng.choice(frequent, count, replace=False))
