"""The DC-GAN on tiny flat-coloured images, and the technique that balances with it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from leukemia.cells import Cells, TrainingSet
from leukemia.errors import UserError
from leukemia.gan import networks, training
from leukemia.report import silent
from leukemia.techniques import dcgan

# Saving a model has NumPy copy TensorFlow's variables, whose __array__ knows no `copy` yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOUR = (200, 60, 120)
PLAN = training.Plan(size=32, latent=8, epochs=2, batch_size=4, learning_rate=1e-3, beta_1=0.5)
SETTINGS = dcgan.Settings(gan_size=32, gan_epochs=2, gan_batch=4, latent=8)


def coloured(n: int, side: int = 32, seed: int = 0) -> np.ndarray:
    noisy = np.random.default_rng(seed).normal(COLOUR, 12, (n, side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def cells(rare: int = 5, frequent: int = 9, side: int = 24) -> Cells:
    n = rare + frequent
    names = np.array([f"s{row}" for row in range(n)])
    labels = (np.arange(n) >= rare).astype(np.int8)
    return Cells(coloured(n, side), labels, names, names)


def balanced(train: Cells, settings: dcgan.Settings = SETTINGS, seed: int = 1) -> TrainingSet:
    return dcgan.balance(train, settings, np.random.default_rng(seed), silent)


class Heard(list):
    """Everything that was reported, as (step, values)."""

    def __call__(self, step, values) -> None:
        self.append((step, values))


def convolutions(model) -> list:
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


@pytest.fixture(scope="module")
def one_run():
    heard = Heard()
    return *training.train(coloured(9), PLAN, 7, heard), heard


@pytest.fixture(scope="module")
def result() -> TrainingSet:
    return balanced(cells())


@pytest.fixture
def folder(result, tmp_path):
    """A generator's folder as it lies after the caller has downloaded it."""
    for path, content in result.files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path / "generator"


def test_the_thesis_networks_have_five_convolutions_each():
    generator, discriminator = networks.generator(), networks.discriminator()
    ups = [layer for layer in generator.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert len(ups) + 1 == len(convolutions(discriminator)) == 5
    assert generator.input_shape == (None, 100)
    assert generator.output_shape == discriminator.input_shape == (None, 128, 128, 3)
    assert generator.layers[-1].activation.__name__ == "tanh"
    assert discriminator.layers[-1].activation.__name__ == "sigmoid"
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
        (64, [(64, 32), (32, 64), (16, 128), (8, 256)]),
        (128, [(128, 32), (64, 64), (32, 128), (16, 256), (8, 256)]),
    ],
)
def test_feature_maps_end_at_8_px(size, maps):
    assert networks.scales(size) == maps
    found = [layer.output.shape[1::2] for layer in convolutions(networks.discriminator(size))]
    assert found == maps


def test_outputs_stay_in_their_ranges():
    noise = 100 * np.random.default_rng(0).standard_normal((3, 8), np.float32)
    images = np.asarray(networks.generator(32, 8)(noise))
    assert images.shape == (3, 32, 32, 3)
    assert np.abs(images).max() <= 1
    chances = np.asarray(networks.discriminator(32)(images))
    assert chances.shape == (3, 1)
    assert ((chances >= 0) & (chances <= 1)).all()


def test_the_report_has_four_means_and_seconds_each_epoch(one_run):
    _, history, heard = one_run
    scalars = [(epoch, values) for epoch, values in heard if "gan_samples" not in values]
    assert [epoch for epoch, _ in scalars] == [1, 2]
    for epoch, values in scalars:
        assert set(values) == {*training.METRICS, "gan_seconds"}
        assert np.isfinite(list(values.values())).all()
        assert 0 <= values["gan_d_real"] <= 1
        assert 0 <= values["gan_d_fake"] <= 1
        assert values == {name: history[name][epoch - 1] for name in history}


def test_the_first_and_last_epoch_show_a_grid_of_32_samples(one_run):
    grids = [(epoch, v["gan_samples"]) for epoch, v in one_run[2] if "gan_samples" in v]
    assert [epoch for epoch, _ in grids] == [1, 2]
    for _, grid in grids:
        assert grid.shape == (4 * 32, 8 * 32, 3)
        assert grid.dtype == np.uint8
    assert (grids[0][1] != grids[1][1]).any()


def test_samples_are_shown_at_ten_epochs():
    shown = sorted(training._sample_epochs(1000))
    assert shown == [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]


def test_the_grid_is_read_row_by_row():
    tiles = np.arange(32, dtype=np.uint8).repeat(2 * 2 * 3).reshape(32, 2, 2, 3)
    assert (training._grid(tiles)[::2, ::2, 0] == np.arange(32).reshape(4, 8)).all()


