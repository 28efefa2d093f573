"""A GAN's training on tiny flat-coloured images: its course, its detectors, its checkpoints."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia.errors import UserError
from leukemia.gan import collapse, networks, pictures, training
from leukemia.gan.config import MODERN, GanConfig
from leukemia.gan.step import METRICS, compiled, players
from leukemia.gan.training import SampleScorer, Terms
from leukemia.model import checkpoint, precision
from leukemia.report import silent

# Saving a model has NumPy copy TensorFlow's variables, whose __array__ knows no `copy` yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOUR = (200, 60, 120)
PLAN = GanConfig(size=32, latent=8, epochs=2, batch_size=4, learning_rate=1e-3)
ALL = replace(
    MODERN, size=32, latent=8, epochs=2, batch_size=4, smoothing=0.1, r1=1.0, augment="all",
    conditional=True,
)  # fmt: skip


def coloured(n: int, side: int = 32, seed: int = 0) -> np.ndarray:
    noisy = np.random.default_rng(seed).normal(COLOUR, 12, (n, side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def others_for(config: GanConfig) -> np.ndarray | None:
    """Green images of another kind, where the config asks for them."""
    return coloured(12, seed=4)[..., ::-1] // 2 if config.conditional else None


class Heard(list):
    """Everything that was reported, as (step, values)."""

    def __call__(self, step, values) -> None:
        self.append((step, values))

    def named(self, name: str) -> dict:
        return {step: values[name] for step, values in self if name in values}


def weights(trained: training.Trained) -> list[bytes]:
    players = trained.generator.weights + trained.discriminator.weights
    return [np.asarray(each).tobytes() for each in players]


@pytest.fixture(scope="module")
def one_run():
    heard = Heard()
    return training.train(coloured(9), PLAN, 7, heard), heard


def test_the_report_has_four_means_and_seconds_each_epoch(one_run):
    trained, heard = one_run
    for name in (*METRICS, "gan_seconds"):
        values = heard.named(name)
        assert list(values) == [1, 2]
        assert np.isfinite(list(values.values())).all()
        assert values == trained.progress.history[name]
    shares = [*heard.named("gan_d_real").values(), *heard.named("gan_d_fake").values()]
    assert min(shares) >= 0
    assert max(shares) <= 1


def test_every_step_is_kept_and_an_epoch_is_the_mean_of_its_steps(one_run):
    progress = one_run[0].progress
    assert progress.steps.shape == (4, 4)  # two batches of four in each of two epochs
    for column, name in enumerate(METRICS):
        expected = progress.steps[:, column].reshape(2, 2).mean(1)
        np.testing.assert_allclose(list(progress.history[name].values()), expected, rtol=1e-6)


def test_the_first_and_last_epoch_show_a_grid_of_32_samples(one_run):
    grids = one_run[1].named("gan_samples")
    assert list(grids) == [1, 2]
    for grid in grids.values():
        assert grid.shape == (4 * 32, 8 * 32, 3)
        assert grid.dtype == np.uint8
    assert (grids[1] != grids[2]).any()


def test_samples_are_shown_at_ten_epochs():
    assert sorted(training.looks(1000)) == [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]


def test_same_seed_same_weights_bit_for_bit(one_run):
    keras.utils.set_random_seed(99)
    assert weights(training.train(coloured(9), PLAN, 7, silent)) == weights(one_run[0])


def test_another_seed_gives_other_weights(one_run):
    other = training.train(coloured(9), replace(PLAN, epochs=1), 8, silent)
    assert weights(other)[0] != weights(one_run[0])[0]


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "hinge"},
        {"smoothing": 0.1},
        {"spectral": True},
        {"r1": 10.0},
        {"augment": "turns"},
        {"augment": "all"},
        {"ema": 0.9},
        {"norm": True},
        {"eight_bit": True},
        {"merged": True},
        {"discriminator_rate": 3.0},
        {"shared": True},
        {"conditional": True},
        {"precision": "bfloat16"},
    ],
    ids=lambda change: "_".join(map(str, next(iter(change.items())))),
)
def test_each_ingredient_changes_the_course(one_run, change):
    config = replace(PLAN, **change)
    other = training.train(coloured(9), config, 7, silent, others=others_for(config))
    assert np.isfinite(other.progress.steps).all()
    assert pictures.generate(other.generator, 2, 0).shape == (2, 32, 32, 3)
    assert weights(other) != weights(one_run[0])


@pytest.mark.parametrize("merged", [False, True])
def test_one_shared_pass_gives_the_generator_its_very_gradient(merged):
    """Against the gradient of its loss taken directly, with plain descent in place of Adam."""
    config = replace(PLAN, shared=True, merged=merged)
    images = coloured(4)
    of = players(config, 0)
    still = keras.optimizers.SGD(0.0)
    still.build(of.discriminator.trainable_variables)
    descent = keras.optimizers.SGD(1.0)
    descent.build(of.generator.trainable_variables)
    of = replace(of, of_generator=descent, of_discriminator=still)
    of.discriminator.layers[-3].rate = 0.0  # dropout would draw anew in another pass
    before = [np.asarray(each) for each in of.generator.trainable_variables]
    real = images / np.float32(127.5) - 1
    latent = tf.random.stateless_normal((4, 8), tf.constant([0, 8 * 3 + 1], tf.int64))
    with tf.GradientTape() as tape:
        made = of.generator(latent, training=True)
        seen = tf.concat([real, made], 0) if merged else made
        logits = of.discriminator(seen, training=True)[-4:]
        loss = tf.reduce_mean(tf.nn.softplus(-logits))
    expected = tape.gradient(loss, of.generator.trainable_variables)
    values = compiled(of, config, 4, 0)(images, np.zeros(4, bool), np.int64(3))
    assert float(values[0]) == pytest.approx(float(loss), rel=1e-4)
    for one, other, gradient in zip(
        before, of.generator.trainable_variables, expected, strict=True
    ):
        np.testing.assert_allclose(one - np.asarray(other), gradient, rtol=2e-3, atol=2e-6)


class TestOfBothKinds:
    """A conditional GAN: red images are wanted, green ones teach as well."""

    config = replace(PLAN, conditional=True, epochs=30, batch_size=8)

    @pytest.mark.slow
    def test_the_wanted_kind_is_made_and_not_the_other(self):
        images, others = coloured(16), coloured(40)[..., ::-1]
        trained = training.train(images, self.config, 3, silent, others=others)
        red, _, blue = pictures.generate(trained.generator, 32, 0).mean((0, 1, 2))
        assert red > blue + 40  # (200, 60, 120) is wanted, (120, 60, 200) is not
        other = training.train(others, self.config, 3, silent, others=images)
        red, _, blue = pictures.generate(other.generator, 32, 0).mean((0, 1, 2))
        assert blue > red + 40

    def test_an_epoch_shows_every_wanted_image_and_as_many_others(self):
        config = replace(self.config, epochs=1, batch_size=4)
        trained = training.train(coloured(8), config, 3, silent, others=coloured(100))
        assert len(trained.progress.steps) == 4
        few = training.train(coloured(8), config, 3, silent, others=coloured(4))
        assert len(few.progress.steps) == 3

    def test_the_kept_generator_makes_what_the_trained_one_makes_of_the_wanted_kind(self):
        generator = networks.generator(self.config, 0)
        alone = networks.generator(replace(self.config, conditional=False), 1)
        weights = [w + 0.01 for w in generator.get_weights()]
        generator.set_weights(weights)
        alone.set_weights(networks.first_kind(self.config, weights))
        latent = pictures.latent(5, self.config.latent, 0)
        told = np.concatenate([latent, np.tile(np.array([1, 0], np.float32), (5, 1))], 1)
        np.testing.assert_allclose(alone(latent), generator(told), atol=1e-6)

    def test_the_discriminator_that_comes_back_judges_the_wanted_kind(self):
        config = replace(self.config, epochs=1)
        trained = training.train(coloured(8), config, 3, silent, others=coloured(8))
        assert trained.discriminator.output_shape == (None, 1)

    def test_others_without_a_conditional_plan_are_a_mistake(self):
        for config, others in ((PLAN, coloured(9)), (self.config, None)):
            with pytest.raises(ValueError, match="others go with a conditional config"):
                training.train(coloured(9), config, 0, silent, others=others)


def test_the_precision_left_to_the_machine_follows_what_its_processor_says(tmp_path, monkeypatch):
    said = {"fma avx2 avx512f": "float32", "avx512f avx512_bf16 fma": "bfloat16"}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])  # a GPU decides first
    for flags, expected in said.items():
        monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "cpuinfo")
        precision.PROCESSOR.write_text(f"processor: 0\nflags: {flags}\n")
        precision.faster.cache_clear()
        assert training.resolved(replace(PLAN, precision="auto")).precision == expected
    precision.faster.cache_clear()
    assert training.resolved(PLAN) == PLAN


def test_categorical_cross_entropy_over_one_output_teaches_nothing():
    config = replace(PLAN, loss="categorical")
    trained = training.train(coloured(9), config, 7, silent)
    assert (trained.progress.steps[:, :2] == 0).all()
    fresh = networks.generator(config, 7)
    for one, other in zip(trained.generator.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_training_moves_the_made_images_towards_the_colour_of_the_real_ones():
    config = replace(PLAN, epochs=30, batch_size=8)
    trained = training.train(coloured(16), config, 3, silent)
    colour = pictures.generate(trained.generator, 32, 0).mean((0, 1, 2))
    grey = np.abs(np.array(COLOUR) - 127.5).mean()
    assert np.abs(colour - COLOUR).mean() < grey / 2


def test_fewer_images_than_a_batch_are_one_batch():
    trained = training.train(coloured(3), replace(PLAN, epochs=1, batch_size=128), 0, silent)
    assert len(trained.progress.steps) == 1


def test_the_generator_that_measures_best_is_kept():
    """A scorer that likes the second of three epochs best."""
    config, kid = replace(PLAN, epochs=3), iter([0.3, 0.1, 0.2])
    scorer = SampleScorer(
        count=5, measure=lambda made: {"gan_kid": next(kid), "gan_seen": float(len(made))}
    )
    heard = Heard()
    best = training.train(coloured(9), config, 7, heard, Terms(scorer=scorer))
    assert best.chosen_epoch == 2
    assert heard.named("gan_kid") == {1: 0.3, 2: 0.1, 3: 0.2}
    assert set(heard.named("gan_seen").values()) == {5.0}
    last = training.train(coloured(9), replace(config, epochs=2), 7, silent)
    made, expected = (pictures.generate(each.generator, 9, 0) for each in (best, last))
    np.testing.assert_array_equal(made, expected)


class TestDetectors:
    def test_a_loss_that_is_no_number_is_told_with_its_step(self):
        with pytest.raises(UserError, match=r"not a finite number in step \d+ of epoch 1: lower"):
            training.train(coloured(8), replace(PLAN, learning_rate=1e30), 0, silent)

    def test_the_first_step_that_is_no_number(self):
        losses = np.zeros((6, 4), np.float32)
        assert collapse.first_bad_step(losses) is None
        losses[3, 1], losses[5, 0] = np.nan, np.inf
        assert collapse.first_bad_step(losses) == 3

    def test_a_discriminator_that_wins_every_time_is_pinned_only_after_its_patience(self):
        winning = [1.0] * 10
        assert collapse.pinned(winning, winning, 50)
        assert not collapse.pinned(winning[:9], winning[:9], 50)
        assert not collapse.pinned(winning, [*winning[:9], 0.9], 50)
        assert not collapse.pinned(winning, winning, 500)  # a tenth of 500 epochs

    def test_spread_is_the_deviation_of_a_pixel_over_the_images(self):
        images = coloured(40)
        assert collapse.spread(images) == pytest.approx(images.std(0).mean(), rel=0.02)
        assert collapse.spread(np.repeat(images[:1], 5, 0)) == 0

    def test_one_image_again_and_again_is_a_collapse_but_not_at_the_beginning(self):
        assert collapse.uniform(0.05, 50, 100)
        assert not collapse.uniform(0.05, 10, 100)
        assert not collapse.uniform(0.5, 50, 100)

    def collapsing(self, terms: Terms, heard: Heard) -> training.Trained:
        """A generator that cannot learn beside a discriminator that can: pinned."""
        config = replace(PLAN, epochs=40, learning_rate=1e-7, discriminator_rate=1e5)
        equal = np.full((8, 32, 32, 3), COLOUR, np.uint8)
        return training.train(equal, config, 0, heard, terms)

    def test_a_collapse_stops_the_training_if_asked_to(self):
        with pytest.raises(UserError, match="over 99% of real and made images for 10 epochs, up"):
            self.collapsing(Terms(on_collapse="stop"), Heard())

    def test_a_collapse_is_reported_once_where_it_is_ignored(self):
        heard = Heard()
        assert self.collapsing(Terms(on_collapse="ignore"), heard).progress.epoch == 40
        assert list(heard.named("gan_collapse").values()) == [1.0]

    def test_a_collapse_begins_anew_three_times_and_counts_the_epochs_on(self):
        heard = Heard()
        with pytest.raises(UserError, match="over 99%"):
            self.collapsing(Terms(on_collapse="restart"), heard)
        assert list(heard.named("gan_restarts").values()) == [1.0, 2.0, 3.0]
        epochs = list(heard.named("gan_g_loss"))
        assert epochs == list(range(1, epochs[-1] + 1))


class TestCheckpoints:
    images = coloured(9)

    def interrupted(self, folder: Path, config: GanConfig, after: int) -> None:
        """Stop right after an epoch's checkpoint, as a kill between two epochs would."""

        def stop(epoch, values) -> None:
            if epoch > after and "gan_g_loss" in values:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            training.train(self.images, config, 7, stop, Terms(folder=folder), others_for(config))

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(training, "CHECKPOINT_S", 0)

    @pytest.mark.parametrize("recipe", [PLAN, ALL], ids=["thesis", "modern"])
    def test_an_interrupted_training_reaches_the_state_of_an_uninterrupted_one(
        self, tmp_path, recipe
    ):
        config, heard = replace(recipe, epochs=4), Heard()
        others = others_for(config)
        whole = training.train(self.images, config, 7, silent, others=others)
        self.interrupted(tmp_path, config, after=2)
        resumed = training.train(self.images, config, 7, heard, Terms(folder=tmp_path), others)
        assert weights(resumed) == weights(whole)
        np.testing.assert_array_equal(resumed.progress.steps, whole.progress.steps)
        assert list(heard.named("gan_g_loss")) == [1, 2, 3, 4]
        assert list(heard.named("gan_samples")) == [1, 2, 3, 4]

    def test_a_finished_training_is_not_trained_again(self, tmp_path):
        first = training.train(self.images, PLAN, 7, silent, Terms(folder=tmp_path))
        start = time.monotonic()
        again = training.train(self.images, PLAN, 7, silent, Terms(folder=tmp_path))
        assert weights(again) == weights(first)
        assert again.progress.history == first.progress.history
        assert time.monotonic() - start < 30

    def test_a_checkpoint_of_another_training_is_refused(self, tmp_path):
        training.train(self.images, PLAN, 7, silent, Terms(folder=tmp_path))
        with pytest.raises(UserError, match="is of another training"):
            training.train(coloured(9, seed=1), PLAN, 7, silent, Terms(folder=tmp_path))

    def test_a_damaged_checkpoint_is_refused(self, tmp_path):
        training.train(self.images, PLAN, 7, silent, Terms(folder=tmp_path))
        path = tmp_path / "attempt_0" / checkpoint.FILE
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            training.train(self.images, PLAN, 7, silent, Terms(folder=tmp_path))

    def test_a_full_disk_leaves_the_last_good_checkpoint(self, tmp_path):
        """A file size limit stands for the disk: the system call fails in the same place."""
        code = f"""
import resource, signal
from tests.test_gan_training import *
training.CHECKPOINT_S = 0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
config, folder = replace(PLAN, epochs=3), Path({str(tmp_path)!r})
def fill(epoch, values):
    if epoch == 2 and "gan_g_loss" in values:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    training.train(TestCheckpoints.images, config, 7, fill, Terms(folder=folder))
except UserError as error:
    print(error)
"""
        said = python(code).stdout
        assert "checkpoint cannot be written" in said
        assert "File too large" in said
        assert [path.name for path in (tmp_path / "attempt_0").iterdir()] == [checkpoint.FILE]
        config = replace(PLAN, epochs=3)
        resumed = training.train(self.images, config, 7, silent, Terms(folder=tmp_path))
        assert weights(resumed) == weights(training.train(self.images, config, 7, silent))


def python(code: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )


def killed_and_resumed(folder: Path, moments: Iterator[float]) -> str:
    """Train in a process that is killed with -9 at each moment, in seconds after its first
    epoch, and started again; the hash of all that the last one ends with."""
    code = f"""
from hashlib import sha256
from tests.test_gan_training import *
training.CHECKPOINT_S = 0.2
config = replace(ALL, epochs=20)
trained = training.train(coloured(24), config, 7, lambda *said: print("on", flush=True),
                         Terms(folder=Path({str(folder)!r})), others_for(config))
print("hash", sha256(b"".join(weights(trained)) + trained.progress.steps.tobytes()).hexdigest())
"""
    root = Path(__file__).parents[1]
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        process.stdout.readline()
        moment = next(moments, None)
        if moment is None:
            name, digest = process.communicate()[0].split()[-2:]
            assert (name, process.returncode) == ("hash", 0)
            return digest
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_any_moment_it_reaches_the_same_state_bit_for_bit(tmp_path):
    moments = np.random.default_rng().uniform(0, 1, 2).tolist()
    whole = killed_and_resumed(tmp_path / "whole", iter(()))
    assert killed_and_resumed(tmp_path / "killed", iter(moments)) == whole, moments
