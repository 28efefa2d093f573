"""How small a difference a study would find: from the runs of a pilot, as text and as a run."""

from collections.abc import Sequence

import mlflow
import numpy as np
import pandas as pd

from leukemia.errors import UserError
from leukemia.ranking.power import ASKED, Components, Pilot
from leukemia.ranking.text import aligned
from leukemia.study.results import Ranked
from leukemia.text import spreadsheet
from leukemia.tracking import connection, runs


def of_ranked(ranked: Ranked) -> Pilot:
    """The pilot that ranked runs are.

    Raises:
        UserError: they are of one seed.
    """
    if ranked.ranking.pilot is None:
        raise UserError(
            "a pilot needs 2 seeds or more of a technique, since the luck of a network is not to "
            "be seen in one: train another seed, or state net_sd, single_sd and lasting_sd"
        )
    run = ranked.records.iloc[-1]
    drawn = f" SIMULATED DATA: {run.simulated_data}." if run.simulated_data else ""
    about = f"{ranked.ranking.pilot.about}; {run.protocol_line.split(';')[0]}. Cells: {run.cells}."
    return Pilot(components=ranked.ranking.pilot.components, about=about + drawn)


def stated(net_sd: float, single_sd: float, lasting_sd: float) -> Pilot:
    """Components that somebody states as standard deviations."""
    parts = Components(net=net_sd**2, single=single_sd**2, lasting=lasting_sd**2)
    return Pilot(components=parts, about="stated deviations, not measured here")


def as_text(pilot: Pilot, table: pd.DataFrame, metric: str, contrasts: int) -> str:
    """The components and a line a design, the fewest subjects first."""
    parts = pilot.components
    net, single, lasting = (
        float(np.sqrt(variance)) for variance in (parts.net, parts.single, parts.lasting)
    )
    columns = {name: table[name].map(str) for name in ("subjects", "seeds", "folds", "networks")}
    columns[f"difference of {metric} found in {ASKED:.0%}"] = table["detectable"].map(
        "{:.3f}".format
    )
    return "\n".join(
        [
            f"Standard deviation of a difference: {net:.4f} by a network, {single:.4f} by a "
            f"subject in one seed alone, {lasting:.4f} by a subject in every seed",
            f"Measured on {pilot.about}",
            f"One of {contrasts} comparisons, corrected for all of them, two-sided at .05:",
            aligned(columns),
        ]
    )


def publish(experiment: str | None, text: str, table: pd.DataFrame, picture: np.ndarray) -> str:
    """Keep text, table and curve in a run of kind `power`, and say which.

    picture: (H, W, 3) uint8.
    """
    connection.connect(experiment)
    with runs.started_run("power", "power") as run:
        mlflow.log_text(text, "power.txt")
        mlflow.log_text(spreadsheet.as_csv(table), "power.csv")
        mlflow.log_image(picture, "power.png")
    return f"Kept in run {run.info.run_id}: power.txt, power.csv, power.png"


def design(numbers: Sequence[int], least: int, name: str) -> None:
    """Refuse a design that allows no verdict.

    Raises:
        UserError: a number is below `least`.
    """
    if not numbers or min(numbers) < least:
        raise UserError(f"{name} {', '.join(map(str, numbers))}: give numbers from {least} on")
