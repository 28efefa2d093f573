"""A training that was killed goes on where it was: all of its state in one file.

The file holds every variable of the players, the best generator so far, and what was measured.
The order of the images and every random draw are functions of the seed and the place in the
schedule, so nothing else is needed to reach the very state of an uninterrupted training.
"""

import hashlib
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import keras
import numpy as np

from leukemia.gan.config import GanConfig
from leukemia.gan.step import METRICS
from leukemia.model import checkpoint


@dataclass(kw_only=True)
class Progress:
    """The state of a training so far.

    epoch: the last whole one.
    history: name -> {epoch: value}. steps: (steps, 4) float32, in the order of METRICS.
    grids: epoch -> picture of samples. best_epoch: of the best generator, 0 for none yet;
    best: its weights.
    """

    epoch: int = 0
    history: dict[str, dict[int, float]] = field(default_factory=dict)
    steps: np.ndarray = field(default_factory=lambda: np.empty((0, len(METRICS)), np.float32))
    grids: dict[int, np.ndarray] = field(default_factory=dict)
    best_epoch: int = 0
    best: list[np.ndarray] = field(default_factory=list)

    def note(self, epoch: int, values: dict[str, float]) -> None:
        """Remember the values of an epoch."""
        for name, value in values.items():
            self.history.setdefault(name, {})[epoch] = value


def fingerprint(images: np.ndarray, config: GanConfig, seed: int) -> str:
    """Equal for equal trainings: same images, config and seed."""
    sha = hashlib.sha256(repr((images.shape, config, seed, keras.__version__)).encode())
    sha.update(np.ascontiguousarray(images).data)
    return sha.hexdigest()


def save(folder: Path, mark: str, variables: list[keras.Variable], progress: Progress) -> None:
    """Put the whole state into `folder`, or leave the one that is there.

    Raises:
        UserError: it cannot be written, as on a full disk.
    """
    header = {
        "epoch": progress.epoch,
        "history": progress.history,
        "best_epoch": progress.best_epoch,
    }
    arrays = {
        "steps": progress.steps,
        **{f"grid_{epoch}": picture for epoch, picture in progress.grids.items()},
        **{f"best_{n:03d}": weight for n, weight in enumerate(progress.best)},
    }
    state = chain(arrays.items(), checkpoint.named("state", variables))
    checkpoint.write(folder, "the GAN", mark, header, state)


def restore(folder: Path, mark: str, variables: list[keras.Variable]) -> Progress | None:
    """Set the variables to the state in `folder` and return its progress; None if none is there.

    Raises:
        UserError: the file there is damaged or of another training.
    """
    there = checkpoint.read(folder, mark)
    if there is None:
        return None
    header, arrays = there
    checkpoint.assign(arrays, "state", variables)
    return Progress(
        epoch=header["epoch"],
        history={
            name: {int(k): v for k, v in by.items()} for name, by in header["history"].items()
        },
        steps=arrays["steps"],
        grids={int(name[5:]): arrays[name] for name in arrays if name.startswith("grid_")},
        best_epoch=header["best_epoch"],
        best=[arrays[name] for name in sorted(arrays) if name.startswith("best_")],
    )
