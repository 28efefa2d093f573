"""The DC-GAN's recipes, its networks, and images on their way in and out."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from leukemia.errors import UserError
from leukemia.gan import networks, pictures
from leukemia.gan.augment import augmented
from leukemia.gan.config import THESIS, GanConfig, canvas

SMALL = GanConfig(size=32, latent=8)


def convolutions(model) -> list:
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


def noise(n: int = 6, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def test_the_thesis_recipe_is_the_thesis():
    thesis = GanConfig(
        size=128, latent=100, epochs=1000, batch_size=128, learning_rate=1e-4, beta_1=0.5,
        discriminator_rate=1.0, loss="binary", smoothing=0.0, spectral=False, r1=0.0,
        augment="none", ema=0.0, norm=False, eight_bit=False, merged=False, shared=False,
        conditional=False, precision="float32",
    )  # fmt: skip
    assert thesis == THESIS


def test_the_thesis_networks_have_five_convolutions_each():
    generator, discriminator = networks.generator(THESIS, 0), networks.discriminator(THESIS, 0)
    ups = [layer for layer in generator.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert len(ups) + 1 == len(convolutions(discriminator)) == 5
    assert generator.input_shape == (None, 100)
    assert generator.output_shape == discriminator.input_shape == (None, 128, 128, 3)
    assert generator.layers[-1].activation.__name__ == "tanh"
    slopes = {
        layer.negative_slope
        for model in (generator, discriminator)
        for layer in model.layers
        if isinstance(layer, layers.LeakyReLU)
    }
    assert slopes == {0.2}
    assert [x.rate for x in discriminator.layers if isinstance(x, layers.Dropout)] == [0.4]


@pytest.mark.parametrize(
    ("size", "maps"),
    [
        (32, [(32, 32), (16, 64), (8, 128)]),
        (48, [(48, 32), (24, 64), (12, 128), (6, 256)]),
        (64, [(64, 32), (32, 64), (16, 128), (8, 256)]),
        (128, [(128, 32), (64, 64), (32, 128), (16, 256), (8, 256)]),
    ],
)
def test_feature_maps_end_at_4_to_8_px(size, maps):
    assert networks.scales(size) == maps
    discriminator = networks.discriminator(replace(SMALL, size=size), 0)
    assert [layer.output.shape[1::2] for layer in convolutions(discriminator)] == maps


def test_outputs_stay_in_their_ranges():
    latent = 100 * np.random.default_rng(0).standard_normal((3, 8), np.float32)
    images = np.asarray(networks.generator(SMALL, 0)(latent))
    assert images.shape == (3, 32, 32, 3)
    assert np.abs(images).max() <= 1
    logits = np.asarray(networks.discriminator(SMALL, 0)(images))
    assert logits.shape == (3, 1)
    assert np.isfinite(logits).all()


def test_bfloat16_networks_take_and_give_float32():
    generator = networks.generator(SMALL, 0, "bfloat16")
    made = generator(np.zeros((2, 8), np.float32))
    logits = networks.discriminator(SMALL, 0, "bfloat16")(made)
    assert made.dtype == logits.dtype == tf.float32
    assert {weight.dtype for weight in generator.weights} == {"float32"}


def test_spectral_normalisation_brings_the_largest_singular_value_to_one():
    discriminator = networks.discriminator(replace(SMALL, spectral=True), 0)
    images = np.zeros((1, 32, 32, 3), np.float32)
    for _ in range(60):  # the power iteration converges over training calls
        discriminator(images, training=True)
    spectral = [layer for layer in discriminator.layers if hasattr(layer, "singular")]
    assert len(spectral) == 4
    for layer in spectral:
        kernel = np.asarray(layer.normalised(False))
        largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        assert largest == pytest.approx(1, abs=0.03)


def test_evaluation_leaves_the_power_iteration_alone():
    discriminator = networks.discriminator(replace(SMALL, spectral=True), 0)
    before = [np.asarray(weight) for weight in discriminator.weights]
    discriminator(np.zeros((1, 32, 32, 3), np.float32), training=False)
    for one, other in zip(before, discriminator.weights, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 210}, "210 px cannot be built: choose a size that halves down"),
        ({"epochs": 0}, "epochs is 0: give 1 or more"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"latent": -1}, "latent is -1"),
        ({"learning_rate": 0.0}, "learning rate is 0.0: give more than 0"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"beta_1": 1.0}, "beta 1 is 1.0: give 0 or more and less than 1"),
        ({"ema": -0.1}, "ema is -0.1"),
        ({"r1": -1.0}, "r1 is -1.0"),
        ({"loss": "squared"}, "loss is squared: give one of binary, categorical, hinge"),
        ({"precision": "int8"}, "precision is int8"),
    ],
)
def test_a_plan_out_of_range_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("side", "size"), [(24, 24), (32, 32), (48, 48), (64, 64), (96, 96), (128, 128), (210, 224)]
)
def test_a_canvas_holds_its_images_unchanged(side, size):
    assert canvas(side) == size
    assert GanConfig(size=size).size == size
    images = noise(2, side)
    on = pictures.put_on(images, size)
    assert on.shape == (2, size, size, 3)
    np.testing.assert_array_equal(pictures.taken_off(on, side), images)


def test_another_size_is_resampled_both_ways():
    on = pictures.put_on(noise(2, 48), 32)
    assert on.shape == (2, 32, 32, 3)
    assert pictures.taken_off(on, 48).shape == (2, 48, 48, 3)
    assert pictures.taken_off(on, (20, 30)).shape == (2, 20, 30, 3)


def test_resize_keeps_a_flat_colour_and_does_not_alias():
    flat = np.full((1, 32, 32, 3), (200, 60, 120), np.uint8)
    assert (pictures.resize(flat, (10, 50)) == (200, 60, 120)).all()
    assert pictures.resize(flat, (10, 50)).shape == (1, 10, 50, 3)
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(pictures.resize(stripes, 16)[:, :, 2:-2].astype(int) - 127).max() <= 4


def test_generated_images_depend_on_the_seed_alone_and_not_on_their_number():
    generator = networks.generator(SMALL, 3)
    ten = pictures.generate(generator, 10, 5)
    assert ten.shape == (10, 32, 32, 3)
    assert ten.dtype == np.uint8
    assert np.array_equal(ten, pictures.generate(generator, 10, 5))
    assert not np.array_equal(ten, pictures.generate(generator, 10, 6))
    assert pictures.generate(generator, 70, 5, 20).shape == (70, 20, 20, 3)
    assert pictures.generate(generator, 0, 5).shape == (0, 32, 32, 3)


def test_the_grid_is_read_row_by_row():
    tiles = np.arange(32, dtype=np.uint8).repeat(2 * 2 * 3).reshape(32, 2, 2, 3)
    assert (pictures.grid(tiles)[::2, ::2, 0] == np.arange(32).reshape(4, 8)).all()


def test_augmentation_changes_each_image_in_its_own_way_and_black_stays_black():
    black = tf.fill((4, 32, 32, 3), -1.0)
    seed = tf.constant([1, 2], tf.int64)
    assert np.asarray(augmented(black, seed)).max() == -1
    same = tf.repeat(tf.constant(noise(1)[:1] / 127.5 - 1, tf.float32), 8, 0)
    changed = np.asarray(augmented(same, seed))
    assert len({each.tobytes() for each in changed}) == 8
    np.testing.assert_array_equal(changed, augmented(same, seed))
    assert not np.array_equal(changed, augmented(same, seed + 1))


def test_augmentation_passes_gradients_to_what_is_not_covered():
    images = tf.constant(noise(4) / 255, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(augmented(images, tf.constant([0, 1], tf.int64)))
    reached = np.asarray(tape.gradient(total, images)) != 0
    assert 0.5 < reached.mean() < 1
