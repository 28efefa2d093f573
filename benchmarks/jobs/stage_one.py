"""Stage 1: the head of a ResNet-50 on its frozen backbone, ten epochs of 256 cells of 96 px."""

from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

CELLS, SIDE, EPOCHS, BATCH, SEED, RATE = 256, 96, 10, 32, 5, 1e-3
SAME = 1e-4  # the most that a weight of the head may differ


def prepare(folder: Path) -> Run:
    """Cells, labels and a backbone whose weights all start from."""
    from leukemia.model.classifier import ModelConfig, build

    rng = np.random.default_rng(0)
    np.save(folder / "cells.npy", rng.integers(0, 256, (CELLS, SIDE, SIDE, 3), np.uint8))
    np.save(folder / "labels.npy", rng.integers(0, 2, CELLS).astype(np.int8))
    backbone = build(ModelConfig(weights="none", size=SIDE), 0).model.get_layer("backbone")
    backbone.save_weights(folder / "backbone.weights.h5")
    return lambda: None


def keras_fit(folder: Path) -> Run:
    """As Keras' guide to transfer learning has it: the backbone not trainable, then fit."""
    import keras

    from benchmarks.steps import Steps
    from leukemia.model.rows import order_of_epoch, rows_of

    images, labels = np.load(folder / "cells.npy"), np.load(folder / "labels.npy")
    scaled = keras.applications.resnet.preprocess_input(images.astype(np.float32))
    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    backbone.load_weights(folder / "backbone.weights.h5")
    backbone.trainable = False
    inputs = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(inputs, training=False))
    head = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, head(pooled))
    started = _started(folder)
    model.compile(keras.optimizers.Adam(RATE), "binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    fresh = [np.array(each) for each in model.optimizer.variables]
    given = rows_of(_training(folder))
    orders = [order_of_epoch(given, SEED, epoch) for epoch in range(1, EPOCHS + 1)]

    def run() -> dict[str, float]:
        steps = Steps()
        head.set_weights(started)
        for each, value in zip(model.optimizer.variables, fresh, strict=True):
            each.assign(value)
        for rows in orders:
            model.fit(
                scaled[rows], labels[rows], BATCH, epochs=1, shuffle=False, verbose=0,
                callbacks=[steps],
            )  # fmt: skip
        _save(folder / "keras.npz", head.get_weights())
        return {"seconds": steps.seconds}

    return run


def first_time(folder: Path) -> Run:
    """This project's, nothing kept."""
    return _ours(folder, None, "first.npz")


def later(folder: Path) -> Run:
    """This project's, where another run has needed these cells before."""
    return _ours(folder, folder / "cache", "later.npz")


def _ours(folder: Path, cache: Path | None, name: str) -> Run:
    from leukemia.cells import Cells
    from leukemia.contract import Stage
    from leukemia.experiment.balance import threads
    from leukemia.model.features import Features
    from leukemia.model.training import FitInputs, fit
    from leukemia.report import silent

    classifier = _classifier(folder)
    started = classifier.model.get_layer("probability").get_weights()
    features = Features(classifier, threads(), cache)
    training = _training(folder)
    features.keep(training.cells.images)
    none = Cells(**{name: each[:1] for name, each in vars(training.cells).items()})
    inputs = FitInputs(
        training=training,
        validation=none,
        stages=(Stage(learning_rate=RATE, epochs=EPOCHS, trains="head"),),
        batch_size=BATCH,
        seed=SEED,
        report=silent,
        threads=threads(),
        features=features,
    )

    def run() -> None:
        classifier.model.get_layer("probability").set_weights(started)
        fit(classifier, inputs)
        _save(folder / name, classifier.model.get_layer("probability").get_weights())

    return run


def _training(folder: Path):
    from leukemia.cells import Cells
    from leukemia.contract import unchanged

    images, labels = np.load(folder / "cells.npy"), np.load(folder / "labels.npy")
    names = np.array([f"c{row}" for row in range(len(labels))])
    return unchanged(Cells(images=images, labels=labels, subjects=names, cell_id=names))


def _classifier(folder: Path):
    from leukemia.model.classifier import ModelConfig, build

    return build(ModelConfig(weights=str(folder / "backbone.weights.h5"), size=SIDE), SEED)


def _started(folder: Path) -> list[np.ndarray]:
    return _classifier(folder).model.get_layer("probability").get_weights()


def _save(path: Path, weights: list[np.ndarray]) -> None:
    np.savez(path, *weights)


def check(folder: Path) -> str:
    """The heads are the same."""
    found = {name: np.load(folder / f"{name}.npz") for name in ("keras", "first", "later")}
    worst = max(
        float(np.abs(found["keras"][part] - found[name][part]).max())
        for name in ("first", "later")
        for part in found["keras"].files
    )
    assert worst < SAME, f"a weight of the head differs by {worst}"
    return f"weights of the heads differ by {worst:.1e} at most"


JOB = Job(
    f"Stage 1 (frozen backbone), {EPOCHS} epochs",
    {
        "Keras fit, trainable=False": Contender("keras_fit"),
        "features once": Contender("first_time"),
        "features from disk": Contender("later"),
    },
    (Goal("features once", "Keras fit, trainable=False", 0.7 * EPOCHS),),
    5,
    check,
)
