"""The report's plots as uint8 arrays (H, W, 3), drawn without a screen."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leukemia.evaluation.plots import drawn
from leukemia.evaluation.reported import METRICS, recompute, value_of
from leukemia.thesis.numbers import Technique

DPI = 200  # sharp on a page 40 rem wide, and on paper
# Okabe and Ito 2008, distinct to colour-blind readers; the shapes differ too.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
PROTOCOLS = {"thesis": ("s", ORANGE, -0.14), "subject": ("o", BLUE, 0.14)}  # as each is drawn
WIDTH = 5.8  # inches: letters stay readable on a telephone


def recomputed_figure(techniques: Sequence[Technique]) -> np.ndarray:
    """Each reported figure and what its counts give, joined by a line."""
    rows = [
        (f"{each.name}: {name}", value_of(printed), recompute(each.reported.counts)[name])
        for each in techniques
        if each.reported.counts
        for name, printed in each.reported.figures.items()
    ]
    figure = Figure((WIDTH, 0.6 + 0.25 * len(rows)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for place, (_, told, value) in enumerate(rows):
        axes.plot([told, value], [place, place], color=GREY, lw=1)
        axes.plot(
            told, place, "s", color=ORANGE, mfc="white", label="reported" if not place else ""
        )
        axes.plot(value, place, "o", color=BLUE, label="from its own counts" if not place else "")
    _rows(axes, [name for name, *_ in rows])
    for place in range(len(METRICS), len(rows), len(METRICS)):
        axes.axhline(place - 0.5, color="lightgrey", lw=0.8)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return drawn(figure)


def order_figure(left: Sequence[tuple[str, str]], right: Sequence[tuple[str, str]]) -> np.ndarray:
    """Two orders of the same names, best above: (name, figure) pairs joined by name."""
    figure = Figure((WIDTH, 0.7 + 0.45 * len(left)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    places = {name: place for place, (name, _) in enumerate(right)}
    for place, (name, told) in enumerate(left):
        axes.plot([0, 1], [place, places[name]], "o-", color=BLUE, lw=2, ms=8)
        axes.text(-0.05, place, f"{place + 1}. {name}  {told}", ha="right", va="center", size=10)
    for place, (name, told) in enumerate(right):
        axes.text(1.05, place, f"{place + 1}. {name}  {told}", va="center", size=10)
    axes.text(-0.05, -0.75, "the thesis' verdict (4.8), reported accuracy", ha="right", size=8)
    axes.text(1.05, -0.75, "by its validation accuracy", size=8)
    axes.set(xlim=(-1.35, 2), ylim=(len(left) - 0.6, -0.95))
    axes.axis("off")
    return drawn(figure)


def own_figure(own: pd.DataFrame, terms: str) -> np.ndarray:
    """Test balanced accuracy with its interval, technique by protocol; crosses: thesis' counting.

    own: as `own.section` takes it, of one set of terms. terms: what it was measured on, which
    stands in the picture, since pictures are passed on alone.
    """
    names = list(dict.fromkeys(own["technique"]))
    figure = Figure((WIDTH, 1.4 + 0.42 * len(names)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    place = own["technique"].map(names.index).to_numpy(dtype=float)
    for protocol, (shape, colour, shift) in PROTOCOLS.items():
        here = (own["protocol"] == protocol).to_numpy()
        runs, y = own[here], place[here] + shift
        axes.hlines(y, runs["test_bal_acc_lo"], runs["test_bal_acc_hi"], color=colour, lw=1.5)
        axes.plot(runs["test_bal_acc"], y, shape, color=colour, label=f"test, protocol {protocol}")
    axes.plot(own["thesis_acc"], place, "x", color=GREY, label="training, as the thesis counts")
    _rows(axes, names)
    axes.set_xlabel("balanced accuracy and its 95 % interval over subjects", size=9)
    figure.suptitle(textwrap.fill(terms, 90), size=7, color="dimgrey")
    figure.legend(loc="outside lower center", frameon=False, ncols=3, fontsize=7.5)
    return drawn(figure)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
