"""Brings its own loss: cells that are easily called right count less.

Source: focal loss, Lin et al. 2017 (arXiv 1708.02002), equation 4. Wrong when labels are noisy:
a wrong label stays hard, and so gains weight.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet, setting, unchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How strongly easy cells are turned down."""

    gamma: float = setting(2.0, "exponent of the focal loss; 0: cross-entropy")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are, under the focal loss."""

    def focal(labels: Any, logits: Any, counts: NDArray[np.float32]) -> Any:
        towards = (2 * labels - 1) * logits  # positive where the cell is called right
        easy = ops.exp(-settings.gamma * ops.softplus(towards))  # (1 - p) ** gamma
        return ops.squeeze(easy * ops.softplus(-towards), -1)

    return replace(unchanged(train), loss=focal)
