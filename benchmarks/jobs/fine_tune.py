"""Stage 2: a whole ResNet-50 with batch norm that learns, on cells of 210 px in batches of 32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

CELLS, SIDE, BATCH, RATE = 128, 210, 32, 1e-4
FORWARD = 7.4e9  # multiplications and additions of one image of 210 px


def prepare(folder: Path) -> Run:
    """Cells, labels and the weights that all start from."""
    from leukemia.model.classifier import ModelConfig, build

    rng = np.random.default_rng(0)
    np.save(folder / "cells.npy", rng.integers(0, 256, (CELLS, SIDE, SIDE, 3), np.uint8))
    np.save(folder / "labels.npy", (np.arange(CELLS) % 2).astype(np.int8))
    classifier = build(ModelConfig(weights="none", size=SIDE), 0)
    classifier.model.get_layer("backbone").save_weights(folder / "start.weights.h5")
    return lambda: None


def keras_fit(folder: Path) -> Run:
    """The thesis' code: a model of ResNet-50, compiled, fit on float images."""
    return _keras(folder, fixed=False)


def keras_fit_fixed(folder: Path) -> Run:
    """The same as Keras' guide to transfer learning has it: batch norm stays as it was learned."""
    return _keras(folder, fixed=True)


def _keras(folder: Path, fixed: bool) -> Run:
    import keras

    backbone = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    for layer in backbone.layers:
        if fixed and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(1, activation="sigmoid")(pooled))
    model.compile(keras.optimizers.Adam(RATE), "binary_crossentropy", metrics=["accuracy"])
    images, labels = np.load(folder / "cells.npy"), np.load(folder / "labels.npy")
    scaled = keras.applications.resnet.preprocess_input(images.astype(np.float32))

    return _steps(model, lambda: (scaled, labels, BATCH))


def _steps(model: Any, given: Callable[[], tuple[Any, ...]]) -> Run:
    """An epoch, timed by its steps."""
    from benchmarks.steps import Steps

    def run() -> dict[str, float]:
        steps = Steps()
        model.fit(*given(), epochs=1, shuffle=False, verbose=0, callbacks=[steps])
        return {"seconds": steps.seconds}

    run()
    return run


def ours_float32(folder: Path) -> Run:
    """This project's in float32, batch norm learning."""
    return _ours(folder, "float32", "unit")


def ours_bfloat16(folder: Path) -> Run:
    """This project's as `precision=auto` chooses here, batch norm learning."""
    return _ours(folder, "bfloat16", "unit")


def ours_fixed(folder: Path) -> Run:
    """This project's usual: pretrained, batch norm as it was learned."""
    return _ours(folder, "bfloat16", "imagenet")


def _ours(folder: Path, precision: str, scaling: str) -> Run:
    from leukemia.cells import Cells
    from leukemia.contract import unchanged
    from leukemia.model.classifier import ModelConfig, build
    from leukemia.model.rows import batches, order_of_epoch, rows_of
    from leukemia.model.training import compile_for, network_model

    weights = str(folder / "start.weights.h5")
    classifier = build(
        ModelConfig(
            backbone="resnet50", weights=weights, scaling=scaling, size=SIDE, precision=precision
        ),
        0,
    )
    images, labels = np.load(folder / "cells.npy"), np.load(folder / "labels.npy")
    names = np.array([f"c{row}" for row in range(CELLS)])
    cells = Cells(images=images, labels=labels, subjects=names, cell_id=names)
    rows = rows_of(unchanged(cells))
    model = network_model(classifier)
    compile_for(model, None, rows.counts)
    model.optimizer.learning_rate = RATE
    order = order_of_epoch(rows, 0, 1)
    # An epoch as in a run, without its validation: the peers have none.
    return _steps(model, lambda: (batches(rows, order, BATCH),))


def torch_float32(folder: Path) -> Run:
    """torchvision's ResNet-50, channels last."""
    return _torch(folder, "float32")


def torch_bfloat16(folder: Path) -> Run:
    """The same under autocast."""
    return _torch(folder, "bfloat16")


def _torch(folder: Path, precision: str) -> Run:
    import torch
    from torchvision.models import resnet50

    model: Any = resnet50(num_classes=1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    lost = torch.nn.BCEWithLogitsLoss()
    images = torch.from_numpy(np.load(folder / "cells.npy")).permute(0, 3, 1, 2)
    images = (images / 255).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(np.load(folder / "labels.npy")).float()[:, None]
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    model.train()

    def run() -> float:
        for start in range(0, CELLS, BATCH):
            optimizer.zero_grad()
            with half:
                logits = model(images[start : start + BATCH])
            loss = lost(logits.float(), labels[start : start + BATCH])
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    run()
    return run


def check(folder: Path) -> str:
    """Speed alone: these cells are noise."""
    return "same network, batches and optimizer; what bfloat16 does to quality is not measured here"


KERAS = "Keras fit, float32"
PRECISION = {
    KERAS: "float32",
    "PyTorch float32, channels last": "float32",
    "PyTorch bfloat16, channels last": "bfloat16",
    "ours, float32": "float32",
    "ours, bfloat16": "bfloat16",
}
JOB = Job(
    f"Stage 2, ResNet-50 at {SIDE} px, batch {BATCH}, {CELLS} cells",
    {
        KERAS: Contender("keras_fit"),
        "PyTorch float32, channels last": Contender("torch_float32", elsewhere=True),
        "PyTorch bfloat16, channels last": Contender("torch_bfloat16", elsewhere=True),
        "ours, float32": Contender("ours_float32"),
        "ours, bfloat16": Contender("ours_bfloat16"),
    },
    (
        Goal("ours, bfloat16", KERAS, 1.8),
        Goal("ours, bfloat16", "PyTorch float32, channels last", 1.0),
    ),
    3,
    check,
    lambda: dict.fromkeys(PRECISION, 3 * FORWARD * CELLS),
    PRECISION,
)
