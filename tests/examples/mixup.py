"""Changes batches as they pass: each cell is blended with another one of its batch.

Source: mixup, Zhang et al. 2018 (arXiv 1710.09412). Wrong when a blend of two cells is no cell:
nuclei are not registered, so one shines through the other.
"""

from dataclasses import dataclass, replace

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import Batch, TechniqueContext, TrainingSet, setting, unchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How strongly cells are blended."""

    alpha: float = setting(0.2, "both parameters of the beta distribution of blends; 0: no blends")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are, blended in their batches."""

    def blend(batch: Batch, rng: np.random.Generator) -> Batch:
        share = rng.beta(settings.alpha, settings.alpha) if settings.alpha else 1.0
        others = rng.permutation(len(batch.labels))

        def mixed(values: np.ndarray) -> np.ndarray:
            return share * values + (1 - share) * values[others]

        return replace(
            batch,
            images=np.rint(mixed(batch.images.astype(np.float32))).astype(np.uint8),
            labels=mixed(batch.labels).astype(np.float32),
        )

    return replace(unchanged(train), change=blend)
