"""Pictures of an experiment as uint8 arrays (H, W, 3), drawn without a screen."""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from leukemia.evaluation.metrics import Confusion

DPI = 110
GAP = 4  # pixels between the cells of a grid


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
    axes.set_xticks([0, 1], [positive, negative], size=13)
    axes.set_yticks([0, 1], [positive, negative], size=13)
    return _render(figure, title, footnote)


def curves_figure(
    history: list[dict[str, float]], names: list[str], title: str, footnote: str
) -> np.ndarray:
    """The named metrics over the epochs, train dashed and validation solid in one colour."""
    figure = Figure((8, 4.2), dpi=DPI)
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    for place, name in enumerate(names):
        for side, line in (("train", "--"), ("val", "-")):
            values = [row[f"{side}_{name}"] for row in history]
            axes.plot(epochs, values, line, color=f"C{place}", label=f"{side} {name}")
    axes.set(xlabel="epoch", xticks=epochs if len(epochs) < 16 else None)
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    return _render(figure, title, footnote)


def roc_pr_figure(
    labels: np.ndarray, scores: np.ndarray, positive: str, title: str, footnote: str
) -> np.ndarray:
    """ROC and precision-recall curves with what chance would give."""
    figure = Figure((8, 4.2), dpi=DPI)
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
    return _render(figure, title, footnote)


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
    figure = Figure((7, 7.4), dpi=DPI)
    for place, (cells, name) in enumerate(
        ((real, f"real {label}"), (made, f"SYNTHETIC {label}, made by {made_by}")), 1
    ):
        axes = figure.add_subplot(2, 1, place)
        axes.imshow(grid(cells[:32], 8))
        axes.set_title(name, size=12)
        axes.axis("off")
    return _render(figure, "training cells", footnote)


def _render(figure: Figure, title: str, footnote: str) -> np.ndarray:
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(footnote, round(17 * width))
    figure.suptitle(title, size=12)
    figure.text(0.01, 0.01, "\n".join(lines), size=6.5, color="dimgrey", va="bottom")
    foot = (0.45 + 0.11 * len(lines)) / height
    figure.subplots_adjust(bottom=foot + 0.06, top=0.88, left=0.12, right=0.97, hspace=0.12)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
