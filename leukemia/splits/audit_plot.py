"""The plot of an audit: how many findings of each kind, and pairs that show one cell."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from leukemia.evaluation.plots import DPI, grid, render
from leukemia.images import Images
from leukemia.splits import LEAKS
from leukemia.splits.audit import Audit, as_json, as_table
from leukemia.splits.leaks import KINDS, Finding
from leukemia.text.spreadsheet import as_csv

PAIRS = 6  # of cells that are shown
# Inches: of the figure, its heading, the bars, a row of pairs with its text, the footnote.
WIDTH, TOP, COUNTS, ROW, FOOT = 8.0, 0.8, 2.6, 2.7, 0.8


def figure(
    audit: Audit,
    footnote: str,
    cell_id: np.ndarray | None = None,
    images: Images | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8: a bar a kind, red where it blocks, above the first pairs of cells.

    cell_id: (n,) str, paths as in the findings, of the images (n, S, S, 3) uint8.
    """
    known = {} if cell_id is None or images is None else _rows(cell_id)
    shown = [
        each for each in audit.findings if len(each.cells) > 1 and known.keys() >= set(each.cells)
    ]
    rows = -(-len(shown[:PAIRS]) // 2)
    height = TOP + COUNTS + ROW * rows + FOOT
    whole = Figure((WIDTH, height), dpi=DPI)
    axes = whole.add_axes((0.47, (FOOT + ROW * rows) / height, 0.5, (COUNTS - 0.3) / height))
    _draw_counts(axes, audit)
    for number, finding in enumerate(shown[:PAIRS]):
        pair = np.stack([images[known[path]] for path in finding.cells[:2]])  # type: ignore[index]
        bottom = FOOT + ROW * (rows - 1 - number // 2)
        place = (0.02 + 0.5 * (number % 2), bottom / height, 0.46, (ROW - 0.85) / height)
        _draw_pair(whole.add_axes(place), finding, pair)
    return render(whole, _title(audit), footnote)


def audit_files(audit: Audit, picture: np.ndarray, folder: Path) -> list[Path]:
    """audit.json, audit.csv and audit.png written to a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"audit.{ending}" for ending in ("json", "csv", "png")]
    paths[0].write_text(as_json(audit), encoding="utf-8")
    paths[1].write_text(as_csv(as_table(audit)), encoding="utf-8", newline="")
    Image.fromarray(picture).save(paths[2])
    return paths


def _rows(cell_id: np.ndarray) -> dict[str, int]:
    return {path: row for row, path in enumerate(cell_id.tolist())}


def _draw_counts(axes: Axes, audit: Audit) -> None:
    counts = [audit.counts.get(kind, 0) for kind in KINDS]
    colours = ["firebrick" if kind in LEAKS else "grey" for kind in KINDS]
    names = [textwrap.fill(f"{kind}: {text}", 48) for kind, text in KINDS.items()]
    bars = axes.barh(names, counts, color=colours)
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12 * max(*counts, 1)), xticks=[])
    axes.set_title("findings; the red ones block", size=9, loc="left")
    axes.tick_params("y", labelsize=8)


def _draw_pair(axes: Axes, finding: Finding, pair: np.ndarray) -> None:
    axes.imshow(grid(pair, 2))
    axes.set_title("\n".join(textwrap.wrap(f"{finding.kind}: {finding.text}", 58)[:4]), size=6.5)
    axes.axis("off")


def _title(audit: Audit) -> str:
    count = len(audit.blocking)
    result = f"{count} finding{'s' * (count > 1)} of a leak" if count else "no leak found"
    return f"audit: {result}"
