"""Grad-CAM against a gradient tape and a hand-made network; which cells are shown."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia.cells import Cells
from leukemia.evaluation.predictions import Predictions
from leukemia.experiment.plots import surest_errors
from leukemia.model.classifier import ModelConfig, build
from leukemia.model.grad_cam import choose, grad_cam, resolution
from leukemia.model.inference import PREDICT_BATCH, predict

SIZE = 32


@pytest.fixture(scope="module")
def model(cells: Cells) -> keras.Model:
    """The miniature with a head that calls half of the drawn cells positive, none for sure."""
    model = build(ModelConfig(backbone="miniature", weights="none", size=SIZE), 3).model
    features = predict(keras.Model(model.inputs, model.get_layer("features").output), cells.images)
    head = model.get_layer("probability")
    logits = features @ head.get_weights()[0]
    kernel = head.get_weights()[0] / logits.std()
    head.set_weights([kernel, -np.median(logits / logits.std(), keepdims=True)[0]])
    return model


def by_tape(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grad-CAM as Selvaraju et al. write it: gradients of the called class' logit by a tape."""
    maps_of = keras.Model(model.inputs, model.get_layer("features").input)
    maps = maps_of([images], training=False)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        score = model.get_layer("probability")(model.get_layer("features")(maps))[:, 0]
        logit = tf.math.log(score) - tf.math.log1p(-score)
        called = tf.where(score >= 0.5, logit, -logit)
    importance = tf.reduce_mean(tape.gradient(called, maps), axis=(1, 2), keepdims=True)
    coarse = tf.nn.relu(tf.reduce_sum(importance * maps, axis=-1, keepdims=True))
    share = tf.math.divide_no_nan(coarse, tf.reduce_max(coarse, axis=(1, 2), keepdims=True))
    return tf.image.resize(share, images.shape[1:3], "bilinear")[..., 0].numpy()


def test_it_is_that_of_a_gradient_tape(model: keras.Model, cells: Cells) -> None:
    called = predict(model, cells.images)[:, 0] >= 0.5
    assert 40 <= called.sum() <= 50  # both signs are tried
    found = grad_cam(model, cells.images)
    np.testing.assert_allclose(found, by_tape(model, np.asarray(cells.images)), atol=1e-4)


def test_heat_is_of_the_class_that_a_moved_threshold_calls(
    model: keras.Model, cells: Cells
) -> None:
    scores = predict(model, cells.images)[:, 0]
    threshold = float(np.quantile(scores, 0.2))
    usual = grad_cam(model, cells.images)
    moved = grad_cam(model, cells.images, threshold)
    turned = (scores >= threshold) & (scores < 0.5)
    assert turned.sum() > 10
    changed = np.abs(moved - usual).max(axis=(1, 2)) > 1e-3
    np.testing.assert_array_equal(changed, turned)


def test_a_map_has_a_cell_s_size_and_lies_in_0_to_1(model: keras.Model, cells: Cells) -> None:
    found = grad_cam(model, cells.images)
    assert len(cells) > PREDICT_BATCH
    assert found.shape == (90, SIZE, SIZE)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(grad_cam(model, cells.images[:5]), found[:5], atol=1e-5)


def test_the_map_s_resolution_is_that_of_the_backbone(model: keras.Model) -> None:
    assert resolution(model) == (2, 2)
    assert resolution(build(ModelConfig(weights="none", size=64), 0).model) == (2, 2)


def colours() -> keras.Model:
    """Calls red cells positive and blue ones negative: the weight of a place is red - blue."""
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    pixels = keras.Input((8, 8, 3))
    pooled = keras.layers.AveragePooling2D(4)(pixels)
    backbone = keras.Model(pixels, pooled, name="backbone")
    maps = backbone(keras.layers.Rescaling(1 / 255)(inputs))
    features = keras.layers.GlobalAveragePooling2D(name="features")(maps)
    head = keras.layers.Dense(1, activation="sigmoid", name="probability")
    model = keras.Model(inputs, head(features))
    head.set_weights([np.array([[1.0], [0.0], [-1.0]]), np.zeros(1)])
    return model


@pytest.mark.parametrize(("more", "corner"), [("red", 0), ("blue", -1)])
def test_a_map_is_high_where_the_called_colour_is(more: str, corner: int) -> None:
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, :4, :4, 0] = 255 if more == "red" else 100  # top left speaks for positive
    image[0, 4:, 4:, 2] = 100 if more == "red" else 255  # bottom right against it
    found = grad_cam(colours(), image)[0]
    assert found[corner, corner] == 1
    assert found[-1 - corner, -1 - corner] == 0
    assert found[0, -1] == found[-1, 0] == 0
    # Bilinear between the two centres of a row, at 1.5 and 5.5 px: an eighth, three eighths ...
    row = found[corner] if more == "red" else found[corner][::-1]
    np.testing.assert_allclose(row, [1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0], atol=1e-6)


def test_where_no_place_speaks_for_the_call_a_map_is_0() -> None:
    model = colours()
    model.get_layer("probability").set_weights([np.array([[1.0], [0.0], [-1.0]]), -np.ones(1) * 9])
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert not grad_cam(model, red).any()


def predictions(labels: list[int], scores: list[float]) -> Predictions:
    names = np.array([f"cell {row}" for row in range(len(labels))])
    return Predictions(
        labels=np.array(labels, np.int8),
        scores=np.array(scores, np.float32),
        subjects=names,
        cell_id=names,
    )


def test_chosen_are_the_most_confident_of_each_class_and_outcome() -> None:
    labels = [1, 1, 1, 1, 0, 0, 0, 0, 1, 0]
    scores = [0.1, 0.3, 0.9, 0.8, 0.9, 0.6, 0.2, 0.05, 0.7, 0.4]
    # wrong: 0 and 4 first, then 1 and 5; right: 2 and 7, then 3 and 6
    assert choose(predictions(labels, scores), 4).tolist() == [0, 4, 2, 7]
    assert choose(predictions(labels, scores), 8).tolist() == [0, 4, 1, 5, 2, 7, 3, 6]


def test_where_a_kind_runs_short_the_others_stand_in() -> None:
    few_errors = predictions([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.1, 0.2, 0.6])
    assert choose(few_errors, 5).tolist() == [5, 0, 3, 1, 4]
    assert sorted(choose(few_errors, 99)) == list(range(6))
    one_class = predictions([1, 1, 1], [0.2, 0.9, 0.6])
    assert choose(one_class, 8).tolist() == [0, 1, 2]


def test_equal_scores_are_chosen_by_row() -> None:
    alike = predictions([1, 0] * 4, [0.5] * 8)
    assert choose(alike, 4).tolist() == choose(alike, 4).tolist() == [1, 3, 0, 2]


def test_a_moved_threshold_decides_which_cells_are_wrong_and_how_sure() -> None:
    cells = predictions([1, 1, 0, 0], [0.25, 0.9, 0.35, 0.1])
    low = replace(cells, threshold=0.3)
    assert sorted(choose(low, 2)) == [0, 2]  # one of each class is called wrongly
    assert choose(low, 1).tolist() == [0]
    assert surest_errors(low).tolist() == [0, 2]
    assert surest_errors(cells).tolist() == [0]
