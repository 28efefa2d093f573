"""The technique that balances with a GAN: what it makes, keeps, reviews and refuses."""

import io
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.contract import TechniqueContext, TrainingSet
from leukemia.errors import UserError
from leukemia.gan.config import MODERN, THESIS, GanConfig
from leukemia.techniques import dcgan

# Saving a model has NumPy copy TensorFlow's variables, whose __array__ knows no `copy` yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOUR = (200, 60, 120)
SETTINGS = dcgan.Settings(gan="thesis", gan_size=32, gan_epochs=2, gan_batch=4, latent=8)


def coloured(n: int, side: int = 24, seed: int = 0) -> np.ndarray:
    noisy = np.random.default_rng(seed).normal(COLOUR, 12, (n, side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def cells(rare: int = 9, frequent: int = 18, seed: int = 0) -> Cells:
    n = rare + frequent
    names = np.array([f"s{row}" for row in range(n)])
    labels = (np.arange(n) >= rare).astype(np.int8)
    return Cells(images=coloured(n, seed=seed), labels=labels, subjects=names, cell_id=names)


def balanced(train: Cells, settings: Any = SETTINGS, seed: int = 1, **context: Any) -> TrainingSet:
    return dcgan.balance(
        train, settings, TechniqueContext(rng=np.random.default_rng(seed), **context)
    )


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


def test_reading_the_settings_does_not_load_tensorflow():
    code = (
        "import sys; from leukemia.techniques import dcgan; dcgan.Settings();"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_without_settings_a_recipe_is_what_its_source_says():
    assert dcgan.config_of(techniques.defaults(dcgan, "thesis"), 210) == THESIS
    assert dcgan.config_of(dcgan.Settings(), 210) == replace(MODERN, size=224)
    assert dcgan.config_of(dcgan.Settings(), 48).size == 48


def test_every_setting_of_a_recipe_can_be_given():
    given = dcgan.Settings(
        gan="thesis", gan_size=64, gan_epochs=3, gan_batch=5, latent=6, gan_lr=0.1, beta_1=0.2,
        gan_d_rate=4.0,
        gan_smoothing=0.3, gan_spectral=True, gan_r1=2.0, gan_augment="all",
        gan_ema=0.9, gan_norm=True, gan_eight_bit=True, gan_merged=True, gan_precision="bfloat16",
        gan_loss="hinge", gan_conditional=True,
    )  # fmt: skip
    usual, config_of = vars(THESIS), vars(dcgan.config_of(given, 48))
    assert {name for name in usual if usual[name] == config_of[name]} == {"shared"}
    assert dcgan.config_of(dcgan.Settings(gan="thesis", gan_shared=True), 48).shared
    with pytest.raises(UserError, match="loss is hinge: give binary, or shared=false"):
        dcgan.Settings(gan_shared=True)


def test_classes_are_equal_and_the_made_cells_flagged(result):
    train = cells()
    assert result.cells.counts() == (18, 18)
    assert result.synthetic.tolist() == [False] * 27 + [True] * 9
    assert np.array_equal(result.cells.images[:27], train.images)
    assert result.cells.images.shape == (36, 24, 24, 3)
    assert result.cells.images.dtype == np.uint8
    assert set(result.cells.cell_id[27:]) == {"synthetic:dcgan"}


def test_the_run_keeps_what_the_generator_was_trained_on(result):
    train = cells()
    trained_on = json.loads(result.files["generator/trained_on.json"])
    assert trained_on.pop("seed") >= 0
    assert trained_on.pop("epoch_of_generator") in (1, 2)
    digest = train.take(train.labels == 0).digest()
    assert trained_on == {"digest": digest, "count": 7, "size": 32, "epochs": 2}


def test_the_run_keeps_the_course(result):
    assert set(result.files) == {
        "generator/generator.keras", "generator/trained_on.json", "gan/plan.json", "gan/losses.csv",
        "gan/epochs.csv", "gan/course.png", "gan/samples.gif",
    }  # fmt: skip
    config = json.loads(result.files["gan/plan.json"])
    assert GanConfig(**config) == dcgan.config_of(SETTINGS, 24)
    assert len(result.files["gan/losses.csv"].splitlines()) == 1 + 2 * 1  # 7 cells: one batch of 4
    assert result.files["gan/samples.gif"].startswith(b"GIF89a")


def test_its_epoch_is_chosen_on_training_subjects_that_it_does_not_learn_from(result):
    """Two of nine are held out; a technique is not even given the validation cells."""
    assert "unseen" not in {each.name for each in fields(TechniqueContext)}
    assert re.match(
        r"Generator of epoch [12] of 2: lowest KID \(fixed features\) to 2 training cells of 2 "
        r"subjects that it did not learn from\.",
        result.notes["gan_epoch"],
    )
    epochs = pd.read_csv(io.BytesIO(result.files["gan/epochs.csv"]), index_col="epoch")
    chosen = json.loads(result.files["generator/trained_on.json"])["epoch_of_generator"]
    assert epochs["gan_kid"].idxmin() == chosen


def test_with_few_subjects_none_is_held_out_and_the_last_epoch_is_taken():
    made = balanced(cells(rare=7))
    assert made.notes["gan_epoch"].startswith(
        "Generator of the last epoch, 2: the rarer class has 7 training subjects, too few"
    )
    assert "gan_kid" not in made.files["gan/epochs.csv"].decode()
    assert json.loads(made.files["generator/trained_on.json"])["count"] == 7
    assert "synth_attack_discriminator" not in made.metrics


def test_the_discriminator_is_attacked_with_the_cells_that_were_held_out(result):
    assert 0 <= result.metrics["synth_attack_discriminator"] <= 1


def test_a_share_of_copies_is_allowed_and_no_more(result):
    assert result.most_copies == 0.05
    assert balanced(cells(), replace(SETTINGS, gan_copies=0.5)).most_copies == 0.5


def test_a_generator_used_again_makes_the_same_cells(result, folder):
    again = balanced(cells(), replace(SETTINGS, gan_run=str(folder)))
    assert np.array_equal(again.cells.images, result.cells.images)
    for name in ("generator/generator.keras", "generator/trained_on.json"):
        assert again.files[name] == result.files[name]


def test_a_generator_of_other_cells_is_refused(folder):
    with pytest.raises(UserError, match="trained on other cells"):
        balanced(cells(rare=6), replace(SETTINGS, gan_run=str(folder)))


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
