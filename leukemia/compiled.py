"""What OpenVINO compiles for this machine's processor."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from leukemia import precision

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def openvino() -> Any:
    """The package without the one that tells its makers of every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


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
