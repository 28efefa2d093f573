"""The network that is trained in place of the kept one learns what the plain one would."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia.cells import Cells
from leukemia.contract import Schedule, Stage, unchanged
from leukemia.model.classifier import Classifier, ModelConfig, build, features
from leukemia.model.fused import fused_training_model
from leukemia.model.inference import predict, scores
from leukemia.model.training import History, Job, batches, fit, rows_of_epoch
from leukemia.report import silent

RATE, EPOCHS = 1e-2, 2
KINDS = ["pretrained", "from scratch"]  # batch norm keeps its statistics, or learns them


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file for the miniature backbone, with statistics that fit no cell."""
    backbone = build(ModelConfig(backbone="miniature", weights="none", size=32), 9).model.get_layer(
        "backbone"
    )
    rng = np.random.default_rng(0)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "miniature.weights.h5"
    backbone.save_weights(path)
    return str(path)


def model_config(kind: str, weights: str, precision: str = "float32") -> ModelConfig:
    return ModelConfig(
        backbone="miniature",
        weights=weights if kind == "pretrained" else "none",
        scaling="imagenet",
        size=32,
        precision=precision,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_the_plain_network(cells: Cells, weights: str, kind: str) -> None:
    classifier = build(model_config(kind, weights), 0)
    fused = fused_training_model(classifier)
    plain = predict(features(classifier), cells.images)
    found = predict(keras.Model(fused.input, fused.layers[-2].output), cells.images)
    assert plain.std() > 0.1
    np.testing.assert_allclose(found, plain, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        scores(fused, cells.images), scores(classifier.model, cells.images), rtol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_the_plain_network_learns(cells: Cells, weights: str, kind: str) -> None:
    """In float32: kernels, slopes and offsets of batch norm and its statistics."""
    tf.config.experimental.enable_op_determinism()
    fast, plain = (build(model_config(kind, weights), 0) for _ in range(2))
    before = fast.model.get_weights()
    job = Job(training=unchanged(cells), validation=cells, batch_size=16, seed=0, report=silent)
    # SGD: Adam makes a whole step of a gradient that is rounding alone.
    for classifier, model in ((fast, fused_training_model(fast)), (plain, plain.model)):
        classifier.unfreeze()
        model.compile(keras.optimizers.SGD(RATE), "binary_crossentropy", jit_compile=False)
        for epoch in range(EPOCHS):
            order = rows_of_epoch(job.training, 0, epoch)
            model.fit(batches(cells.images, job.training, order, 16), shuffle=False, verbose=0)
    moved = 0
    for found, expected, start in zip(
        fast.model.get_weights(), plain.model.get_weights(), before, strict=True
    ):
        far = np.abs(expected - start).max()
        assert np.abs(found - expected).max() <= 1e-3 * far + 1e-6
        moved += far > 0
    assert moved == len(before) - (20 if kind == "pretrained" else 0)


def test_statistics_of_a_pretrained_network_stay(cells: Cells, weights: str) -> None:
    classifier, _ = trained(cells, model_config("pretrained", weights, "bfloat16"))
    fresh = build(model_config("pretrained", weights), 0).model.get_layer("backbone")
    for found, expected in zip(
        classifier.model.get_layer("backbone").layers, fresh.layers, strict=True
    ):
        if isinstance(found, keras.layers.BatchNormalization):
            for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)


def trained(cells: Cells, chosen: ModelConfig) -> tuple[Classifier, History]:
    tf.config.experimental.enable_op_determinism()
    classifier = build(chosen, 0)
    schedule = Schedule(
        transfer=Stage(learning_rate=1e-3, epochs=1), fine_tune=Stage(learning_rate=1e-3, epochs=2)
    )
    return classifier, fit(
        classifier,
        Job(training=unchanged(cells), validation=cells, batch_size=16, seed=0, report=silent),
        schedule,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_in_bfloat16_is_kept_in_float32(
    cells: Cells, weights: str, kind: str
) -> None:
    classifier, history = trained(cells, model_config(kind, weights, "bfloat16"))
    _, plain = trained(cells, model_config(kind, weights))
    assert {each.dtype for each in classifier.model.weights} == {"float32"}
    assert classifier.model.get_layer("backbone").output.dtype == "float32"
    # Stage 1 of a pretrained network is the same to the bit, what is trained below it nearly so.
    if kind == "pretrained":
        assert history[0]["train_loss"] == plain[0]["train_loss"]
    assert history[1]["train_loss"] != plain[1]["train_loss"]
    assert history[1]["train_loss"] == pytest.approx(plain[1]["train_loss"], rel=0.1)
    fused = fused_training_model(classifier)
    assert fused.get_layer("backbone").output.dtype == "bfloat16"
    np.testing.assert_allclose(
        scores(classifier.model, cells.images), scores(fused, cells.images), atol=0.05
    )


def test_the_kept_model_is_saved_without_its_twin(
    cells: Cells, weights: str, tmp_path: Path
) -> None:
    classifier, _ = trained(cells, model_config("pretrained", weights))
    classifier.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        scores(loaded, cells.images), scores(classifier.model, cells.images)
    )
