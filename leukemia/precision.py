"""Which number format this machine multiplies matrices faster in.

A processor with instructions for bfloat16 is about twice as fast in it; one without emulates them
and is slower. The flags that a processor names do not say which library uses them, so it is tried.
"""

import time
from functools import cache

import tensorflow as tf

SIDE = 1024  # of the matrices: large enough for all cores, 0.1 s in all
TRIES = 5
WORTH = 1.3  # times as fast, or the coarser numbers are not worth it


def rate(precision: str, side: int = SIDE, tries: int = TRIES) -> float:
    """Operations a second of a product of square matrices: the fastest of so many."""
    matrix = tf.cast(tf.random.stateless_normal((side, side), (0, 1)), precision)
    tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
    spent = []
    for _ in range(tries):
        start = time.perf_counter()
        tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
        spent.append(time.perf_counter() - start)
    return 2 * side**3 / min(spent)


def settled(precision: str) -> str:
    """`auto` as what this machine is faster in; anything else as it is."""
    return faster() if precision == "auto" else precision


@cache  # a machine does not change while a process runs
def faster() -> str:
    """`bfloat16` where this machine multiplies clearly faster in it, else `float32`."""
    return "bfloat16" if rate("bfloat16") > WORTH * rate("float32") else "float32"
