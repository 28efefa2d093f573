"""Pictures of an experiment as uint8 arrays (H, W, 3), drawn without a screen."""

import io
import textwrap

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_curve

from leukemia.cells import Cells
from leukemia.evaluation.calibration import Bins
from leukemia.evaluation.metrics import Confusion
from leukemia.evaluation.predictions import THRESHOLD

DPI = 110
MANY_EPOCHS = 16  # have no tick each
GAP = 4  # pixels between the cells of a grid
SUBJECTS = 40  # as many as stay readable
NAME = 26  # characters of a subject's or a class' name
PAPER = {"color": "white", "pad": 0.4}  # behind a text that a line would run through


def confusion_figure(
    counts: Confusion, positive: str, negative: str, title: str, footnote: str
) -> np.ndarray:
    """Counts of cells, and under each its share of the true class."""
    figure = Figure((5.6, 5.6), dpi=DPI)  # MLflow shows pictures in squares
    axes = figure.add_subplot()
    matrix = counts.matrix
    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        rate = rates[row, column]
        text, colour = f"{count}\n{rate:.1%}", "white" if rate > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", size=20, color=colour)
    axes.set_xlabel("called", size=13)
    axes.set_ylabel("true", size=13)
    names = [_short(positive, NAME), _short(negative, NAME)]
    axes.set_xticks([0, 1], names, size=13)
    axes.set_yticks([0, 1], names, size=13)
    return render(figure, title, footnote)


def curves_figure(
    history: list[dict[str, float]], names: list[str], title: str, footnote: str
) -> np.ndarray:
    """The named metrics over the epochs, train dashed and validation solid in one colour.

    A metric without values on a split has no line there: most metrics of scores are not computed
    while training passes.
    """
    figure = Figure((8, 4.2), dpi=DPI)
    axes = figure.add_subplot()
    epochs, alone = [row["epoch"] for row in history], len(names) == 1
    for place, name in enumerate(names):
        for side, line in (("train", "--"), ("val", "-")):
            values = [row.get(f"{side}_{name}", np.nan) for row in history]
            label = f"{side} {name}" if alone else name if side == "val" else None
            if np.isfinite(values).any():
                axes.plot(epochs, values, line, color=_colour(place), label=label)
    axes.set_xlabel("epoch")
    if len(epochs) < MANY_EPOCHS:
        axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    if alone:
        axes.legend(fontsize=8)
        return render(figure, title, footnote)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), title="dashed: train")
    return render(figure, title, footnote, right=0.84)


def _colour(place: int) -> str | tuple[float, ...]:
    """The place-th colour of a chart: Matplotlib's ten, then their ten light ones."""
    return f"C{place}" if place < 10 else colormaps["tab20"](2 * (place - 10) % 20 + 1)


