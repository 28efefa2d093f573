"""What is kept of a training, as the files of a run, and a generator read back from them."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import keras

from leukemia.errors import UserError
from leukemia.evaluation.plots import png
from leukemia.gan import course_plot, pictures
from leukemia.gan.config import GanConfig
from leukemia.gan.training import Trained

FOLDER = "generator"
GENERATOR, TRAINED_ON = "generator.keras", "trained_on.json"


def files(
    trained: Trained,
    config: GanConfig,
    trained_on: dict[str, str | int],
    floor: float | None,
    title: str,
    about: str,
) -> dict[str, bytes]:
    """The generator with what it was trained on, the config, losses by step, figures by epoch, a
    picture of both, and the samples as they changed.

    trained_on: what identifies the images: their digest among it. floor: the KID of perfect
    samples, where it was measured.
    """
    progress = trained.progress
    description = {
        **trained_on,
        "epochs": config.epochs,
        "size": config.size,
        "epoch_of_generator": trained.chosen_epoch,
    }
    grids = [progress.grids[epoch] for epoch in sorted(progress.grids)]
    drawn = course_plot.figure(progress, trained.chosen_epoch, floor, title, about)
    return {
        f"{FOLDER}/{GENERATOR}": _saved(trained.generator),
        f"{FOLDER}/{TRAINED_ON}": json.dumps(description, indent=2).encode(),
        "gan/plan.json": json.dumps(asdict(config), indent=2).encode(),
        "gan/losses.csv": course_plot.steps_csv(progress.steps).encode(),
        "gan/epochs.csv": course_plot.epochs_csv(progress.history).encode(),
        "gan/course.png": png(drawn),
        "gan/samples.gif": pictures.animation(grids),
    }


def again(folder: Path, digest: str) -> dict[str, bytes]:
    """The generator's own two files, if it was trained on the images of this digest.

    Raises:
        UserError: none is there, or it was trained on others.
    """
    try:
        there = {name: (folder / name).read_bytes() for name in (GENERATOR, TRAINED_ON)}
        of = json.loads(there[TRAINED_ON])["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"no trained generator in {folder} ({error}): give the ID of a finished dcgan run"
        ) from error
    if of != digest:
        raise UserError(
            f"the generator in {folder} was trained on other cells, so cells of this split's "
            "validation or test subjects may be in it: train anew, or use the same data, seed "
            "and split"
        )
    return {f"{FOLDER}/{name}": content for name, content in there.items()}


def generator(kept: dict[str, bytes]) -> keras.Model:
    """The generator among these files; it cannot run code of its own (Keras' safe mode)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, GENERATOR)
        path.write_bytes(kept[f"{FOLDER}/{GENERATOR}"])
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except (OSError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the trained generator cannot be read ({reason}): give another run, or train anew"
            ) from error


def _saved(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, GENERATOR)
        model.save(path)
        return path.read_bytes()
