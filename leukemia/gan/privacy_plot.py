"""The picture of a privacy audit: the nearest pairs, and how near they are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukemia.evaluation.plots import DPI, render
from leukemia.gan.privacy import Privacy, turned

PAIRS = 8
COLUMNS = 4


def figure(privacy: Privacy, made: np.ndarray, training: np.ndarray, footnote: str) -> np.ndarray:
    """(H, W, 3) uint8: the made images that are nearest to a training image, each on the left of
    it, above how far made and real images lie from their nearest training image."""
    whole = Figure((9, 6.4), dpi=DPI)
    rows = whole.add_gridspec(3, COLUMNS, height_ratios=[1, 1, 1.5])
    order = np.argsort(privacy.made.pixels, kind="stable")[:PAIRS]
    for place, number in enumerate(order):
        _pair(whole.add_subplot(rows[divmod(place, COLUMNS)]), privacy, made, training, number)
    for place, space in enumerate(("pixels", "features")):
        axes = whole.add_subplot(rows[2, place * 2 : place * 2 + 2])
        _distances(axes, privacy, space, privacy.limits[place])
    return render(whole, "Made cells (left) and their nearest training cells (right)", footnote)


def _pair(
    axes: Axes, privacy: Privacy, made: np.ndarray, training: np.ndarray, number: int
) -> None:
    near = privacy.made
    other = turned(training[near.row[number]], int(near.turn[number]))
    axes.imshow(np.concatenate([made[number], other], axis=1))
    mark = "COPY " if privacy.copies[number] else ""
    text = f"{mark}{near.pixels[number]:.1f} grey levels, {near.features[number]:.1f}"
    axes.set_title(text, size=7, color="firebrick" if mark else "black")
    axes.set_axis_off()


def _distances(axes: Axes, privacy: Privacy, space: str, limit: float) -> None:
    made, real = getattr(privacy.made, space), getattr(privacy.real, space)
    bins = np.histogram_bin_edges(np.concatenate([made, real]), 30).tolist()
    axes.hist(real, bins, density=True, alpha=0.5, color="grey", label="training to training")
    axes.hist(made, bins, density=True, histtype="step", lw=1.5, label="made to training")
    axes.axvline(limit, color="firebrick", lw=1, label="a copy is nearer, in both")
    unit = "grey levels, root mean square" if space == "pixels" else "distance of features"
    axes.set(xlabel=f"{space}: {unit}", yticks=[])
    axes.legend(fontsize=7)
