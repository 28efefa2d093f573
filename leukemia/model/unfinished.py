"""A classifier's training that was killed goes on with the epoch after the last one that was kept.

The order of cells and every random draw are functions of the seed and the epoch, and the states of
dropout are among the model's variables: the state here is all that it takes to end where a training
that was not killed ends, bit for bit.

Cost: 282 MB an epoch for a ResNet-50, of which 188 are Adam's; see docs/measured.md.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import keras
import numpy as np

from leukemia.cells import Cells
from leukemia.contract import Stage, TrainingSet
from leukemia.model import checkpoint
from leukemia.model.classifier import Classifier
from leukemia.report import nothing

SECONDS_BETWEEN = 5.0  # two states, at least: an epoch of a head takes a tenth of one

History = list[dict[str, float]]


def fingerprint(
    classifier: Classifier,
    training: TrainingSet,
    validation: Cells,
    stages: Sequence[Stage],
    batch_size: int,
    seed: int,
) -> str:
    """Equal for equal trainings of a classifier as it was built: the same cells with their pixels,
    weights and stages, the same network to start from, the same versions of what computes.

    What a technique brings as code is told by whether it is there; the run's key holds its source.
    Takes 2 s for 9,572 cells of 210 px.
    """
    own = (training.loss, training.change, training.feature_sampler)
    told = [
        (keras.__version__, version("tensorflow"), classifier.config, batch_size, seed),
        (training.cells.digest(), validation.digest(), training.epoch_size),
        [each is not None for each in own],
        [(s.learning_rate, s.epochs, s.trains, s.fresh_head, s.loss is not None) for s in stages],
    ]
    sha = hashlib.sha256(repr(told).encode())
    arrays = [training.synthetic, training.loss_weights, training.draw_weights]
    for array in chain(arrays, *((s.loss_weights, s.draw_weights) for s in stages)):
        sha.update(b"none" if array is None else np.ascontiguousarray(array).data)
    for variable in classifier.model.variables:
        sha.update(np.ascontiguousarray(variable).data)
    return sha.hexdigest()


class Unfinished:
    """What is done of a classifier's training, in a folder that it goes on from.

    history: a row for each epoch that is done, as `fit` gives them.
    """

    def __init__(
        self,
        classifier: Classifier,
        folder: Path | None,
        mark: Callable[[], str],
        saved: Callable[[], None] = nothing,
    ):
        """Set the classifier to the state that is kept, if there is one.

        folder: None: nothing is kept. mark: the training's fingerprint. saved: called each time
        after the state was brought up to date.

        Raises:
            UserError: the state there is damaged or of another training.
        """
        self._variables = {
            "head": classifier.model.get_layer("probability").variables,
            "network": classifier.model.variables,
        }
        self._folder, self._saved = folder, saved
        self._mark = mark() if folder else ""
        there = checkpoint.read(folder, self._mark) if folder else None
        header, self._arrays = there or ({"history": [], "trained": "head"}, {})
        self.history: History = header["history"]
        self._trained: str = header["trained"]
        self._last = time.monotonic()
        self.restore()

    def restore(self, optimizer: keras.Optimizer | None = None) -> None:
        """Set the classifier, and an optimizer that goes on with it, to the state that was kept."""
        if self._arrays:
            checkpoint.assign(self._arrays, "weight", self._variables[self._trained])
        if self._arrays and optimizer:
            checkpoint.assign(self._arrays, "optimizer", optimizer.variables)
            self._arrays = {}

    def save(self, history: History, optimizer: keras.Optimizer, trains: str, last: bool) -> None:
        """Keep the state after an epoch; not oftener than every few seconds, but the last of a
        stage always. Until a stage trains the network that is the head alone.

        Raises:
            UserError: it cannot be written, as on a full disk.
        """
        self._trained = "network" if "network" in (self._trained, trains) else "head"
        self._arrays = {}
        due = last or time.monotonic() - self._last >= SECONDS_BETWEEN
        if not self._folder or not due:
            return
        header = {"history": history, "trained": self._trained}
        state = chain(
            checkpoint.named("weight", self._variables[self._trained]),
            checkpoint.named("optimizer", optimizer.variables),
        )
        checkpoint.write(self._folder, "the classifier", self._mark, header, state)
        self._last = time.monotonic()
        self._saved()
