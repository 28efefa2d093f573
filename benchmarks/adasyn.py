"""Time and peak memory of ADASYN on drawn cells of 210 x 210, and of imbalanced-learn beside it.

    python -m benchmarks.adasyn --cells 9572
    python -m benchmarks.adasyn --cells 1000 --peer

9,572 drawn cells take a minute to draw. `--peer` also runs imbalanced-learn's ADASYN on the
same pixels as float32 (about 24 GiB at 9,572 cells) and fails unless both make the same.
"""

import argparse
import resource
import sys
import time

import numpy as np

from leukemia.cells import Cells
from leukemia.data.drawing import draw_cell, draw_style
from leukemia.techniques import Workshop
from leukemia.techniques.adasyn import Settings, balance

SIZE = 210  # px, what the thesis' classifier takes
CELLS_A_SUBJECT = 100


def main() -> None:
    """Draw cells, balance them once, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000, help="cells to draw")
    parser.add_argument("--rarer", type=float, default=0.24, help="share of the rarer class")
    parser.add_argument("--n-neighbors", type=int, default=5, help="ADASYN's n_neighbors")
    parser.add_argument("--peer", action="store_true", help="run imbalanced-learn as well")
    options = parser.parse_args()

    train = draw(options.cells, options.rarer)
    print(f"{len(train)} cells, {min(train.counts())} of the rarer class: {peak()} before")
    started = clocks()
    balanced = balance(train, Settings(options.n_neighbors), Workshop(np.random.default_rng(0)))
    report("leukemia", started, int(balanced.synthetic.sum()))
    if options.peer:
        made = balanced.cells.images[len(train) :]
        started = clocks()
        theirs = imblearn_samples(train, options.n_neighbors)
        report("imblearn", started, len(theirs))
        same = np.array_equal(made.reshape(len(made), -1), theirs)
        print("the same cells in the same order" if same else "OTHER cells")
        sys.exit(not same)


def draw(count: int, rarer: float) -> Cells:
    """`count` drawn cells of subjects with 100 cells each; negatives are the rarer class."""
    rng = np.random.default_rng(0)
    labels = (rng.permutation(count) >= round(rarer * count)).astype(np.int8)
    subjects = np.array(
        [f"{'HA'[label]}{row // CELLS_A_SUBJECT}" for row, label in enumerate(labels)]
    )
    styles = {subject: draw_style(rng) for subject in sorted(set(subjects))}
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for row, (label, subject) in enumerate(zip(labels, subjects, strict=True)):
        images[row] = draw_cell(rng, bool(label), styles[subject], SIZE)
    return Cells(images, labels, subjects, np.full(count, "drawn"))


def imblearn_samples(train: Cells, n_neighbors: int) -> np.ndarray:
    """(m, features) uint8: what imbalanced-learn adds for the same state of the generator."""
    from imblearn.over_sampling import ADASYN

    seed = int(np.random.default_rng(0).integers(2**31))
    pixels = train.images.reshape(len(train), -1).astype(np.float32)
    sampler = ADASYN(n_neighbors=n_neighbors, random_state=seed)
    made = sampler.fit_resample(pixels, train.labels)[0][len(train) :]
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def clocks() -> np.ndarray:
    """(2,) float64: seconds on the wall, and seconds of all processors for this process."""
    return np.array([time.perf_counter(), time.process_time()])


def report(who: str, started: np.ndarray, made: int) -> None:
    """Print a line of results."""
    wall, cpu = clocks() - started
    print(f"{who}: {made} cells made in {wall:.1f} s ({cpu:.1f} CPU s), peak memory {peak()}")


def peak() -> str:
    """The most memory that this process has held, inputs and libraries included."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux, bytes on macOS
    return f"{kilobytes / 2**20:.2f} GiB"


if __name__ == "__main__":
    main()
