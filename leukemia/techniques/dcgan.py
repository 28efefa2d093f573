"""Cells of the rarer class are made by a DC-GAN until both classes are equally frequent.

A generator learns to make cells that a discriminator cannot tell from the rarer class's
training cells. Source: Radford, Metz & Chintala 2015 (arXiv 1511.06434), as the thesis sets it
in section 4.4.

Wrong when the rarer class has few cells: the generator then copies those it has seen, or makes
the same one again and again. Wrong when the made cells are smaller than the classifier's input:
128 px cells enlarged to 210 px are blurred, and the classifier can learn blur in place of
disease. No two trainings agree, so one run is no evidence.

Cost: 1,000 epochs of 2,300 cells at 128 px took the thesis 8.5 hours on a GPU.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leukemia.cells import Cells, TrainingSet, unchanged, with_made
from leukemia.errors import UserError
from leukemia.report import Report
from leukemia.schedule import Schedule, Stage
from leukemia.techniques import setting

if TYPE_CHECKING:
    import keras

THESIS = Schedule(Stage(1e-4, 10), Stage(1e-4, 20))
# A minute for 100 cells on two cores: enough to see the job work, not to make good cells.
QUICK = {"gan_size": 32, "gan_epochs": 150, "gan_batch": 32, "gan_lr": 2e-4}

# TensorFlow takes seconds to import, and `--help` reads Settings: hence imports in functions.


@dataclass(frozen=True)
class Settings:
    """The thesis' values; `gan_run` spares the training."""

    gan_size: int = setting(128, "side in pixels of the made cells", choices=(32, 64, 128))
    gan_epochs: int = setting(1000, "epochs of the GAN")
    gan_batch: int = setting(128, "cells in a step of the GAN")
    latent: int = setting(100, "length of the vector that a cell is made from")
    gan_lr: float = setting(1e-4, "Adam's learning rate for both networks of the GAN")
    beta_1: float = setting(0.5, "Adam's beta_1 for both networks of the GAN")
    gan_run: str = setting(
        "", "run ID of a run whose trained generator is used again", artifact="generator"
    )


def balance(
    train: Cells, settings: Settings, rng: np.random.Generator, report: Report
) -> TrainingSet:
    """The training cells and as many made ones as the rarer class lacks.

    The generator and what it was trained on come back as files, from a reused one too.

    Raises:
        UserError: fewer than 2 cells to learn from; a setting is out of its range; the reused
            generator was trained on other cells, or is none.
    """
    if train.shortage() == 0:
        return unchanged(train)
    minority = train.take(train.labels == train.minority())
    training_seed, making_seed = rng.integers(2**31, size=2).tolist()
    if settings.gan_run:
        files = _reused(Path(settings.gan_run), minority)
    else:
        files = _trained(minority, settings, training_seed, report)

    from leukemia.gan.training import generate

    generator = _load(files["generator.keras"])
    made = generate(generator, train.shortage(), making_seed, train.images.shape[1:3])
    kept = {f"generator/{name}": content for name, content in files.items()}
    return with_made(train, made, "dcgan", files=kept)


def _trained(cells: Cells, settings: Settings, seed: int, report: Report) -> dict[str, bytes]:
    """A new generator of such cells, as the files of its folder."""
    if len(cells) < 2:
        raise UserError(
            f"the rarer class has {len(cells)} training cells: a GAN needs 2 or more; "
            "add cells, or choose another technique"
        )
    from leukemia.gan import training

    plan = training.Plan(
        size=settings.gan_size,
        latent=settings.latent,
        epochs=settings.gan_epochs,
        batch_size=settings.gan_batch,
        learning_rate=settings.gan_lr,
        beta_1=settings.beta_1,
    )
    images = training.resize(cells.images, plan.size)
    generator, _ = training.train(images, plan, seed, report)
    trained_on = {
        "digest": cells.digest(),
        "count": len(cells),
        "size": plan.size,
        "epochs": plan.epochs,
        "seed": seed,
    }
    return {
        "generator.keras": _saved(generator),
        "trained_on.json": json.dumps(trained_on, indent=2).encode(),
    }


def _reused(folder: Path, cells: Cells) -> dict[str, bytes]:
    """The files of a generator's folder, if it was trained on exactly these cells."""
    try:
        files = {
            name: (folder / name).read_bytes() for name in ("generator.keras", "trained_on.json")
        }
        digest = json.loads(files["trained_on.json"])["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"no trained generator in {folder} ({error}): give the ID of a finished dcgan run"
        ) from error
    if digest != cells.digest():
        raise UserError(
            f"the generator in {folder} was trained on other cells, so cells of this split's "
            "validation or test subjects may be in it: train anew, or use the same data, seed "
            "and split"
        )
    return files


def _saved(generator: "keras.Model") -> bytes:
    """The generator as a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "generator.keras")
        generator.save(path)
        return path.read_bytes()


def _load(saved: bytes) -> "keras.Model":
    """The generator in a .keras file, which cannot run code of its own (safe mode)."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "generator.keras")
        path.write_bytes(saved)
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the trained generator cannot be read ({reason}): give another run, or train anew"
            ) from error
