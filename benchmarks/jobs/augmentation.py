"""5,000 turned, shifted, sheared, zoomed and mirrored cells of 96 px, against the legacy Keras
ImageDataGenerator that the thesis used."""

from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

CELLS, SIDE, MADE, BATCH = 1000, 96, 5000, 32
SAME = 0.02  # relative, the most that means and deviations of what is made may differ


def prepare(folder: Path) -> Run:
    """Drawn cells: 1,000 of the rarer class."""
    from leukemia.data.drawing import draw_cell, draw_style

    rng = np.random.default_rng(0)
    style = draw_style(rng)
    cells = np.stack([draw_cell(rng, False, style, SIDE) for _ in range(CELLS)])
    np.save(folder / "cells.npy", cells)
    return lambda: None


def generator(folder: Path) -> Run:
    """As its documentation shows: flow over the cells in batches."""
    import tensorflow as tf

    cells = np.load(folder / "cells.npy").astype(np.float32)
    flow = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, shear_range=0.2,
        zoom_range=0.2, horizontal_flip=True, fill_mode="nearest",
    ).flow(cells, batch_size=BATCH, seed=0)  # fmt: skip

    def run() -> None:
        made: list[np.ndarray] = []
        while sum(map(len, made)) < MADE:
            made.append(next(flow))
        np.save(folder / "generator.npy", np.concatenate(made)[:MADE].round().astype(np.uint8))

    return run


def ours(folder: Path) -> Run:
    """This project's."""
    from leukemia.cells import Cells
    from leukemia.contract import TechniqueContext
    from leukemia.techniques.augmentation import Settings, balance

    rare = np.load(folder / "cells.npy")
    others = np.zeros((CELLS + MADE, SIDE, SIDE, 3), np.uint8)
    names = np.array([f"c{row}" for row in range(len(rare) + len(others))])
    labels = np.repeat(np.array([0, 1], np.int8), [len(rare), len(others)])
    train = Cells(
        images=np.concatenate([rare, others]), labels=labels, subjects=names, cell_id=names
    )

    def run() -> None:
        made = balance(train, Settings(), TechniqueContext(rng=np.random.default_rng(0)))
        np.save(folder / "ours.npy", made.cells.images[len(train) :])

    run()  # builds its graph
    return run


def check(folder: Path) -> str:
    """The same distribution: mean, deviation and centre of mass of what was made."""
    ours, theirs = (_described(np.load(folder / f"{name}.npy")) for name in ("ours", "generator"))
    worst = float(np.abs(ours / theirs - 1).max())
    assert worst < SAME, f"what was made differs by {worst:.1%}"
    return f"mean, deviation and spread of the outline of {MADE:,} cells differ by {worst:.1%}"


def _described(images: np.ndarray) -> np.ndarray:
    assert len(images) == MADE
    lit = images.max(-1) > 0
    rows, columns = lit.any(2).sum(1), lit.any(1).sum(1)
    return np.array([images.mean(), images.std(), rows.mean(), columns.mean(), lit.mean()])


JOB = Job(
    f"Augmentation: making {MADE:,} cells of {SIDE} px",
    {"legacy ImageDataGenerator": Contender("generator"), "ours": Contender("ours")},
    (Goal("ours", "legacy ImageDataGenerator", 3.0),),
    5,
    check,
)
