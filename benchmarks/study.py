"""A whole study, five techniques on several seeds, against five notebooks one after the other.

    python -m benchmarks.study --cells 2000 --seeds 0,1,2 --weights PATH

Hours: no part of `make bench`. Same cells (drawn, SYNTHETIC), split, epochs and learning rates
(budget quick); the notebooks track, audit and measure nothing but balanced accuracy.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import ROOT

TECHNIQUES = "adasyn,augmentation,baseline,dcgan,weighted"
SUBJECTS = 90


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
    options = parser.parse_args()
    print("| cells | runs | notebooks s | ours s | times as fast |\n|---|---|---|---|---|")
    for cells in map(int, options.cells.split(",")):
        with TemporaryDirectory() as place:
            folder = Path(place)
            _python("entrypoints.sample", "--out", folder / "sample", "--cells", cells,
                    "--subjects", SUBJECTS)  # fmt: skip
            theirs = _notebooks(folder, options) if options.who != "ours" else None
            ours = _ours(folder, options) if options.who != "notebooks" else None
        runs = len(options.techniques.split(",")) * len(options.seeds.split(","))
        times = f"{theirs / ours:.2f}" if theirs and ours else "-"
        print(f"| {cells} | {runs} | {_said(theirs)} | {_said(ours)} | {times} |", flush=True)


def _notebooks(folder: Path, options: argparse.Namespace) -> float:
    start = time.perf_counter()
    for technique in options.techniques.split(","):
        _python("benchmarks.notebook", technique, "--data", folder / "sample", "--seeds",
                options.seeds, "--image-size", options.image_size, "--weights",
                options.weights)  # fmt: skip
    return time.perf_counter() - start


def _ours(folder: Path, options: argparse.Namespace) -> float:
    start = time.perf_counter()
    environment = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
    }
    _python("entrypoints.study", "--data", folder / "sample", "--techniques", options.techniques,
            "--seeds", options.seeds, "--folds", 3, "--test-folds", 0, "--budget", "quick",
            "--image-size", options.image_size, "--backbone-weights", options.weights,
            "--workers", options.workers, **environment)  # fmt: skip
    return time.perf_counter() - start


def _python(module: str, *words: object, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT, check=True, env=os.environ | environment, stdout=sys.stderr,
    )  # fmt: skip


def _said(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"


if __name__ == "__main__":
    main()
