"""The classifier as the thesis has it, and two stages of training that do what they say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia.cells import Cells
from leukemia.contract import Schedule, TrainingSet, schedule, unchanged
from leukemia.errors import UserError
from leukemia.evaluation.metrics import metrics
from leukemia.model.classifier import ModelConfig, build
from leukemia.model.inference import predict, scores
from leukemia.model.rows import batches, order_of_epoch, rows_of
from leukemia.model.training import FitInputs, fit
from leukemia.report import silent

MINIATURE = ModelConfig(backbone="miniature", weights="none", size=32)
SHORT = schedule(transfer=(1e-3, 1), fine_tune=(1e-3, 2))


def weights_of(model: keras.Model) -> bytes:
    return b"".join(np.asarray(weight).tobytes() for weight in model.get_weights())


def inputs_of(
    training: TrainingSet, pretrained: bool = False, terms: Schedule = SHORT, **settings: Any
) -> FitInputs:
    given: dict[str, Any] = {"batch_size": 16, "seed": 0, "report": silent}
    given |= {"validation": training.cells, "stages": terms.stages(pretrained)}
    return FitInputs(training=training, **(given | settings))


def trained(cells: Cells, seed: int = 0, terms: Schedule = SHORT, **settings: Any):
    tf.config.experimental.enable_op_determinism()
    classifier = build(MINIATURE, seed)
    training = replace(unchanged(cells), **settings)
    return classifier, fit(classifier, inputs_of(training, terms=terms, seed=seed))


@pytest.fixture(scope="module")
def miniature_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file for the miniature backbone, as if it were pretrained."""
    path = tmp_path_factory.mktemp("weights") / "miniature.weights.h5"
    build(MINIATURE, 9).model.get_layer("backbone").save_weights(path)
    return str(path)


def test_resnet_50_has_the_parameters_of_the_thesis() -> None:
    model = build(ModelConfig(weights="none", size=64), 0).model
    assert model.get_layer("backbone").count_params() == 23_587_712
    assert model.input_shape == (None, 64, 64, 3)
    assert model.output_shape == (None, 1)
    assert model.inputs[0].dtype == "uint8"


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("imagenet", lambda x: keras.applications.resnet.preprocess_input(x.astype("float32"))),
        ("unit", lambda x: x / 255),
    ],
)
def test_scaling_inside_the_model_is_the_named_one(scaling: str, expected, cells: Cells) -> None:
    model = build(
        ModelConfig(backbone="miniature", weights="none", scaling=scaling, size=32), 0
    ).model
    x = model.get_layer("backbone")(expected(cells.images[:4]), training=False)
    for name in ("features", "probability"):
        x = model.get_layer(name)(x)
    np.testing.assert_allclose(predict(model, cells.images[:4]), x, atol=1e-5)


def test_genuine_imagenet_weights_load(shared: Path) -> None:
    path = shared / "weights/resnet50_imagenet_notop.weights.h5"
    classifier = build(ModelConfig(weights=str(path), size=64), 0)
    assert classifier.pretrained
    assert classifier.weights == path.name
    kernel = classifier.model.get_layer("backbone").get_layer("conv1_conv").kernel
    assert 0.01 < float(np.std(kernel)) < 0.5


