"""Golden cells: a few test cells and what the classifier answered when it was measured.

A model that comes back from the store is the one that was measured if it gives the same answers,
in a process that has seen nothing else:

    python -m leukemia.registry.golden MODEL_URI FILE
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from leukemia.errors import UserError


def difference(uri: str, file: Path) -> float:
    """The largest distance between a model's answers and those in the file, in a fresh process.

    Raises:
        UserError: the model cannot be loaded there, or does not take these cells.
    """
    command = [sys.executable, "-m", "leukemia.registry.golden", uri, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"model '{uri}' does not answer in a fresh process ({lines[-1]})")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(uri: str, file: str) -> None:
    """Print the largest difference."""
    from leukemia.model.inference import measuring
    from leukemia.registry.served import load

    kept = np.load(file, allow_pickle=False)
    answers = measuring(load(uri).model)(kept["images"])
    print(json.dumps(float(np.abs(answers - kept["scores"]).max())))


if __name__ == "__main__":
    main(*sys.argv[1:])
