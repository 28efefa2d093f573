"""Golden cells: a few test cells and what the classifier said of them when it was logged.

A model that comes back from the store is the one that was measured if it says the same of them, in
a process that has seen nothing else:

    python -m leukemia.golden MODEL_URI FILE
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from leukemia.errors import UserError

FILE = "golden.npz"  # its name among a run's artifacts
CELLS = 8
SAME = 1e-4  # the most that a probability may differ: another processor sums in another order


def write(folder: Path, images: np.ndarray, scores: np.ndarray) -> None:
    """Keep the first few of (n, S, S, 3) uint8 cells and of their (n,) float32 probabilities."""
    np.savez_compressed(folder / FILE, images=images[:CELLS], scores=scores[:CELLS])


def difference(uri: str, file: Path) -> float:
    """How far the model at `uri` is from what the file says, at most, in a fresh process.

    Raises:
        UserError: the model cannot be loaded there, or does not take these cells.
    """
    command = [sys.executable, "-m", "leukemia.golden", uri, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"model '{uri}' does not answer in a fresh process ({lines[-1]})")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(uri: str, file: str) -> None:
    """Print the largest difference."""
    from leukemia.inference import measuring
    from leukemia.registry import load

    kept = np.load(file, allow_pickle=False)
    found = measuring(load(uri).model)(kept["images"])
    print(json.dumps(float(np.abs(found - kept["scores"]).max())))


if __name__ == "__main__":
    main(*sys.argv[1:])
