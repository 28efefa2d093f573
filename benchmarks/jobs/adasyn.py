"""ADASYN on 3,000 drawn cells of 210 px, 25 % of the rarer class, against imbalanced-learn."""

from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

CELLS, RARER, NEIGHBOURS = 3000, 0.25, 5
SIZE = 210  # px, what the thesis' classifier takes
CELLS_A_SUBJECT = 100


def prepare(folder: Path) -> Run:
    """Drawn cells."""
    draw(folder, CELLS, RARER)
    return lambda: None


def draw(folder: Path, count: int, rarer: float) -> None:
    """`count` drawn cells (SIMULATED) and their labels; negatives are the rarer class."""
    from leukemia.data.drawing import draw_cell, draw_style

    rng = np.random.default_rng(0)
    labels = (rng.permutation(count) >= round(rarer * count)).astype(np.int8)
    subjects = [f"{'HA'[label]}{row // CELLS_A_SUBJECT}" for row, label in enumerate(labels)]
    styles = {subject: draw_style(rng) for subject in sorted(set(subjects))}
    images = np.lib.format.open_memmap(folder / "cells.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    for row, (label, subject) in enumerate(zip(labels, subjects, strict=True)):
        images[row] = draw_cell(rng, bool(label), styles[subject], SIZE)
    images.flush()
    np.save(folder / "labels.npy", labels)


def imblearn(folder: Path) -> Run:
    """imbalanced-learn on pixels as float32: on uint8 it wraps around."""
    from imblearn.over_sampling import ADASYN

    images, labels = np.load(folder / "cells.npy"), np.load(folder / "labels.npy")
    seed = int(np.random.default_rng(0).integers(2**31))

    def run() -> None:
        pixels = images.reshape(len(images), -1).astype(np.float32)
        sampler = ADASYN(n_neighbors=NEIGHBOURS, random_state=seed)
        made = sampler.fit_resample(pixels, labels)[0][len(images) :]
        np.save(folder / "imblearn.npy", np.clip(np.rint(made), 0, 255).astype(np.uint8))

    return run


def ours(folder: Path) -> Run:
    """This project's."""
    from leukemia.cells import Cells
    from leukemia.contract import TechniqueContext
    from leukemia.techniques.adasyn import Settings, balance

    images, labels = np.load(folder / "cells.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    names = np.array([f"c{row}" for row in range(len(labels))])
    train = Cells(images=images, labels=labels, subjects=names, cell_id=names)

    def run() -> None:
        balanced = balance(
            train, Settings(n_neighbors=NEIGHBOURS), TechniqueContext(rng=np.random.default_rng(0))
        )
        np.save(folder / "ours.npy", balanced.cells.images[len(train) :])

    return run


def check(folder: Path) -> str:
    """The same cells in the same order."""
    ours, theirs = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ours", "imblearn"))
    assert np.array_equal(ours.reshape(len(ours), -1), theirs), "other cells were made"
    return f"the same {len(ours)} cells in the same order"


JOB = Job(
    f"ADASYN, {CELLS:,} cells of {SIZE} px",
    {"imbalanced-learn, float32": Contender("imblearn"), "ours": Contender("ours")},
    (Goal("ours", "imbalanced-learn, float32", 7.0),),
    3,
    check,
)
