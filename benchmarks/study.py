"""A whole study, five techniques on several seeds, against five notebooks one after the other.

    python -m benchmarks.study --cells 2000 --seeds 0,1,2 --weights PATH

Hours: `make bench` has it on few cells (benchmarks.jobs.study). Same cells (drawn, SIMULATED),
split, epochs and learning rates (budget quick); the notebooks track, audit and measure nothing but
balanced accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import ROOT

TECHNIQUES = "adasyn,augmentation,baseline,dcgan,weighted"
SUBJECTS = 90


@dataclass(frozen=True)
class Asked:
    """techniques, seeds: names and numbers with commas. size: of the cells, px. weights: of the
    ResNet-50, a file or `none`. workers: runs of the study at a time."""

    techniques: str
    seeds: str
    size: int
    weights: str
    workers: int


def main() -> None:
    """Draw, run both, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="2000", help="how many, with commas for a curve")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--techniques", default=TECHNIQUES)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--weights", default="none", help="of the ResNet-50")
    parser.add_argument("--workers", type=int, default=1, help="runs of the study at a time")
    parser.add_argument("--who", default="both", choices=["ours", "notebooks", "both"])
    given = parser.parse_args()
    asked = Asked(given.techniques, given.seeds, given.image_size, given.weights, given.workers)
    print("| cells | runs | notebooks s | ours s | times as fast |\n|---|---|---|---|---|")
    for cells in map(int, given.cells.split(",")):
        with TemporaryDirectory() as place:
            folder = Path(place)
            draw(folder, cells)
            theirs = _timed(notebooks, folder, asked) if given.who != "ours" else None
            own = _timed(ours, folder, asked) if given.who != "notebooks" else None
        runs = len(asked.techniques.split(",")) * len(asked.seeds.split(","))
        times = f"{theirs / own:.2f}" if theirs and own else "-"
        print(f"| {cells} | {runs} | {_said(theirs)} | {_said(own)} | {times} |", flush=True)


def draw(folder: Path, cells: int) -> None:
    """Cells for both sides."""
    _python("entrypoints.sample", "--out", folder / "sample", "--cells", cells,
            "--subjects", SUBJECTS)  # fmt: skip


def notebooks(folder: Path, asked: Asked) -> list[dict[str, Any]]:
    """One after the other; what each printed of each seed."""
    found = []
    for technique in asked.techniques.split(","):
        said = _python("benchmarks.notebook", technique, "--data", folder / "sample", "--seeds",
                       asked.seeds, "--image-size", asked.size, "--weights",
                       asked.weights)  # fmt: skip
        rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        found += [{"technique": technique, **row} for row in rows]
    return found


def ours(folder: Path, asked: Asked) -> None:
    """The product's study, from nothing to a ranking and a registered model."""
    environment = {"MLFLOW_TRACKING_URI": store(folder), "LEUKEMIA_CACHE": str(folder / "cache")}
    _python("entrypoints.study", "--data", folder / "sample", "--techniques", asked.techniques,
            "--seeds", asked.seeds, "--folds", 3, "--test-folds", 0, "--budget", "quick",
            "--image-size", asked.size, "--backbone-weights", asked.weights,
            "--workers", asked.workers, **environment)  # fmt: skip


def store(folder: Path) -> str:
    """Where the study's runs are."""
    return f"sqlite:///{folder}/mlflow.db"


def _timed(what: Any, folder: Path, asked: Asked) -> float:
    start = time.perf_counter()
    what(folder, asked)
    return time.perf_counter() - start


def _python(module: str, *words: object, **environment: str) -> str:
    """Run it, tell what it prints, and hand it back."""
    command = [sys.executable, "-m", module, *map(str, words)]
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            lines.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines)


def _said(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"


if __name__ == "__main__":
    main()
