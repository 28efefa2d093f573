"""What a run's cells are: how many of each class before and after balancing, and how they look.

The thesis shows the like in its Figures 6 and 7.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from leukemia.cells import Cells, Indices, Names
from leukemia.contract import TrainingSet
from leukemia.data.geometry import Geometry
from leukemia.data.index import Index
from leukemia.data.store import read_cell
from leukemia.errors import UserError
from leukemia.evaluation.plots import DPI, NAME, render
from leukemia.experiment.config import Experiment
from leukemia.splits.protocol import SPLITS

EXAMPLES = 4  # of each class, each of another subject where there are as many
COLOURS = ("#56b4e9", "#d55e00")  # negative, positive; distinct to colour-blind readers
COLUMNS = ["split", "class", "before", "left_out", "synthetic", "after", "weight"]


def class_counts(experiment: Experiment, trained_on: TrainingSet) -> pd.DataFrame:
    """One row a split and class, with COLUMNS: cells before and after balancing.

    Only training cells are balanced, but under the protocols that balance before they split:
    there `before` counts the real cells of a split and no others. weight: the share of the class
    in what the training goes by (the loss or the draw), where the technique weighs cells; else
    its share of the cells.
    """
    index = experiment.index
    rows = []
    for split in SPLITS:
        real = index.labels[experiment.split.rows[split]]
        for label, name in enumerate(index.classes.names):
            before = int(np.count_nonzero(real == label))
            made, kept, share = 0, before, before / len(real)
            if split == "train":
                made, kept, share = _trained(trained_on, label)
            rows.append((split, name, before, before - kept, made, kept + made, share))
    return pd.DataFrame(rows, columns=COLUMNS)


def _trained(trained_on: TrainingSet, label: int) -> tuple[int, int, float]:
    """Synthetic and real cells of a class that are trained on, and the class' share of weight."""
    of_class = trained_on.cells.labels == label
    made = int(np.count_nonzero(of_class & trained_on.synthetic))
    weights = np.ones(len(of_class))
    for given in (trained_on.loss_weights, trained_on.draw_weights):
        if given is not None:
            weights = weights * given
    share = float(weights[of_class].sum() / weights.sum())
    return made, int(np.count_nonzero(of_class)) - made, share


