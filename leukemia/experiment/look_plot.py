"""The contact sheet of a data set: some cells of every class, each under its subject."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from leukemia import RESEARCH_ONLY
from leukemia.evaluation.plots import DPI, NAME, render
from leukemia.experiment.look import SHOWN, Look, as_text
from leukemia.splits.protocol import SUBJECTS_UNKNOWN
from leukemia.text.spreadsheet import as_csv

# Inches: of the figure, its heading, a row of cells with their names, the footnote.
WIDTH, TOP, ROW, FOOT = 10.0, 0.7, 1.55, 0.7
LABELS = 0.16  # of the width, for the classes' names
LONGEST = 16  # characters of a subject's name


def contact_sheet(seen: Look, title: str) -> np.ndarray:
    """(H, W, 3) uint8: a row a class, the most frequent first, each cell under its subject."""
    rows = len(seen.shown)
    height = TOP + ROW * rows + FOOT
    figure = Figure((WIDTH, height), dpi=DPI)
    counts = seen.frame["label"].value_counts()
    for number, (name, cells) in enumerate(seen.shown.items()):
        bottom = (FOOT + ROW * (rows - 1 - number)) / height
        share = counts[name] / len(seen.frame)
        told = f"{textwrap.fill(name[:60], NAME // 2)}\n{counts[name]} images\n{share:.1%}"
        figure.text(0.01, bottom + 0.6 * ROW / height, told, size=8, va="center")
        for column, (row, cell) in enumerate(cells):
            left = LABELS + (1 - LABELS) * column / SHOWN
            side = (1 - LABELS) / SHOWN - 0.006
            axes = figure.add_axes((left, bottom, side, (ROW - 0.35) / height))
            axes.imshow(cell)
            axes.set_title(_under(seen, row), size=6)
            axes.axis("off")
    more = seen.frame["label"].nunique() - rows
    footnote = " ".join([
        f"{more} more classes are not shown." * bool(more),
        f"{SUBJECTS_UNKNOWN}." * (not seen.subjects_known),
        f"SIMULATED: {seen.listing.simulated}." * bool(seen.listing.simulated),
        RESEARCH_ONLY,
    ])  # fmt: skip
    return render(figure, title, footnote.strip())


def look_files(seen: Look, picture: np.ndarray, folder: Path) -> list[Path]:
    """look.txt, look.csv (one row an image) and look.png, written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"look.{ending}" for ending in ("txt", "csv", "png")]
    paths[0].write_text(as_text(seen) + "\n", encoding="utf-8")
    paths[1].write_text(as_csv(seen.frame), encoding="utf-8", newline="")
    Image.fromarray(picture).save(paths[2])
    return paths


def _under(seen: Look, row: int) -> str:
    image = seen.frame.iloc[row]
    size = f"{image['width']}x{image['height']}"
    if not seen.subjects_known:
        return size
    name = str(image["subject"])
    return f"{name if len(name) <= LONGEST else name[: LONGEST - 1] + '…'}\n{size}"
