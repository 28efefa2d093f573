"""A trained classifier compiled for this machine's processor: several times as fast as Keras.

OpenVINO converts it when it is needed, so nothing but the Keras model is stored. It computes in
bfloat16 where the machine is faster in it.
"""

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from leukemia.precision import settled
from leukemia.training import scores

BATCH = 64  # cells at once


class Compiled:
    """(n, S, S, 3) uint8 cells to (n,) float32 probabilities of the positive class.

    Within 0.01 of what Keras computes in float32.
    """

    def __init__(self, model: keras.Model, precision: str = "auto", threads: int = 0):
        """Takes seconds: worth it from some hundred cells on, or in a server.

        threads: to compute with, 0 for as many as there are cores.
        """
        openvino = _openvino()
        hint = {"float32": "f32", "bfloat16": "bf16"}[settled(precision)]
        converted = openvino.convert_model(keras.Model(model.inputs, model.outputs))
        self._model = openvino.Core().compile_model(
            converted,
            "CPU",
            {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads},
        )

    def __call__(
        self, images: np.ndarray, progress: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """Batch by batch; `progress` is told the fraction done."""
        found = np.empty(len(images), np.float32)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            found[start : start + BATCH] = self._model(np.ascontiguousarray(batch))[0][:, 0]
            if progress:
                progress(min(1.0, (start + BATCH) / len(images)))
        return found


def answering(
    model: keras.Model, precision: str = "auto", threads: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """The quickest way to a classifier's probabilities here: `Compiled`, or Keras on a GPU.

    Test cells are measured and new ones called through this, so both get the same numbers.
    """
    if tf.config.list_physical_devices("GPU"):
        return lambda images: scores(model, images)
    return Compiled(model, precision, threads)


def _openvino() -> Any:
    """The package without the one that tells its makers of every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
