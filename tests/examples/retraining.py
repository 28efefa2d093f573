"""Trains in other stages: when the network is trained, its head is trained anew on a balanced draw.

Source: classifier retraining (cRT), Kang et al. 2020 (arXiv 1910.09217), section 4.1. Wrong when
the features themselves neglect the rarer class: the head cannot mend that.
"""

from dataclasses import dataclass, replace

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import Stage, TechniqueContext, TrainingSet, setting, unchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long the head is trained anew."""

    epochs: int = setting(2, "epochs of the head alone, after the budget's stages")
    rate: float = setting(1e-3, "Adam's learning rate of these epochs")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are, and one stage more."""
    weights = 1 / np.bincount(train.labels)[train.labels]
    retrain = Stage(
        learning_rate=settings.rate,
        epochs=settings.epochs,
        trains="head",
        fresh_head=True,
        draw_weights=weights / weights.sum(),
    )
    return replace(unchanged(train), stages=(*context.stages(), retrain))
