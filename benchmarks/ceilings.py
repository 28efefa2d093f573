"""What the machine itself can do: products of matrices, and copies of memory."""

import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Run

SIDE = 2048
BYTES = 2**28


def prepare(folder: Path) -> Run:
    """Operations a second in float32 and bfloat16, bytes a second of a copy (read and written)."""
    from leukemia.precision import rate

    source, target = np.ones(BYTES, np.uint8), np.empty(BYTES, np.uint8)

    def run() -> dict[str, float]:
        start = time.perf_counter()
        np.copyto(target, source)
        copied = 2 * BYTES / (time.perf_counter() - start)
        return {
            "float32": rate("float32", SIDE, 2),
            "bfloat16": rate("bfloat16", SIDE, 2),
            "copy": copied,
        }

    return run
