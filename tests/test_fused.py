"""The network that is trained in place of the kept one learns what the plain one would."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from leukemia.cells import Cells
from leukemia.contract import schedule, unchanged
from leukemia.model.backbones import BACKBONES, Backbone
from leukemia.model.classifier import Classifier, ModelConfig, build, feature_model
from leukemia.model.fused import trainable_features
from leukemia.model.fusible import why_plain
from leukemia.model.inference import predict, scores
from leukemia.model.rows import batches, order_of_epoch, rows_of
from leukemia.model.training import FitInputs, History, fit, network_model
from leukemia.report import silent

RATE, EPOCHS = 1e-2, 2
# By how much of what a weight moved it may differ; in `odd` rounding grows with each step.
NEAR = {"miniature": 1e-3, "odd": 1e-2}
KINDS = ["pretrained", "from scratch"]  # batch norm keeps its statistics, or learns them


@pytest.fixture
def weights(network: str, tmp_path: Path) -> str:
    """A file for the backbone, with statistics that fit no cell."""
    backbone = build(model_config("from scratch", "", network), 9).model.get_layer("backbone")
    rng = np.random.default_rng(0)
    for layer in norms(backbone):
        layer.set_weights([rng.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    path = tmp_path / "start.weights.h5"
    backbone.save_weights(path)
    return str(path)


def norms(backbone: keras.Model) -> list[layers.BatchNormalization]:
    return [each for each in backbone.layers if isinstance(each, layers.BatchNormalization)]


def odd(shape: tuple[int, int, int], path: str | None) -> keras.Model:
    """A batch norm after no convolution, one after an activation, two after the same convolution,
    and one whose convolution has another reader."""
    inputs = keras.Input(shape)
    x = layers.BatchNormalization()(inputs)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same")(layers.BatchNormalization()(x))
    x = layers.Add()([layers.BatchNormalization()(x), layers.BatchNormalization()(x)])
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    x = layers.Concatenate()([x, y, layers.BatchNormalization()(y)])
    x = layers.ReLU()(layers.BatchNormalization()(layers.AveragePooling2D(2)(x)))
    network = keras.Model(inputs, x)
    if path is not None:
        network.load_weights(path)
    return network


@pytest.fixture(params=["miniature", "odd"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone that is fused."""
    entry = Backbone(name="odd", about="made for these tests", build=odd, expects="tf")
    monkeypatch.setitem(BACKBONES, "odd", entry)
    return request.param


