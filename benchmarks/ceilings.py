"""What the machine itself can do: products of matrices, and copies of memory."""

import time
from pathlib import Path

import numpy as np

from benchmarks.harness import Run

SIDE = 2048
BYTES = 2**28


def prepare(folder: Path) -> Run:
    """Operations a second in float32 and bfloat16, bytes a second of a copy (read and written)."""
    source, target = np.ones(BYTES, np.uint8), np.zeros(BYTES, np.uint8)
    np.copyto(target, source)  # the first touch of a page is not a copy

    def run() -> dict[str, float]:
        start = time.perf_counter()
        np.copyto(target, source)
        copied = 2 * BYTES / (time.perf_counter() - start)
        return {
            "float32": rate("float32"),
            "bfloat16": rate("bfloat16"),
            "copy": copied,
        }

    return run


def rate(precision: str) -> float:
    """Operations a second of a product of square matrices: the faster of two."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_normal((SIDE, SIDE), (0, 1)), precision)
    tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
    spent = []
    for _ in range(2):
        start = time.perf_counter()
        tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
        spent.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(spent)
