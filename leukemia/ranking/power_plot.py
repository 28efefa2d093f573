"""The smallest difference that a study can find, over its number of subjects."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leukemia.evaluation.plots import render


def figure(table: pd.DataFrame, metric: str, about: str) -> np.ndarray:
    """One line for each number of seeds and folds, as uint8 (H, W, 3).

    table: as `power.Grid.table` gives it. about: what the components were measured on.
    """
    drawing = Figure((7.5, 5), dpi=110)
    axes = drawing.add_subplot()
    for (seeds, folds), rows in table.groupby(["seeds", "folds"], sort=True):
        axes.plot(rows["subjects"], rows["detectable"], "o-", label=f"{seeds} x {folds}")
    axes.set_xscale("log")
    ticks = sorted(set(table["subjects"]))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("subjects that are tested")
    axes.set_ylabel(f"difference of {metric} found in 80 % of studies")
    axes.grid(alpha=0.3)
    axes.legend(title="seeds x folds", fontsize=9)
    return render(drawing, "How small a difference a study can find", about)