def model_config(kind: str, weights: str, network: str, precision: str = "float32") -> ModelConfig:
    return ModelConfig(
        backbone=network,
        weights=weights if kind == "pretrained" else "none",
        scaling="imagenet",
        size=32,
        precision=precision,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_plain_network(
    cells: Cells, weights: str, network: str, kind: str
) -> None:
    classifier = build(model_config(kind, weights, network), 0)
    plain = predict(feature_model(classifier), cells.images)
    found = predict(trainable_features(classifier), cells.images)
    assert plain.std() > 0.1
    np.testing.assert_allclose(found, plain, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        scores(network_model(classifier), cells.images),
        scores(classifier.model, cells.images),
        rtol=1e-4,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_the_plain_network_learns(
    cells: Cells, weights: str, network: str, kind: str
) -> None:
    """In float32: kernels, slopes and offsets of batch norm and its statistics."""
    tf.config.experimental.enable_op_determinism()
    fast, plain = (build(model_config(kind, weights, network), 0) for _ in range(2))
    before = fast.model.get_weights()
    plain.unfreeze()
    rows = rows_of(unchanged(cells))
    # SGD: Adam makes a whole step of a gradient that is rounding alone.
    for model, logits in ((network_model(fast), True), (plain.model, False)):
        loss = keras.losses.BinaryCrossentropy(from_logits=logits)
        model.compile(keras.optimizers.SGD(RATE), loss, jit_compile=False)
        for epoch in range(EPOCHS):
            drawn = batches(rows, order_of_epoch(rows, 0, epoch), 16)
            model.fit(drawn, shuffle=False, verbose=0)
    moved = 0
    for found, expected, start in zip(
        fast.model.get_weights(), plain.model.get_weights(), before, strict=True
    ):
        far = np.abs(expected - start).max()
        assert np.abs(found - expected).max() <= NEAR[network] * far + 1e-6
        moved += far > 0
    kept = 4 * len(norms(fast.model.get_layer("backbone")))
    assert moved == len(before) - (kept if kind == "pretrained" else 0)


def test_statistics_of_a_pretrained_network_stay(cells: Cells, weights: str, network: str) -> None:
    classifier, _ = trained(cells, model_config("pretrained", weights, network, "bfloat16"))
    fresh = build(model_config("pretrained", weights, network), 0).model.get_layer("backbone")
    found = norms(classifier.model.get_layer("backbone"))
    for one, other in zip(found, norms(fresh), strict=True):
        for kept, expected in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(kept, expected)


def trained(cells: Cells, chosen: ModelConfig) -> tuple[Classifier, History]:
    tf.config.experimental.enable_op_determinism()
    classifier = build(chosen, 0)
    stages = schedule(transfer=(1e-3, 1), fine_tune=(1e-3, 2)).stages(classifier.pretrained)
    return classifier, fit(
        classifier,
        FitInputs(
            training=unchanged(cells), validation=cells, stages=stages, batch_size=16, seed=0,
            report=silent,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_in_bfloat16_is_kept_in_float32(
    cells: Cells, weights: str, network: str, kind: str
) -> None:
    classifier, history = trained(cells, model_config(kind, weights, network, "bfloat16"))
    _, plain = trained(cells, model_config(kind, weights, network))
    assert {each.dtype for each in classifier.model.weights} == {"float32"}
    assert classifier.model.get_layer("backbone").output.dtype == "float32"
    # Stage 1 of a pretrained network is the same to the bit, what is trained below it nearly so.
    if kind == "pretrained":
        assert history[0]["train_loss"] == plain[0]["train_loss"]
    assert history[1]["train_loss"] != plain[1]["train_loss"]
    assert history[1]["train_loss"] == pytest.approx(plain[1]["train_loss"], rel=0.1)
    assert trainable_features(classifier).get_layer("backbone").output.dtype == "bfloat16"
    np.testing.assert_allclose(
        scores(classifier.model, cells.images),
        scores(network_model(classifier), cells.images),
        atol=0.05,
    )


def test_the_kept_model_is_saved_without_the_fused_one(
    cells: Cells, weights: str, network: str, tmp_path: Path
) -> None:
    classifier, _ = trained(cells, model_config("pretrained", weights, network))
    classifier.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        scores(loaded, cells.images), scores(classifier.model, cells.images)
    )


class Own(layers.Conv2D):
    """May do anything."""


def twice(x: keras.KerasTensor) -> keras.KerasTensor:
    shared = layers.Conv2D(3, 1, name="shared")
    return shared(shared(x))


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (layers.DepthwiseConv2D(3, name="it"), "it is a DepthwiseConv2D"),
        (layers.Dropout(0.5, name="it"), "it is a Dropout"),
        (keras.Sequential([layers.Conv2D(4, 1)], name="it"), "it is a Sequential"),
        (Own(4, 1, name="it"), "it is a Own"),
        (lambda x: x * 2, r"multiply\w* is a Multiply"),
        (layers.Conv2D(4, 3, dilation_rate=2, name="it"), r"it has dilation_rate \(2, 2\)"),
        (layers.Conv2D(3, 1, groups=3, name="it"), "it has groups 3"),
        (layers.Conv2D(4, 1, kernel_regularizer="l2", name="it"), "it has kernel_regularizer"),
        (layers.Conv2D(4, 1, dtype="mixed_bfloat16", name="it"), "it computes in mixed_bfloat16"),
        (layers.Conv2D(4, 1, activation=layers.PReLU(), name="it"), "it has an activation"),
        (layers.BatchNormalization(renorm=True, name="it"), "it has renorm True"),
        (layers.BatchNormalization(axis=1, name="it"), "it has axis 1"),
        (layers.BatchNormalization(scale=False, name="it"), "it has scale False"),
        (lambda x: layers.BatchNormalization(name="it")(x, training=False), "it is called with"),
        (twice, "shared is used more than once"),
    ],
)
def test_a_network_with_an_unknown_step_is_not_fused_at_all(step, why: str) -> None:
    inputs = keras.Input((16, 16, 3))
    network = keras.Model(inputs, layers.ReLU()(layers.Conv2D(4, 3)(step(inputs))))
    assert re.match(why, why_plain(network))


def test_a_network_that_is_not_fused_is_trained_as_it_is(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own layers with all their variables, and its note names the reason."""

    def build_it(shape: tuple[int, int, int], path: str | None) -> keras.Model:
        inputs = keras.Input(shape)
        maps = layers.DepthwiseConv2D(3, strides=4, name="it")(inputs)
        return keras.Model(inputs, layers.Dropout(0.5)(maps))

    entry = Backbone(name="depthwise", about="two layers", build=build_it, expects="tf")
    monkeypatch.setitem(BACKBONES, "depthwise", entry)
    chosen = model_config("from scratch", "", "depthwise", "bfloat16")
    classifier, history = trained(cells, chosen)
    assert classifier.note.endswith(
        "it is fine-tuned by plain Keras, in float32 (it is a DepthwiseConv2D)"
    )
    start = build(chosen, 0).model.get_weights()
    for before, after in zip(start, classifier.model.get_weights(), strict=True):
        assert np.abs(before - after).max() > 0
    again, same = trained(cells, chosen)  # its dropout is drawn from the seed
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in same]
    for one, other in zip(classifier.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    images = [cells.images]
    working = network_model(classifier)(images, training=True)
    assert np.abs(working - network_model(classifier)(images, training=False)).max() > 0
    below = trainable_features(classifier)
    assert below.get_layer("backbone") is classifier.model.get_layer("backbone")
    assert {each.dtype for each in below.outputs} == {"float32"}
