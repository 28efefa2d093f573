"""Register the best run's classifier with its model card, and make it the champion."""

from typing import TYPE_CHECKING

import click

from . import console
from .command import EXPERIMENT, GAIN, METRIC, MODEL, WAIVE, Command, quietly
from .rank import OF_PROTOCOL, of_protocol

if TYPE_CHECKING:
    from leukemia.study.results import Ranked


@click.command(cls=Command, help=__doc__)
@OF_PROTOCOL
@METRIC
@WAIVE
@GAIN
@EXPERIMENT
@MODEL
def main(
    protocol: str, metric: str, waive: set[str], gain: str, experiment: str | None, model: str
) -> None:
    """Register the leader of the ranking."""
    from leukemia.study import results
    from leukemia.tracking import runs

    experiment_id = runs.connect(experiment)
    with runs.project_run("register"):
        ranked = results.rank(experiment_id, of_protocol(protocol), metric, waive)
        register(ranked, model, gain)


@quietly
def register(ranked: "Ranked", model: str, gain: str) -> None:
    """Register the leader's model, move the alias, and say so."""
    from leukemia.study import results

    console.say(*results.register(ranked, model, gain))


if __name__ == "__main__":
    main()
