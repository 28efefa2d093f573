"""What a technique says is what happens: closed forms of each way of acting, in real trainings."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import (
    Stage,
    SyntheticFeatures,
    TechniqueContext,
    TrainingSet,
    schedule,
    unchanged,
)
from leukemia.errors import UserError
from leukemia.model.classifier import Classifier, ModelConfig, build
from leukemia.model.inference import scores
from leukemia.model.rows import order_of_epoch, rows_of
from leukemia.model.training import FitInputs, History, fit
from leukemia.report import silent

SHORT = schedule(transfer=(1e-3, 2), fine_tune=(1e-3, 1))
KINDS = ("pretrained", "from scratch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file for the miniature backbone, as if it were pretrained."""
    path = tmp_path_factory.mktemp("weights") / "miniature.weights.h5"
    untrained = build(ModelConfig(backbone="miniature", weights="none", size=32), 9)
    untrained.model.get_layer("backbone").save_weights(path)
    return str(path)


def classifier_of(kind: str, weights: str) -> Classifier:
    return build(
        ModelConfig(
            backbone="miniature",
            weights=weights if kind == "pretrained" else "none",
            size=32,
            precision="float32",
        ),
        0,
    )


def trained(training: TrainingSet, classifier: Classifier, cells: Cells) -> History:
    tf.config.experimental.enable_op_determinism()
    return fit(
        classifier,
        FitInputs(
            training=training,
            validation=cells,
            stages=training.stages or SHORT.stages(classifier.pretrained),
            batch_size=16,
            seed=0,
            report=silent,
        ),
    )


def balanced(name: str, cells: Cells, classifier: Classifier, **settings: object) -> TrainingSet:
    module = (
        techniques.load(name)
        if name in techniques.names()
        else import_module(f"tests.examples.{name}")
    )
    context = TechniqueContext(
        rng=np.random.default_rng(0), schedule=SHORT, pretrained=classifier.pretrained
    )
    return module.balance(cells, replace(module.Settings(), **settings), context)


def answers(
    name: str, kind: str, weights: str, cells: Cells, **settings: object
) -> tuple[np.ndarray, History]:
    """The scores of all cells after training with a technique, and the history."""
    classifier = classifier_of(kind, weights)
    history = trained(balanced(name, cells, classifier, **settings), classifier, cells)
    return scores(classifier.model, cells.images), history


@pytest.mark.parametrize("kind", KINDS)
def test_mixup_without_blends_is_the_baseline_bit_for_bit(
    kind: str, weights: str, cells: Cells
) -> None:
    plain, of_plain = answers("baseline", kind, weights, cells)
    mixed, of_mixed = answers("mixup", kind, weights, cells, alpha=0.0)
    np.testing.assert_array_equal(mixed, plain)
    assert [row["train_loss"] for row in of_mixed] == [row["train_loss"] for row in of_plain]
    blended, _ = answers("mixup", kind, weights, cells, alpha=0.4)
    assert np.abs(blended - plain).max() > 1e-4


def test_the_focal_loss_with_gamma_0_is_cross_entropy(cells: Cells, weights: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (64, 1)).astype(np.float32)
    logits = rng.normal(0, 4, (64, 1)).astype(np.float32)
    logits[:2, 0] = 60, -60
    loss = balanced("focal", cells, classifier_of("from scratch", weights), gamma=0.0).loss
    assert loss
    expected = keras.losses.binary_crossentropy(labels, logits, from_logits=True)
    np.testing.assert_allclose(
        loss(labels, logits, np.ones(2, np.float32)), expected, rtol=1e-5, atol=1e-6
    )
    plain, of_plain = answers("baseline", "from scratch", weights, cells)
    focal, of_focal = answers("focal", "from scratch", weights, cells, gamma=0.0)
    np.testing.assert_allclose(focal, plain, atol=1e-3)
    assert of_focal[0]["train_loss"] == pytest.approx(of_plain[0]["train_loss"], rel=1e-4)
    harder, _ = answers("focal", "from scratch", weights, cells, gamma=3.0)
    assert np.abs(harder - plain).max() > 1e-3


def test_a_loss_is_told_the_class_counts_of_what_is_trained_on(cells: Cells, weights: str) -> None:
    told: list[np.ndarray] = []

    def loss(labels: tf.Tensor, logits: tf.Tensor, counts: np.ndarray) -> tf.Tensor:
        told.append(counts)
        return keras.losses.binary_crossentropy(labels, logits, from_logits=True)

    trained(replace(unchanged(cells), loss=loss), classifier_of("from scratch", weights), cells)
    assert told
    for counts in told:
        np.testing.assert_array_equal(counts, [30, 60])


