"""The picture of a search for copies: the pairs that are most alike, and how alike they are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukemia.evaluation.plots import DPI, render
from leukemia.images import Images
from leukemia.synthetic.copies import Copies, turned

PAIRS = 8
COLUMNS = 4


def figure(copies: Copies, made: Images, training: Images, footnote: str) -> np.ndarray:
    """(H, W, 3) uint8: the synthetic cells that are most like a training cell, each on the left of
    it, above how alike synthetic and genuine cells are to training cells."""
    whole = Figure((9, 6.4), dpi=DPI)
    rows = whole.add_gridspec(3, COLUMNS, height_ratios=[1, 1, 1.5])
    order = np.argsort(-copies.made.correlation, kind="stable")[:PAIRS]
    for place, number in enumerate(order):
        axes = whole.add_subplot(rows[divmod(place, COLUMNS)])
        _pair(axes, copies, made[number], training, number)
    _correlations(whole.add_subplot(rows[2, :]), copies)
    return render(whole, "Synthetic cells (left) and their likest training cells (right)", footnote)


def _pair(axes: Axes, copies: Copies, made: np.ndarray, training: Images, number: int) -> None:
    like = copies.made
    other = turned(training[like.row[number]], int(like.turn[number]))
    axes.imshow(np.concatenate([made, other], axis=1))
    mark = "COPY " if copies.copies[number] else ""
    axes.set_title(
        f"{mark}{like.correlation[number]:.2f}", size=7, color="firebrick" if mark else "black"
    )
    axes.set_axis_off()


def _correlations(axes: Axes, copies: Copies) -> None:
    bins = np.linspace(0, 1, 41).tolist()
    if len(copies.genuine):
        label = "genuine to those of other subjects"
        axes.hist(copies.genuine, bins, density=True, alpha=0.5, color="grey", label=label)
    label = "synthetic to training"
    made = np.clip(copies.made.correlation, 0, 1)
    axes.hist(made, bins, density=True, histtype="step", lw=1.5, label=label)
    axes.axvline(copies.limit, color="firebrick", lw=1, label="a copy is as alike or more")
    axes.set(xlabel="correlation of structure, turned and moved as fits best", yticks=[])
    axes.legend(fontsize=7)
