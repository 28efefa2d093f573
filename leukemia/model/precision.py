"""Which number format this machine multiplies matrices faster in.

A processor with instructions for bfloat16 is two to three times as fast in it; one without emulates
them and is slower. It is asked, not timed: a clock answers otherwise when something else runs, and
the same seed would not give the same result.
"""

import re
from functools import cache
from pathlib import Path

PROCESSOR = Path("/proc/cpuinfo")
FLAGS = re.compile(r"\b(avx512_bf16|amx_bf16)\b")  # those that oneDNN, TensorFlow's library, uses
AMPERE = (8, 0)  # NVIDIA's first with bfloat16


def resolved(precision: str) -> str:
    """`auto` as what this machine is faster in; anything else as it is."""
    return faster() if precision == "auto" else precision


@cache  # a machine does not change while a process runs
def faster() -> str:
    """`bfloat16` where the GPU, or without one the processor, has instructions for it, else
    `float32`."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return of_processor()
    told = [tf.config.experimental.get_device_details(each) for each in gpus]
    has = all(each.get("compute_capability", (0, 0)) >= AMPERE for each in told)
    return "bfloat16" if has else "float32"


def of_processor() -> str:
    """The same of the processor alone, whether there is a GPU or not."""
    has = PROCESSOR.exists() and FLAGS.search(PROCESSOR.read_text())
    return "bfloat16" if has else "float32"