def roc_pr_figure(
    labels: np.ndarray, scores: np.ndarray, positive: str, title: str, footnote: str
) -> np.ndarray:
    """ROC and precision-recall curves with what chance would give."""
    figure, positive = Figure((8, 4.2), dpi=DPI), _short(positive, NAME)
    false_rate, true_rate, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    axes = figure.add_subplot(1, 2, 1)
    axes.plot(false_rate, true_rate)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.set(title="ROC", xlabel="1 - specificity", ylabel=f"sensitivity ({positive})")
    axes = figure.add_subplot(1, 2, 2)
    axes.plot(recall, precision)
    axes.axhline(np.mean(labels), ls=":", color="grey")
    axes.set(title="precision-recall", xlabel="sensitivity", ylabel="precision", ylim=(0, 1.05))
    return render(figure, title, footnote)


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """(n, S, S, 3) uint8 as one picture of rows of `columns` cells on grey."""
    count, side = len(images), images.shape[1]
    rows = -(-count // columns)
    step = side + GAP
    picture = np.full((rows * step + GAP, columns * step + GAP, 3), 90, np.uint8)
    for place, image in enumerate(images):
        top, left = GAP + place // columns * step, GAP + place % columns * step
        picture[top : top + side, left : left + side] = image
    return picture


def real_and_made_figure(
    real: np.ndarray, made: np.ndarray, made_by: str, label: str, footnote: str
) -> np.ndarray:
    """Up to 4 x 8 real cells of the rarer class above as many made ones."""
    figure, label = Figure((7, 7.4), dpi=DPI), _short(label, NAME)
    for place, (cells, name) in enumerate(
        ((real, f"real {label}"), (made, f"SYNTHETIC {label}, made by {made_by}")), 1
    ):
        axes = figure.add_subplot(2, 1, place)
        axes.imshow(grid(cells[:32], 8))
        axes.set_title(name, size=12)
        axes.axis("off")
    return render(figure, "training cells", footnote)


def reliability_figure(
    before: Bins, after: Bins, temperature: float, positive: str, title: str, footnote: str
) -> np.ndarray:
    """Share of positive cells by score, and cells a bin, as predicted and under a temperature."""
    figure, positive = Figure((6.4, 6.8), dpi=DPI), _short(positive, NAME)
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], ":", color="grey", label="perfect")
    for bins, name, marker, fill in (
        (before, "as predicted", "o-", True),
        (after, f"temperature {temperature:.3g}", "s--", False),
    ):
        full = bins.count > 0
        label = f"{name}: ECE {bins.error:.3f}"
        above.plot(bins.mean_score[full], bins.positive_share[full], marker, label=label)
        below.stairs(bins.count, bins.edges, fill=fill, alpha=0.5 if fill else 1, lw=1.8)
    above.set(ylabel=f"share of cells that are '{positive}'", xlim=(0, 1), ylim=(-0.03, 1.03))
    above.legend()
    above.grid(alpha=0.3)
    below.set(xlabel=f"probability of '{positive}' (a point: its bin's mean)", ylabel="cells")
    return render(figure, title, footnote)


