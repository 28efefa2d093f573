"""The memory that a run is said to have held is its own."""

import subprocess
import sys

import numpy as np

from leukemia.experiment.memory import peak_gib
from tests.conftest import ROOT


def test_what_a_process_held_counts_after_it_is_given_back() -> None:
    before = peak_gib()
    held = np.ones(int(before * 2**30) + 2**28, np.uint8)  # a quarter GiB more than ever before
    del held
    assert peak_gib() > before + 0.2


def test_what_the_program_held_that_started_it_does_not_count() -> None:
    script = (
        "import subprocess, sys; held = b'x' * 2**29\n"
        "ask = 'from leukemia.experiment.memory import peak_gib; print(peak_gib())'\n"
        "subprocess.run([sys.executable, '-c', ask], check=True)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert 0.001 < float(said.stdout) < 0.1