@pytest.mark.parametrize(
    ("model_config", "message"),
    [
        (ModelConfig(backbone="alexnet"), "no backbone 'alexnet': choose one of resnet50, "),
        (ModelConfig(scaling="log"), "no scaling 'log'"),
        (ModelConfig(precision="half"), "no precision 'half'"),
        (ModelConfig(weights="gone.h5"), "'gone.h5': no such file"),
        (
            ModelConfig(backbone="miniature", weights="imagenet"),
            "no ImageNet weights of backbone 'miniature'",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(model_config: ModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(model_config, 0)


def test_weights_of_another_network_are_refused(miniature_weights: str) -> None:
    with pytest.raises(UserError, match=r"do not fit"):
        build(ModelConfig(backbone="resnet50", weights=miniature_weights, size=32), 0)


def test_auto_without_the_file_notes_that_it_trains_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", _out_of_reach)
    classifier = build(ModelConfig(size=32), 0)
    assert (classifier.pretrained, classifier.weights) == (False, "none")
    assert "FROM SCRATCH" in classifier.note
    with pytest.raises(UserError, match=r"neither in .* nor to be downloaded"):
        build(ModelConfig(weights="imagenet", size=32), 0)


def _out_of_reach(*words: object, **settings: object) -> str:
    raise Exception("URL fetch failure")


def test_the_same_seed_gives_the_same_weights_and_another_others(cells: Cells) -> None:
    first, again, other = (trained(cells, seed)[0].model for seed in (0, 0, 1))
    assert weights_of(first) == weights_of(again)
    assert weights_of(first) != weights_of(other)


def test_the_order_of_cells_is_a_function_of_seed_and_epoch(cells: Cells) -> None:
    rows = rows_of(unchanged(cells))
    orders = [order_of_epoch(rows, *key).tolist() for key in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3]
    assert sorted(orders[0]) == list(range(len(cells)))


def test_loss_weights_reach_the_loss(cells: Cells) -> None:
    weights = np.where(cells.labels == 1, 2.0, 7.0).astype(np.float32)
    rows = rows_of(replace(unchanged(cells), loss_weights=weights))
    drawn = batches(rows, np.arange(90), 32)
    assert len(drawn) == 3
    np.testing.assert_array_equal(np.concatenate([each for _, _, each in drawn]), weights)
    plain, heavy = (trained(cells, loss_weights=w)[1][0]["train_loss"] for w in (None, weights))
    assert heavy > 1.5 * plain


def test_stage_1_on_stored_features_is_keras_own_frozen_training(
    cells: Cells, miniature_weights: str
) -> None:
    tf.config.experimental.enable_op_determinism()
    model_config = replace(MINIATURE, weights=miniature_weights)
    fast, terms = build(model_config, 0), schedule(transfer=(1e-2, 3), fine_tune=(1e-2, 0))
    fit(fast, inputs_of(unchanged(cells), pretrained=True, terms=terms))

    plain = build(model_config, 0).model
    plain.get_layer("backbone").trainable = False
    plain.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", jit_compile=False)
    rows = rows_of(unchanged(cells))
    for epoch in (1, 2, 3):
        drawn = batches(rows, order_of_epoch(rows, 0, epoch), 16)
        plain.fit(drawn, shuffle=False, verbose=0)
    for found, expected in zip(fast.model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def statistics(model: keras.Model) -> list[np.ndarray]:
    norms = [
        layer
        for layer in model.get_layer("backbone").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    return [np.asarray(norm.moving_mean) for norm in norms]


def test_pretrained_statistics_stay_and_fine_tuning_moves_the_rest(
    cells: Cells, miniature_weights: str
) -> None:
    tf.config.experimental.enable_op_determinism()
    classifier = build(replace(MINIATURE, weights=miniature_weights), 0)
    before = statistics(classifier.model)
    kernels = classifier.model.get_layer("backbone").get_weights()[0].copy()
    fit(classifier, inputs_of(unchanged(cells), pretrained=True))
    for old, new in zip(before, statistics(classifier.model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(classifier.model.get_layer("backbone").get_weights()[0] - kernels).max() > 0


def test_from_scratch_the_statistics_are_learned_in_both_stages(cells: Cells) -> None:
    start = statistics(build(MINIATURE, 0).model)
    only_stage_1, _ = trained(cells, terms=schedule(transfer=(1e-3, 1), fine_tune=(1e-3, 0)))
    assert np.abs(start[0] - statistics(only_stage_1.model)[0]).max() > 0.1


def test_the_miniature_learns_an_easy_task(cells: Cells) -> None:
    bright = cells.images // 2 + 100 * cells.labels[:, None, None, None].astype(np.uint8)
    easy = replace(cells, images=bright)
    terms = schedule(transfer=(1e-2, 2), fine_tune=(1e-2, 10))
    classifier, history = trained(easy, terms=terms)
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    assert history[-1]["train_bal_acc"] > 0.9
    assert scores(classifier.model, easy.images).shape == (90,)


def test_who_wants_the_final_answers_gives_the_last_epoch_its_own(cells: Cells) -> None:
    classifier = build(MINIATURE, 0)
    asked = []

    def final() -> np.ndarray:
        asked.append(scores(classifier.model, cells.images))
        return asked[-1]

    history = fit(classifier, inputs_of(unchanged(cells), final=final))
    usual = trained(cells)[1]
    lost, expected = ([row["val_loss"] for row in rows] for rows in (history, usual))
    assert lost[:-1] == pytest.approx(expected[:-1])
    assert lost[-1] == pytest.approx(expected[-1], abs=0.02)  # in float32, where those are bfloat16
    (last,) = asked  # once, and of the final network
    assert np.array_equal(last, scores(classifier.model, cells.images))
    assert history[-1]["val_auroc"] == metrics(cells.labels, last)["auroc"]


def test_training_that_diverges_is_stopped_in_one_line(cells: Cells) -> None:
    infinite = np.full(90, np.inf, np.float32)
    with pytest.raises(UserError, match=r"training loss is (nan|inf) in epoch 1"):
        trained(cells, loss_weights=infinite)


def test_scores_that_are_no_numbers_end_a_training_in_one_line(cells: Cells) -> None:
    classifier = build(MINIATURE, 0)
    inputs = inputs_of(
        unchanged(cells),  # one step, whose loss is that of the weights before it
        terms=schedule(transfer=(1e-3, 1), fine_tune=(float("inf"), 1)),
        batch_size=len(cells), title="weighted",
    )  # fmt: skip
    with pytest.raises(
        UserError,
        match=r"90 of 90 scores of weighted's validation cells in epoch 2 are not finite: .* lower "
        r"learning rate \(another budget\), check the technique's loss",
    ):
        fit(classifier, inputs)


def test_a_saved_model_takes_raw_cells_and_loads_in_safe_mode(cells: Cells, tmp_path: Path) -> None:
    model = build(
        ModelConfig(backbone="miniature", weights="none", scaling="imagenet", size=32), 0
    ).model
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(predict(loaded, cells.images), predict(model, cells.images))


def test_predictions_do_not_depend_on_how_many_are_asked_for(cells: Cells) -> None:
    model = build(MINIATURE, 0).model
    whole = predict(model, cells.images)
    assert whole.shape == (90, 1)
    np.testing.assert_allclose(predict(model, cells.images[:7]), whole[:7], atol=1e-6)