def subjects_figure(
    subjects: pd.DataFrame, positive: str, negative: str, title: str, footnote: str
) -> np.ndarray:
    """Error rates of the subjects (a table of `by_subject.worst`), worst first, at most 40."""
    figure = Figure((7, 7.6), dpi=DPI)
    positive, negative = _short(positive, NAME), _short(negative, NAME)
    axes = figure.add_subplot()
    shown = subjects.head(SUBJECTS).reset_index(drop=True)
    axes.axvline(0.5, ls=":", color="grey", zorder=0)
    styles = {"positive": (positive, "C3"), "negative": (negative, "C0"), "both": ("both", "grey")}
    marks, groups = [], []
    for group, of_group in shown["error_rate"].groupby(shown["group"], sort=False):
        name, colour = styles[str(group)]
        axes.hlines(of_group.index, 0, of_group, color=colour, lw=4, alpha=0.6)
        marks += axes.plot(of_group, of_group.index, "o", color=colour)
        groups.append(name)
    columns = (shown[name].tolist() for name in ("error_rate", "errors", "cells"))
    for row, (rate, errors, count) in enumerate(zip(*columns, strict=True)):
        text = f"{errors} of {count}"
        axes.text(rate + 0.02, row, text, va="center", size=7, bbox=PAPER)
    names = [_short(str(name), NAME) for name in shown["subject"]]
    axes.set_yticks(range(len(shown)), names, size=7)
    axes.set_ylim(max(len(shown), 12) - 0.4, -0.6)  # a few subjects lie as close as many
    axes.set(xlabel="share of the subject's cells called wrongly", xlim=(-0.02, 1.14))
    # Named here: a label that begins with an underscore would be left out.
    axes.legend(marks, groups, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    margins = {"left": 0.05 + 0.009 * max(map(len, names)), "top": 1 - 0.85 / 7.6}
    cut = f"The {SUBJECTS} worst of {len(subjects)} subjects. " if len(subjects) > SUBJECTS else ""
    return render(figure, title, cut + footnote, **margins)


def gradcam_figure(
    cells: Cells,
    scores: np.ndarray,
    heat: np.ndarray,
    resolution: tuple[int, int],
    names: tuple[str, str],
    title: str,
    footnote: str,
    threshold: float = THRESHOLD,
) -> np.ndarray:
    """Each cell beside its heat map over it, two cells a row; eight make a square.

    scores (n,), heat (n, S, S) in [0, 1], resolution of the map below it; names of the
    positive and the negative class; threshold: the score from which a cell is called positive.
    """
    rows = -(-len(cells) // 2)
    figure = Figure((8, 1.75 + 2.15 * rows), dpi=DPI)
    places = figure.subplots(rows, 5, squeeze=False, width_ratios=(1, 1, 0.1, 1, 1))
    for axes in places.ravel():
        axes.axis("off")
    places = places[:, [0, 1, 3, 4]].reshape(-1, 2)
    for number, (plain, mapped) in enumerate(places[: len(cells)]):
        plain.imshow(cells.images[number])
        mapped.imshow(cells.images[number].mean(axis=2), cmap="gray")
        mapped.imshow(heat[number], cmap="coolwarm", vmin=0, vmax=1, alpha=0.6)
        score = float(scores[number])
        _caption(plain, cells, number, score, names[0 if score >= threshold else 1], names)
    side = "x".join(map(str, resolution))
    note = (
        f"Red text: called wrongly. Grad-CAM for the called class: blue 0, red the cell's own "
        f"strongest place. The map has {side} places, blended up to {heat.shape[1]} px: nothing "
        f"finer can be read from it."
    )
    margins = {"left": 0.02, "top": 1 - 0.9 / figure.get_figheight(), "wspace": 0.04}
    return render(figure, title, f"{note} {footnote}", hspace=0.28, **margins)


def _caption(
    axes: Axes, cells: Cells, number: int, score: float, called: str, names: tuple[str, str]
) -> None:
    true = names[0 if cells.labels[number] == 1 else 1]
    file = cells.cell_id[number].replace("\\", "/").rpartition("/")[2]
    text = (
        f"{_short(file, 2 * NAME)}\n"
        f"subject {_short(cells.subjects[number], NAME)}; P({_short(names[0], NAME)}) {score:.3f}\n"
        f"true {_short(true, NAME)}, called {_short(called, NAME)}"
    )
    axes.set_title(text, size=7, loc="left", color="black" if true == called else "firebrick")


def _short(name: str, most: int) -> str:
    """The name with its middle left out where it is longer than `most` characters."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def render(figure: Figure, title: str, footnote: str, **margins: float) -> np.ndarray:
    """The drawn figure as uint8 (H, W, 3), with its title and, wrapped below it, a footnote."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(footnote, round(17 * width))
    figure.suptitle(title, size=12)
    figure.text(0.01, 0.01, "\n".join(lines), size=6.5, color="dimgrey", va="bottom")
    usual = {"left": 0.12, "right": 0.97, "hspace": 0.12}
    inches = {"bottom": (0.75 + 0.11 * len(lines)) / height, "top": 1 - 0.65 / height}
    figure.subplots_adjust(**usual | inches | margins)
    return drawn(figure)


def png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png")
    return content.getvalue()


def drawn(figure: Figure) -> np.ndarray:
    """The figure as uint8 (H, W, 3), its text as it is: two `$` in a name begin no formula."""
    for text in _not_of_powers(figure):
        text.set_parse_math(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _not_of_powers(figure: Figure) -> list[Text]:
    """The texts of a figure but the ticks of logarithmic axes, which are powers of ten."""
    sides = [side for axes in figure.axes for side in (axes.xaxis, axes.yaxis)]
    powers = {
        id(text)
        for side in sides
        if side.get_scale() == "log"
        for text in side.get_ticklabels(which="both")
    }
    return [text for text in figure.findobj(Text) if id(text) not in powers]
