"""The files that a run leaves behind: predictions, plots, audit, synthetic cells, errors."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from leukemia import RESEARCH_ONLY
from leukemia.cells import Cells
from leukemia.contract import TrainingSet
from leukemia.evaluation.by_subject import by_subject
from leukemia.evaluation.error_page import page
from leukemia.experiment import CLASSES, ERRORS, GOLDEN, PREDICTIONS, SUBJECTS, SYNTHETIC, plots
from leukemia.experiment.class_plots import class_counts
from leukemia.experiment.config import Experiment
from leukemia.experiment.run import Outcome
from leukemia.images import Images
from leukemia.splits.audit_plot import audit_files, figure
from leukemia.text.spreadsheet import as_csv

GOLDEN_CELLS = 8
MOST_ERRORS = 200  # rows of the page of errors: 13 MB at 210 px if all were noise


def write(
    folder: Path,
    experiment: Experiment,
    outcome: Outcome,
    cells: Cells,
    pictures: Mapping[str, np.ndarray],
) -> None:
    """Write every file of a finished run into an empty folder.

    cells: those of the experiment's index, in its order. pictures: name -> uint8 (H, W, 3), as
    `plots.draw` gives them.
    """
    for place in ("plots", PREDICTIONS):
        (folder / place).mkdir()
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / "plots" / f"{name}.png")
    for split, predictions in outcome.predictions.items():
        table = pd.DataFrame(vars(predictions))
        _write(folder / PREDICTIONS / f"{split}.csv", as_csv(table))
    _write(folder / CLASSES, as_csv(class_counts(experiment, outcome.training_set)))
    _write(folder / SUBJECTS, as_csv(by_subject(outcome.predictions["test"])))
    about = f"{experiment.config.title}. {experiment.protocol_line()} {RESEARCH_ONLY}"
    audit_files(outcome.audit, figure(outcome.audit, about), folder / "audit")
    write_training_set(folder, outcome.training_set)
    shown = experiment.split.rows["test"][:GOLDEN_CELLS]
    scores = outcome.predictions["test"].scores[:GOLDEN_CELLS]
    np.savez_compressed(folder / GOLDEN, images=cells.images[shown], scores=scores)
    _write(folder / ERRORS, _errors(experiment, outcome, cells))


def write_training_set(folder: Path, training_set: TrainingSet) -> None:
    """Write the technique's own files, and the synthetic cells as PNG files in one archive."""
    for name, content in training_set.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if training_set.synthetic.any():
        _zip(folder / SYNTHETIC, training_set.cells.images[training_set.synthetic])


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")  # a table's line ends are its own


def _errors(experiment: Experiment, outcome: Outcome, cells: Cells) -> str:
    """The test cells that were called wrongly, the surest first, as a page with pictures."""
    index, test = experiment.index, outcome.predictions["test"]
    wrong = plots.surest_errors(test)
    shown = wrong[:MOST_ERRORS]
    names = np.array([index.negative, index.positive])
    table = pd.DataFrame(
        {
            "cell": test.cell_id[shown],
            "subject": test.subjects[shown],
            "true": names[test.labels[shown]],
            "called": names[1 - test.labels[shown]],
            f"probability of {index.positive}": [f"{score:.4f}" for score in test.scores[shown]],
        }
    )
    about = (
        f"{experiment.config.title}: {len(wrong)} of {len(test)} test cells were called wrongly; "
        f"{len(shown)} are shown, the surest calls first. A cell is called {index.positive} from a "
        f"probability of {test.threshold:.4g} on. Click a heading to sort. "
        f"{experiment.protocol_line()} {RESEARCH_ONLY}"
    )
    return page(table, cells.images[experiment.split.rows["test"][shown]], about)


def _zip(path: Path, images: Images) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, image in enumerate(images):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png", compress_level=1)
            archive.writestr(f"synthetic_{number:05d}.png", png.getvalue())
