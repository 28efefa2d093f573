"""The picture of an audit: how many findings of each kind, and cells that are one twice."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from leukemia.audit import Audit
from leukemia.evaluation.figures import DPI, grid
from leukemia.leaks import KINDS, Finding
from leukemia.names import LEAKS

PAIRS = 6  # of cells that are shown
WIDTH = 8.0  # inches


def figure(
    audit: Audit,
    footnote: str,
    origin: np.ndarray | None = None,
    images: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8: a bar a kind, red where it blocks, above the first pairs of cells.

    origin: (n,) str, paths as in the findings, of the images (n, S, S, 3) uint8.
    """
    known = {} if origin is None or images is None else _rows(origin)
    shown = [
        each for each in audit.findings if len(each.cells) > 1 and known.keys() >= set(each.cells)
    ]
    rows = -(-len(shown[:PAIRS]) // 2)
    heights = [3.0, *[2.5] * rows]
    whole = Figure((WIDTH, sum(heights) + 1.4), dpi=DPI)
    places = whole.add_gridspec(1 + rows, 2, height_ratios=heights)
    _draw_counts(whole.add_subplot(places[0, :]), audit)
    for number, finding in enumerate(shown[:PAIRS]):
        pair = np.stack([images[known[path]] for path in finding.cells[:2]])  # type: ignore[index]
        _draw_pair(whole.add_subplot(places[1 + number // 2, number % 2]), finding, pair)
    return _render(whole, audit, footnote)


def _rows(origin: np.ndarray) -> dict[str, int]:
    return {path: row for row, path in enumerate(origin.tolist())}


def _draw_counts(axes: Axes, audit: Audit) -> None:
    counts = [audit.counts.get(kind, 0) for kind in KINDS]
    colours = ["firebrick" if kind in LEAKS else "grey" for kind in KINDS]
    bars = axes.barh([f"{kind}: {said}" for kind, said in KINDS.items()], counts, color=colours)
    axes.bar_label(bars, padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12 * max(*counts, 1)), xticks=[])
    axes.set_title("findings; the red ones block", size=9, loc="left")
    axes.tick_params("y", labelsize=8)


def _draw_pair(axes: Axes, finding: Finding, pair: np.ndarray) -> None:
    axes.imshow(grid(pair, 2))
    axes.set_title("\n".join(textwrap.wrap(f"{finding.kind}: {finding.text}", 58)[:4]), size=6.5)
    axes.axis("off")


def _render(whole: Figure, audit: Audit, footnote: str) -> np.ndarray:
    count = len(audit.blocking)
    whole.suptitle(f"audit: {count or 'no'} leak{'s' * (count != 1)} found", size=12)
    lines = textwrap.wrap(footnote, round(17 * WIDTH))
    whole.text(0.01, 0.01, "\n".join(lines), size=6.5, color="dimgrey", va="bottom")
    height = whole.get_size_inches()[1]
    bottom, top = (0.4 + 0.11 * len(lines)) / height, 1 - 0.7 / height
    whole.subplots_adjust(left=0.46, right=0.97, bottom=bottom, top=top, hspace=0.35)
    canvas = FigureCanvasAgg(whole)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