def test_same_seed_same_weights_bit_for_bit(one_run):
    keras.utils.set_random_seed(99)
    again, _ = training.train(coloured(9), PLAN, 7, silent)
    pairs = zip(one_run[0].get_weights(), again.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_another_seed_gives_other_weights(one_run):
    other, _ = training.train(coloured(9), replace(PLAN, epochs=1), 8, silent)
    assert not np.array_equal(one_run[0].get_weights()[0], other.get_weights()[0])


def test_training_moves_the_made_images_towards_the_colour_of_the_real_ones():
    plan = replace(PLAN, epochs=30, batch_size=8)
    generator, _ = training.train(coloured(16), plan, 3, silent)
    colour = training.generate(generator, 32, 0).mean((0, 1, 2))
    grey = np.abs(np.array(COLOUR) - 127.5).mean()
    assert np.abs(colour - COLOUR).mean() < grey / 2


def test_a_loss_that_is_no_number_stops_the_training():
    heard = Heard()
    with pytest.raises(UserError, match="after epoch 1: lower the learning rate"):
        training.train(coloured(8), replace(PLAN, learning_rate=1e30), 0, heard)
    assert heard == []


def test_fewer_images_than_a_batch_are_one_batch():
    plan = replace(PLAN, epochs=1, batch_size=128)
    _, history = training.train(coloured(3), plan, 0, silent)
    assert np.isfinite(history["gan_g_loss"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 210}, "choose a size of 32, 64 or 128"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"latent": -1}, "latent is -1"),
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"beta_1": 1.0}, "beta_1 is 1.0"),
    ],
)
def test_a_plan_out_of_range_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(PLAN, **change)


def test_generated_images_depend_on_the_seed_alone_and_not_on_their_number(one_run):
    generator = one_run[0]
    ten = training.generate(generator, 10, 5)
    assert ten.shape == (10, 32, 32, 3)
    assert ten.dtype == np.uint8
    assert np.array_equal(ten, training.generate(generator, 10, 5))
    assert not np.array_equal(ten, training.generate(generator, 10, 6))
    assert training.generate(generator, 70, 5, size_out=20).shape == (70, 20, 20, 3)
    assert training.generate(generator, 0, 5).shape == (0, 32, 32, 3)


def test_resize_keeps_a_flat_colour_and_does_not_alias():
    flat = np.full((1, 32, 32, 3), COLOUR, np.uint8)
    assert (training.resize(flat, (10, 50)) == COLOUR).all()
    assert training.resize(flat, (10, 50)).shape == (1, 10, 50, 3)
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(training.resize(stripes, 16)[:, :, 2:-2].astype(int) - 127).max() <= 4


def test_reading_the_settings_does_not_load_tensorflow():
    code = (
        "import sys; from leukemia.techniques import dcgan; dcgan.Settings();"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_settings_are_the_thesis_values():
    assert dcgan.Settings() == dcgan.Settings(128, 1000, 128, 100, 1e-4, 0.5, "")


def test_classes_are_equal_and_the_made_cells_flagged(result):
    train = cells()
    assert result.cells.counts() == (9, 9)
    assert result.synthetic.tolist() == [False] * 14 + [True] * 4
    assert np.array_equal(result.cells.images[:14], train.images)
    assert result.cells.images.shape == (18, 24, 24, 3)
    assert result.cells.images.dtype == np.uint8
    assert set(result.cells.origin[14:]) == {"made:dcgan"}


def test_the_input_is_left_as_it_was():
    train = cells()
    before = train.digest()
    train.images.flags.writeable = False
    balanced(train, replace(SETTINGS, gan_epochs=1))
    assert train.digest() == before


def test_the_run_keeps_what_the_generator_was_trained_on(result):
    train = cells()
    trained_on = json.loads(result.files["generator/trained_on.json"])
    assert trained_on.pop("seed") >= 0
    digest = train.take(train.labels == 0).digest()
    assert trained_on == {"digest": digest, "count": 5, "size": 32, "epochs": 2}


def test_a_generator_used_again_makes_the_same_cells(result, folder):
    again = balanced(cells(), replace(SETTINGS, gan_run=str(folder)))
    assert np.array_equal(again.cells.images, result.cells.images)
    assert again.files == result.files


def test_a_generator_of_other_cells_is_refused(folder):
    other = cells(rare=6)
    with pytest.raises(UserError, match="trained on other cells"):
        balanced(other, replace(SETTINGS, gan_run=str(folder)))


def test_a_folder_without_a_generator_is_refused(folder):
    (folder / "trained_on.json").write_text("{}")
    for nowhere in (folder, folder / "absent"):
        with pytest.raises(UserError, match="no trained generator"):
            balanced(cells(), replace(SETTINGS, gan_run=str(nowhere)))


def test_a_damaged_generator_is_refused(folder):
    (folder / "generator.keras").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read"):
        balanced(cells(), replace(SETTINGS, gan_run=str(folder)))


def test_balanced_cells_are_left_alone():
    assert not balanced(cells(5, 5)).synthetic.any()


def test_one_cell_is_too_few():
    with pytest.raises(UserError, match="has 1 training cells"):
        balanced(cells(rare=1))
