"""A network compiled for this machine's processor: several times as fast as Keras."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from leukemia.cells import Scores
from leukemia.images import Images, Pixels
from leukemia.model.compiled import Network
from leukemia.model.precision import resolved

Inputs = Images | np.ndarray  # images, or features (n, d) float32

PREDICT_BATCH = 32  # cells that Keras is asked about at once
BATCH = 64  # and the compiled network
UNSURE = 0.05  # from the threshold: three times what bfloat16 has been seen to change


def predict(
    model: keras.Model, inputs: Inputs, progress: Callable[[float], None] | None = None
) -> NDArray[np.float32]:
    """The model's outputs for (n, ...) inputs, in order: (n, ...) float32."""
    return in_batches(model.predict_on_batch, inputs, progress)


def in_batches(
    answer: Callable[[np.ndarray], NDArray[np.float32]],
    inputs: Inputs,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """The answers (n, ...) to inputs (n, ...), asked for in batches of equal size:
    another size would build a graph anew (seconds for ResNet-50), and round otherwise."""
    outputs = []
    for start in range(0, len(inputs), PREDICT_BATCH):
        rows = np.arange(start, start + PREDICT_BATCH).clip(max=len(inputs) - 1)
        outputs.append(answer(inputs[rows]))
        if progress:
            progress(min(1.0, (start + PREDICT_BATCH) / len(inputs)))
    return np.concatenate(outputs)[: len(inputs)]


def scores(model: keras.Model, images: Images) -> Scores:
    """(n,) float32: the probability of the positive class for (n, S, S, 3) uint8."""
    return predict(model, images)[:, 0]


class Compiled:
    """(n, S, S, 3) uint8 cells to (n,) float32 probabilities of the positive class.

    In float32 within 1e-5 of Keras, in bfloat16 within 0.015 (1,000 cells of 210 px, a ResNet-50
    whose answers lie about 0.5, where they are steepest).
    """

    def __init__(self, model: keras.Model, precision: str, threads: int = 0):
        """As of `Network`."""
        self._network = Network(model, precision, threads)

    def __call__(self, images: Images, progress: Callable[[float], None] | None = None) -> Scores:
        """Batch by batch; `progress` is told the fraction done."""
        answers = np.empty(len(images), np.float32)
        for start in range(0, len(images), BATCH):
            answers[start : start + BATCH] = self._network(images[start : start + BATCH])[:, 0]
            if progress:
                progress(min(1.0, (start + BATCH) / len(images)))
        return answers


Predictor = Callable[[Images], Scores]


def exact(model: keras.Model, threads: int = 0) -> Callable[[Pixels], NDArray[np.float32]]:
    """A batch (n, ...) to the model's answers (n, ...) in float32; on a GPU by Keras."""
    return model.predict_on_batch if _gpu() else Network(model, "float32", threads)


def engine() -> str:
    """What computes them, and its version."""
    name = "keras" if _gpu() else "openvino"
    return f"{name} {version(name)}"


def measuring(model: keras.Model, threads: int = 0) -> Predictor:
    """Images to probabilities for the figures of a run: float32, on a GPU by Keras."""
    return partial(scores, model) if _gpu() else Compiled(model, "float32", threads)


def serving(model: keras.Model, threshold: float) -> Predictor:
    """Images to probabilities for new cells, in what this machine is fastest in.

    Called at `threshold`, every cell is called as in float32: those that rounding could carry
    across are computed again.
    """
    if _gpu() or resolved("auto") == "float32":
        return measuring(model)
    quick, slow = Compiled(model, "bfloat16"), Compiled(model, "float32")

    def predictor(images: Images) -> Scores:
        answers = quick(images)
        near = np.abs(answers - threshold) < UNSURE
        if near.any():
            answers[near] = slow(images[near])
        return answers

    return predictor


def _gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
