"""What an experiment is, before anything of it is done: values that decide its outcome."""

import hashlib
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

import numpy as np

from leukemia.cells import Indices, Names
from leukemia.contract import Schedule
from leukemia.data.geometry import Geometry
from leukemia.data.index import Index
from leukemia.data.near_duplicates import Pair
from leukemia.experiment import provenance
from leukemia.model.classifier import ModelConfig
from leukemia.splits.protocol import Split
from leukemia.techniques import defaults


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that decides an experiment's outcome, but the cells and their split.

    name: the technique, technique: its module, settings: its Settings. protocol, split_seed, fold,
    folds: as `protocol.split` takes them. budget: the name under which `schedule` (learning rates
    and epochs) was chosen. geometry: what the cells were decoded with. model: the classifier.
    sensitivity: what the operating threshold is to reach on validation.
    """

    name: str
    technique: ModuleType
    settings: Any
    protocol: str
    split_seed: int
    fold: int
    folds: int
    budget: str
    schedule: Schedule
    geometry: Geometry
    model: ModelConfig
    seed: int
    batch_size: int
    sensitivity: float

    @property
    def arm(self) -> str:
        """The technique with the settings that were changed: `weighted(mode=thesis)`.

        What the budget sets is no change, nor is the choice of an earlier run's artifact.
        """
        usual = defaults(self.technique, self.budget)
        changed = {
            option.name: getattr(self.settings, option.name)
            for option in fields(self.settings)
            if getattr(self.settings, option.name) != getattr(usual, option.name)
            and "artifact" not in option.metadata
        }
        settings = ",".join(f"{name}={value}" for name, value in changed.items())
        return f"{self.name}({settings})" if settings else self.name

    @property
    def title(self) -> str:
        """Technique, seed and fold; the split's own seed and the protocol where they are chosen."""
        of_split = "" if self.split_seed == self.seed else f" of split {self.split_seed}"
        protocol = "" if self.protocol == "subject" else f", {self.protocol}"
        return f"{self.arm} seed {self.seed} fold {self.fold}{of_split}{protocol}"

    def key(self, index: Index) -> str:
        """Equal keys: same cells, config and code, so the same outcome on the same machine."""
        # A loss of a stage's own is code, and so in the digest; its address is another each time.
        stages = [
            (stage.learning_rate, stage.epochs, stage.trains, stage.fresh_head)
            for stage in (self.schedule.transfer, self.schedule.fine_tune)
        ]
        decisive = [
            self.arm, self.settings, self.protocol, self.split_seed, self.fold, self.folds, stages,
            self.geometry, self.model, self.model.cached, self.seed, self.batch_size,
            self.sensitivity, index.digest, provenance.code_digest(),
        ]  # fmt: skip
        return hashlib.sha256(repr(decisive).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Which cells, which of them in which split, and what is done with them.

    subjects: (n,) str, with linked subjects under one name. pairs: the near-identical cells.
    """

    index: Index
    subjects: Names
    pairs: tuple[Pair, ...]
    split: Split
    config: ExperimentConfig

    @property
    def shown(self) -> Indices:
        """The rows of the index that the technique sees: those of training, and under a protocol
        that balances before it splits those of other splits too."""
        return np.sort(np.concatenate([self.split.rows[name] for name in self.split.shown]))

    def protocol_line(self) -> str:
        """What a figure of this experiment was measured on, in a sentence or two."""
        drawn = self.index.simulated and f" SIMULATED DATA: {self.index.simulated}."
        return f"{self.split.line}.{drawn}"
