"""The course of a GAN's training: losses by step, accuracies and measures by epoch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukemia.evaluation.plots import DPI, render
from leukemia.gan.checkpoint import Progress
from leukemia.gan.step import METRICS
from leukemia.text.spreadsheet import as_csv

WINDOWS = 200  # running means of the accuracies that fill the picture: single steps hide them
MOST_POINTS = 4000  # of a line, more than the picture has columns


def figure(
    progress: Progress, chosen: int, floor: float | None, title: str, footnote: str
) -> np.ndarray:
    """(H, W, 3) uint8: the thesis' plot of both losses by step, the discriminator's accuracies,
    and, where samples were measured, their distance to real cells with `floor`, the distance of
    perfect ones."""
    whole = Figure((9, 7.2), dpi=DPI)
    losses, accuracies, distance = whole.subplots(3, 1)
    window = max(1, len(progress.steps) // WINDOWS)
    of = f"accuracy, mean of {window} steps" if window > 1 else "accuracy"
    _by_step(losses, progress.steps, ("gan_d_loss", "gan_g_loss"), "loss")
    _by_step(accuracies, _running(progress.steps, window), ("gan_d_real", "gan_d_fake"), of)
    accuracies.set(xlabel="step", ylim=(-0.05, 1.05))
    _measures(distance, progress, chosen, floor)
    return render(whole, title, footnote)


def steps_csv(steps: np.ndarray) -> str:
    """One row a step, counted from 1."""
    table = pd.DataFrame(steps, columns=list(METRICS))
    table.index = pd.RangeIndex(1, len(table) + 1, name="step")
    return as_csv(table, index=True, float_format="%.6g")


def epochs_csv(history: dict[str, dict[int, float]]) -> str:
    """One row an epoch, with its figures where they were measured."""
    table = pd.DataFrame(history).sort_index().rename_axis("epoch")
    return as_csv(table, index=True, float_format="%.6g")


def _running(steps: np.ndarray, window: int) -> np.ndarray:
    """The mean of each step and those just before it, `window` in all (fewer at the start)."""
    sums = np.cumsum(steps, 0, dtype=np.float64)
    before = np.concatenate([np.zeros((window, steps.shape[1])), sums])[: len(steps)]
    counts = np.minimum(np.arange(1, len(steps) + 1), window)
    means: np.ndarray = (sums - before) / counts[:, None]
    return means


def _by_step(axes: Axes, steps: np.ndarray, names: tuple[str, ...], what: str) -> None:
    every = max(1, len(steps) // MOST_POINTS)
    numbers = np.arange(1, len(steps) + 1)[::every]
    for name in names:
        axes.plot(numbers, steps[::every, METRICS.index(name)], lw=0.6, label=name)
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper right")


def _measures(axes: Axes, progress: Progress, chosen: int, floor: float | None) -> None:
    kid = progress.history.get("gan_kid", {})
    if not kid:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "samples were not measured", ha="center", transform=axes.transAxes)
        return
    epochs = sorted(kid)
    axes.plot(epochs, [kid[epoch] for epoch in epochs], "o-", label="KID of samples")
    if floor is not None:
        axes.axhline(floor, ls=":", color="grey", label="the same of the training cells")
    axes.axvline(chosen, color="C2", lw=1, label=f"chosen: epoch {chosen}")
    axes.set(xlabel="epoch", ylabel="KID")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