def test_left_out_cells_are_never_drawn(cells: Cells) -> None:
    classifier = classifier_of("from scratch", "")
    training = balanced("undersampling", cells, classifier)
    assert len(training.left_out) == 30
    assert training.cells.counts() == (30, 30)
    order = order_of_epoch(rows_of(training), 0, 1)
    drawn = set(training.cells.cell_id[order])
    assert not drawn & set(cells.cell_id[training.left_out])


@pytest.mark.parametrize("kind", KINDS)
def test_retraining_moves_the_head_alone_after_the_budgets_stages(
    kind: str, weights: str, cells: Cells
) -> None:
    plain, retrained = (classifier_of(kind, weights) for _ in range(2))
    trained(unchanged(cells), plain, cells)
    history = trained(balanced("retraining", cells, retrained), retrained, cells)
    assert len(history) == SHORT.epochs + 2
    assert [row["unfrozen"] for row in history[-2:]] == [0.0, 0.0]
    for one, other in zip(
        plain.model.get_layer("backbone").get_weights(),
        retrained.model.get_layer("backbone").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    heads = [each.model.get_layer("probability").get_weights()[0] for each in (plain, retrained)]
    assert np.abs(heads[0] - heads[1]).max() > 1e-3


def test_a_stage_that_freezes_the_trained_backbone_works_on_its_features_not_on_the_first_ones(
    cells: Cells, weights: str
) -> None:
    seen: list[np.ndarray] = []

    def look(
        features: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> SyntheticFeatures:
        seen.append(features)
        return SyntheticFeatures(features=features[:0], labels=labels[:0])

    stages = (
        Stage(learning_rate=1e-3, epochs=1, trains="head"),
        Stage(learning_rate=1e-2, epochs=1),
        Stage(learning_rate=1e-3, epochs=1, trains="head"),
    )
    classifier = classifier_of("pretrained", weights)
    trained(replace(unchanged(cells), stages=stages, feature_sampler=look), classifier, cells)
    before, after = seen
    assert np.abs(before - after).max() > 1e-3


def test_synthetic_features_train_the_head_and_are_counted(cells: Cells, weights: str) -> None:
    told: list[np.ndarray] = []

    def loss(labels: tf.Tensor, logits: tf.Tensor, counts: np.ndarray) -> tf.Tensor:
        told.append(counts)
        return keras.losses.binary_crossentropy(labels, logits, from_logits=True)

    classifier = classifier_of("pretrained", weights)
    training = balanced("feature_smote", cells, classifier)
    trained(replace(training, loss=loss), classifier, cells)
    assert {tuple(counts.tolist()) for counts in told} == {(60, 60), (30, 60)}  # head, network


def test_synthetic_features_need_a_stage_that_trains_the_head(cells: Cells, weights: str) -> None:
    classifier = classifier_of("from scratch", weights)
    training = replace(balanced("feature_smote", cells, classifier), stages=None)
    with pytest.raises(UserError, match="no stage trains the head alone"):
        trained(training, classifier, cells)
    drawn = replace(balanced("feature_smote", cells, classifier), draw_weights=np.full(90, 1 / 90))
    with pytest.raises(UserError, match="neither with changed batches nor with a weighted draw"):
        trained(drawn, classifier, cells)


def test_a_decision_is_made_on_validation_cells_and_changes_no_score(cells: Cells) -> None:
    decide = balanced("threshold_moving", cells, classifier_of("from scratch", "")).decide
    assert decide
    labels = np.array([0, 0, 0, 1, 1, 0], np.int8)
    values = np.array([0.1, 0.2, 0.25, 0.3, 0.4, 0.35], np.float32)
    assert decide(labels, values) == np.float32(0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda batch, rng: replace(batch, images=batch.images / 255), "images .* of float64"),
        (lambda batch, rng: replace(batch, labels=batch.labels + 1), "between 0 and 1"),
        (lambda batch, rng: replace(batch, labels=batch.labels[:2]), r"labels \(2,\)"),
    ],
)
def test_a_change_that_gives_no_batch_back_is_named(
    change, message: str, cells: Cells, weights: str
) -> None:
    classifier = classifier_of("from scratch", weights)
    with pytest.raises(UserError, match=message):
        trained(replace(unchanged(cells), change=change), classifier, cells)


def test_each_example_says_what_it_is_and_where_it_comes_from() -> None:
    for file in (Path(__file__).parent / "examples").glob("[!_]*.py"):
        assert "Source: " in file.read_text(), file
