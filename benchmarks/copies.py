"""How many copies the search for copies sees, and how many genuine cells it calls copies.

    python -m benchmarks.copies sample bccd cnmc

Each folder is a data set; the cells of its rarer class are taken (of all classes where that has
fewer than forty). Subjects that share a near-identical cell are one, as in a run. The subjects are
parted in halves by lot, `--parts` times, each half once in the training's place: copies of up to
`--copies` training cells are made in each disguise, and the other half's genuine cells are searched
as if a technique had made them; those called copies are named, to be looked at: a cell that was
photographed twice is rightly seen. A rate of 0 of n has a 95 % bound beside it (1 - .05^(1/n)): of
cells, which is all that can be said where subjects have one or two.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, shift
from scipy.stats import beta

from entrypoints import console
from leukemia.cells import Cells
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import gather
from leukemia.synthetic.copies import Looks, examine, likeness, turned

FEWEST = 40
LIGHTER, NOISE = 20, 10  # grey levels
MOVED, BLUR = 0.1, 0.015  # of the side
Disguise = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    by = rng.choice([-1, 1], 2) * MOVED * len(image)
    here: np.ndarray = shift(image.astype(float), (*by, 0), order=1, mode="nearest")
    return here


def _turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return turned(image, int(rng.integers(1, 8)))


def _blurred(image: np.ndarray, width: float) -> np.ndarray:
    across = width * len(image)
    here: np.ndarray = gaussian_filter(image.astype(float), (across, across, 0))
    return here


DISGUISES: dict[str, Disguise] = {
    "as it is": lambda image, rng: image,
    "mirrored or turned": _turned,
    "moved by a tenth, both ways": _moved,
    "20 grey levels lighter": lambda image, rng: image.astype(float) + LIGHTER,
    "turned, moved and lighter": lambda image, rng: _moved(_turned(image, rng), rng) + LIGHTER,
    "blurred, 1.5 % of the side": lambda image, rng: _blurred(image, BLUR),
    "blurred, 3 % of the side": lambda image, rng: _blurred(image, 2 * BLUR),
    "noise of 10 grey levels": lambda image, rng: image + rng.normal(0, NOISE, image.shape),
}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of how many were called copies."""

    called: int
    of: int

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(called=self.called + other.called, of=self.of + other.of)

    def __str__(self) -> str:
        high = float(beta.ppf(0.95, self.called + 1, self.of - self.called)) if self.of else 1.0
        share = f"{self.called / max(self.of, 1):.1%}"
        return f"{share} of {self.of}" + (f" (below {high:.1%})" if self.called < self.of else "")


def disguised(images: np.ndarray, disguise: str, seed: int) -> np.ndarray:
    """(n, S, S, 3) uint8: each image in a disguise."""
    rng = np.random.default_rng(seed)
    changed = [DISGUISES[disguise](image, rng) for image in images]
    return np.clip(np.rint(np.stack(changed)), 0, 255).astype(np.uint8)


def rates(cells: Cells, parts: int, copies: int, seed: int) -> tuple[dict[str, Rate], list[float]]:
    """The share called copies in each disguise and among genuine cells, and the limits."""
    told, limits = dict.fromkeys((*DISGUISES, "genuine"), Rate(called=0, of=0)), []
    rng = np.random.default_rng(seed)
    for part in range(parts):
        names = rng.permutation(np.unique(cells.subjects))
        half = np.isin(cells.subjects, names[: len(names) // 2])
        for here in (half, ~half):
            training, others = cells.take(here).loaded(), cells.take(~here).loaded()
            images = np.asarray(training.images)
            searched = examine(others.images, images, training.subjects, None)
            limits.append(searched.limit)
            told["genuine"] += Rate(called=int(searched.copies.sum()), of=len(others))
            for row in np.flatnonzero(searched.copies):
                like = training.cell_id[searched.made.row[row]]
                print(f"called a copy: {others.cell_id[row]} of {like}, "
                      f"{searched.made.correlation[row]:.3f}")  # fmt: skip
            some, trained = images[rng.permutation(len(images))[:copies]], Looks(images)
            for disguise in DISGUISES:
                made = Looks(disguised(some, disguise, part))
                called = likeness(made, trained).correlation >= searched.limit
                told[disguise] += Rate(called=int(called.sum()), of=len(some))
    return told, limits


def main() -> None:
    """Print a table of rates, a column a data set and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="data sets, as of a training run")
    parser.add_argument("--positive", default="auto", help="name of the positive class")
    parser.add_argument("--image-size", type=int, default=96, help="side in pixels")
    parser.add_argument("--parts", type=int, default=2, help="partings of the subjects in halves")
    parser.add_argument("--copies", type=int, default=60, help="training cells that are copied")
    parser.add_argument("--seed", type=int, default=0, help="of the partings and disguises")
    options = parser.parse_args()
    for data in options.data:
        positive = options.positive if (data / "index.csv").exists() else "auto"
        gathered = gather(
            ExperimentOptions(data=str(data), positive=positive, image_size=options.image_size),
            progress=console.bar,
        )
        cells = gathered.cells
        rarer = cells.labels == cells.minority()
        chosen = cells.take(rarer) if rarer.sum() >= FEWEST else cells
        told, limits = rates(chosen, options.parts, options.copies, options.seed)
        subjects = len(set(chosen.subjects.tolist()))
        print(f"{data.name}: {len(chosen)} cells of {subjects} subjects, "
              f"{options.image_size} px, limit {min(limits):.2f} to {max(limits):.2f}")  # fmt: skip
        for name, rate in told.items():
            print(f"| {name} | {rate} |", flush=True)


if __name__ == "__main__":
    main()
