"""1,000 cells of 210 px through a trained classifier, batches of 64, against Keras' predict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

CELLS, SIDE, BATCH = 1000, 210, 64
FORWARD = 7.4e9  # multiplications and additions of one cell
NEAR, THRESHOLD = 2e-2, 0.5  # the most that a probability may differ; what a cell is called from
TRAINED = 96  # cells that the classifier is trained on, so that its answers mean something


def prepare(folder: Path) -> Run:
    """Drawn cells, and a classifier that has learned to tell them."""
    import keras

    from leukemia.cells import Cells
    from leukemia.contract import schedule, unchanged
    from leukemia.data.drawing import draw_cell, draw_style
    from leukemia.model.classifier import ModelConfig, build
    from leukemia.model.training import FitInputs, fit
    from leukemia.report import silent

    rng = np.random.default_rng(0)
    labels = (np.arange(CELLS + TRAINED) % 2).astype(np.int8)
    styles = [draw_style(rng) for _ in range(20)]
    images = np.stack([draw_cell(rng, bool(y), styles[n % 20], SIDE) for n, y in enumerate(labels)])
    names = np.array([f"c{row}" for row in range(len(labels))])
    cells = Cells(images=images, labels=labels, subjects=names, cell_id=names)
    classifier = build(ModelConfig(weights="auto", size=SIDE), 0)
    train, few = cells.take(np.arange(CELLS, len(labels))), cells.take(np.arange(2))
    terms = schedule(transfer=(1e-3, 5), fine_tune=(1e-4, 3))
    inputs = FitInputs(
        training=unchanged(train),
        validation=few,
        stages=terms.stages(classifier.pretrained),
        batch_size=32,
        seed=0,
        report=silent,
    )
    fit(classifier, inputs)
    _halve(classifier.model, images[:200])
    keras.Model(classifier.model.inputs, classifier.model.outputs).save(folder / "model.keras")
    np.save(folder / "cells.npy", images[:CELLS])
    return lambda: None


def _halve(model: Any, images: np.ndarray) -> None:
    """Call half of the images positive, so that a label near the threshold can change."""
    found = model.predict(images, batch_size=BATCH, verbose=0)[:, 0].astype(np.float64)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias - np.median(np.log(found / (1 - found)))])


def keras_predict(folder: Path) -> Run:
    """model.predict."""
    import keras

    from benchmarks.steps import Steps

    model, cells = keras.models.load_model(folder / "model.keras"), np.load(folder / "cells.npy")

    def run() -> dict[str, float]:
        steps = Steps()
        found = model.predict(cells, batch_size=BATCH, verbose=0, callbacks=[steps])
        np.save(folder / "keras.npy", found[:, 0])
        return {"seconds": steps.seconds}

    model.predict(cells[:BATCH], batch_size=BATCH, verbose=0)
    return run


def measured(folder: Path) -> Run:
    """This project's, as the figures of a run are measured."""
    from leukemia.model.inference import measuring

    return _ours(folder, "measured", measuring)


def served(folder: Path) -> Run:
    """This project's, as new cells are answered."""
    from functools import partial

    from leukemia.model.inference import serving

    return _ours(folder, "served", partial(serving, threshold=THRESHOLD))


def _ours(folder: Path, name: str, judging: Callable[[Any], Callable[[np.ndarray], Any]]) -> Run:
    import keras

    model, cells = keras.models.load_model(folder / "model.keras"), np.load(folder / "cells.npy")
    predictor = judging(model)

    def run() -> None:
        np.save(folder / f"{name}.npy", predictor(cells))

    predictor(cells[:BATCH])
    return run


def check(folder: Path) -> str:
    """Probabilities near Keras' and no label changed."""
    theirs = np.load(folder / "keras.npy")
    said = []
    for name in ("measured", "served"):
        ours = np.load(folder / f"{name}.npy")
        worst, changed = (
            np.abs(ours - theirs).max(),
            int(((ours >= THRESHOLD) != (theirs >= THRESHOLD)).sum()),
        )
        said.append(f"{name}: {worst:.1e} apart at most, {changed} of {CELLS:,} labels changed")
        assert worst < NEAR, said[-1]
        assert not changed, said[-1]
    positive = (theirs >= THRESHOLD).mean()
    assert 0.2 < positive < 0.8, f"{positive:.0%} are called positive: hardly a label could change"
    return f"{'; '.join(said)} ({positive:.0%} are called positive)"


KERAS = "Keras predict, float32"
PRECISION = {
    KERAS: "float32",
    "ours, as figures are measured": "float32",
    "ours, as served": "bfloat16",
}
JOB = Job(
    f"Inference, {CELLS:,} cells of {SIDE} px, batch {BATCH}",
    {
        KERAS: Contender("keras_predict"),
        "ours, as figures are measured": Contender("measured"),
        "ours, as served": Contender("served"),
    },
    (Goal("ours, as served", KERAS, 3.0),),
    3,
    check,
    lambda: dict.fromkeys(PRECISION, FORWARD * CELLS),
    PRECISION,
)
