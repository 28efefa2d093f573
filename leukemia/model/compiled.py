"""Networks and matrix products compiled by OpenVINO for this machine's processor."""

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from leukemia.model import precision

if TYPE_CHECKING:
    import keras

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def openvino() -> Any:
    """The OpenVINO package with its telemetry switched off, which reports every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _tell_version() -> None:
    """OpenVINO 2026.4 looks TensorFlow's version up by exec("import ...") and exec("del ..."), an
    error in Python 3.13, which keeps no names between the two. It is told instead."""
    import tensorflow
    from openvino.frontend.tensorflow import utils

    utils.get_environment_setup = lambda framework: {"tensorflow": tensorflow.__version__}


class Network:
    """A Keras model of one input and one output: a batch (n, ...) to answers (n, ...) float32.

    Nothing but the Keras model is stored: it is converted where it is needed.
    """

    def __init__(self, model: "keras.Model", precision: str, threads: int = 0):
        """Takes seconds: worth it from some hundred cells on, or in a server.

        threads: to compute with, 0 for as many as there are cores.
        """
        import keras

        package = openvino()
        _tell_version()
        converted = package.convert_model(keras.Model(model.inputs, model.outputs))
        self._model = package.Core().compile_model(
            converted,
            "CPU",
            {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": threads},
        )

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The answers to a batch of any size."""
        answers: np.ndarray = self._model(np.ascontiguousarray(batch))[0]
        return answers


@cache
def exact_product() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(m, k) and (n, k) float32 of whole numbers to their products (m, n) float32, exact.

    Whole numbers up to 256 are the same in bfloat16, and where the processor has instructions for
    it they take half the time; sums are float32 all the same. The caller sees to it that no sum
    of a pair's products, in whatever order, passes 2**24.
    """
    package = openvino()
    from openvino import opset13 as operations

    many, few = (operations.parameter([-1, -1], np.float32) for _ in range(2))
    model = package.Model([operations.matmul(many, few, False, True)], [many, few])
    hint = {"INFERENCE_PRECISION_HINT": HINTS[precision.of_processor()]}
    compiled = package.Core().compile_model(model, "CPU", hint)
    return lambda one, other: compiled([one, other])[0]
