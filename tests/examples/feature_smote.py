"""Acts on features: SMOTE between pooled features, for a head that is then trained anew on them.

Source: Chawla et al. 2002 (arXiv 1106.1813), on features as in Dablain et al. 2022 (DeepSMOTE,
arXiv 2105.02340, without its decoder). Wrong when the rarer class falls into clusters: a line
between two of them passes through neither.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leukemia.cells import Cells, Labels
from leukemia.contract import (
    Stage,
    SyntheticFeatures,
    TechniqueContext,
    TrainingSet,
    setting,
    unchanged,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What counts as near, and how long the head is trained."""

    k_neighbors: int = setting(5, "nearest features of the rarer class that a blend may go to")
    epochs: int = setting(2, "epochs of the head alone, after the budget's stages")
    rate: float = setting(1e-3, "Adam's learning rate of these epochs")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells as they are, and features between those of the rarer class."""

    def sample(
        features: NDArray[np.float32], labels: Labels, rng: np.random.Generator
    ) -> SyntheticFeatures:
        from imblearn.over_sampling import SMOTE

        seed = int(rng.integers(2**31))
        sampler = SMOTE(k_neighbors=settings.k_neighbors, random_state=seed)
        more, of = sampler.fit_resample(features, labels)
        made = slice(len(labels), None)
        return SyntheticFeatures(features=more[made], labels=of[made])

    retrain = Stage(
        learning_rate=settings.rate, epochs=settings.epochs, trains="head", fresh_head=True
    )
    return replace(unchanged(train), feature_sampler=sample, stages=(*context.stages(), retrain))