def counts_figure(counts: pd.DataFrame, title: str, footnote: str) -> np.ndarray:
    """Cells of each class in each split, training before and after balancing, as uint8 (H, W, 3).

    counts: as `class_counts` gives them.
    """
    figure = Figure((7, 5.6), dpi=DPI)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(counts["class"]))
    train = counts[counts["split"] == "train"]
    groups = [
        ("train,\nbefore", train.assign(after=train["before"], synthetic=0)),
        (f"train,\nbalanced{_weights(train)}", train),
        *((split, counts[counts["split"] == split]) for split in SPLITS[1:]),
    ]
    for place, (_, rows) in enumerate(groups):
        cells = zip(rows["after"].tolist(), rows["synthetic"].tolist(), strict=True)
        for number, (after, synthetic) in enumerate(cells):
            left = place + (number - (len(names) - 1) / 2) * 0.4
            _bar(axes, left, after, synthetic, COLOURS[number % len(COLOURS)])
    axes.set_xticks(range(len(groups)), [name for name, _ in groups])
    axes.set(ylabel="cells", ylim=(0, 1.12 * max(*counts["before"], *counts["after"])))
    axes.spines[["top", "right"]].set_visible(False)
    marks = [Rectangle((0, 0), 1, 1, color=each) for each in COLOURS[: len(names)]]
    marks.append(Rectangle((0, 0), 1, 1, facecolor="white", edgecolor="dimgrey", hatch="////"))
    shown = [*(f"{name:.{NAME}}" for name in names), "synthetic"]
    # Above the bars, and named here: a label that begins with an underscore would be left out.
    axes.legend(marks, shown, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    return render(figure, title, footnote, top=1 - 0.9 / figure.get_figheight())


def _bar(axes: Axes, left: float, after: int, synthetic: int, colour: str) -> None:
    """A class' cells, the synthetic ones hatched on top, with both numbers above."""
    axes.bar(left, after - synthetic, 0.36, color=colour)
    axes.bar(
        left, synthetic, 0.36, bottom=after - synthetic, facecolor="white", edgecolor=colour,
        hatch="////",
    )  # fmt: skip
    text = f"{after - synthetic:,}\n+ {synthetic:,}" if synthetic else f"{after:,}"
    axes.annotate(text, (left, after), (0, 2), textcoords="offset points", ha="center", size=8)


def _weights(train: pd.DataFrame) -> str:
    """The classes' shares of weight, where they are not their shares of cells."""
    shares = train["after"] / train["after"].sum()
    if np.allclose(shares, train["weight"], atol=5e-4):
        return ""
    return "\nweight " + " : ".join(f"{100 * share:.0f} %" for share in train["weight"])


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training cell: its class, its whole image (None: it cannot be read), what is kept of it.

    raw: (H, W, 3) uint8. cropped: (S, S, 3) uint8, as the classifier sees it.
    """

    name: str
    raw: np.ndarray | None
    cropped: np.ndarray


def examples(experiment: Experiment, cells: Cells) -> list[list[Example]]:
    """EXAMPLES training cells of each class, in the order of the classes.

    cells: those of the experiment's index, in its order.
    """
    index, train = experiment.index, experiment.split.rows["train"]
    return [
        [
            Example(
                name=f"{name:.{NAME}}",
                raw=_whole(index, row),
                cropped=np.asarray(cells.images[row]),
            )
            for row in _of_many_subjects(train[index.labels[train] == label], cells.subjects)
        ]
        for label, name in enumerate(index.classes.names)
    ]


def _of_many_subjects(rows: Indices, subjects: Names) -> list[int]:
    """EXAMPLES of the rows, or as many as there are: the first cell of each subject, then more."""
    _, first = np.unique(subjects[rows], return_index=True)
    later = np.setdiff1d(np.arange(len(rows)), first)
    return [int(rows[place]) for place in [*np.sort(first), *later][:EXAMPLES]]


def _whole(index: Index, row: int) -> np.ndarray | None:
    """The file's image; None if it cannot be read any more: that must not cost a finished run."""
    try:
        return read_cell(index, str(index.frame["path"].iloc[row]), None)
    except UserError:
        return None


def examples_figure(
    chosen: list[list[Example]], geometry: Geometry, title: str, footnote: str
) -> np.ndarray:
    """For each class its whole images, the kept window outlined, above what is kept of them."""
    figure = Figure((7, 7.4), dpi=DPI)
    places = figure.subplots(2 * len(chosen), EXAMPLES, squeeze=False)
    for axes in places.ravel():
        axes.axis("off")
    for number, of_class in enumerate(chosen):
        for column, example in enumerate(of_class):
            _whole_place(places[2 * number, column], example, geometry)
            places[2 * number + 1, column].imshow(example.cropped)
            size = "x".join(map(str, example.cropped.shape[1::-1]))
            places[2 * number + 1, column].set_title(f"kept: {size} px", size=7)
    margins = {"left": 0.02, "right": 0.98, "top": 1 - 0.85 / figure.get_figheight()}
    return render(figure, title, footnote, hspace=0.3, wspace=0.06, **margins)


def _whole_place(axes: Axes, example: Example, geometry: Geometry) -> None:
    if example.raw is None:
        axes.text(0.5, 0.5, "the file cannot\nbe read any more", ha="center", va="center", size=7)
        axes.set_title(f"{example.name}\nraw", size=7)
        return
    height, width = example.raw.shape[:2]
    axes.imshow(example.raw)
    if geometry.crop:
        left, top = geometry.corner((width, height))
        edge = (left - 0.5, top - 0.5)  # a pixel's own place is its middle
        side = geometry.crop
        axes.add_patch(Rectangle(edge, side, side, fill=False, edgecolor="white", lw=0.8))
    axes.set_title(f"{example.name}\nraw: {width}x{height} px", size=7)
