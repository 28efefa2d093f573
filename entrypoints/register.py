"""Register the best run's classifier with its model card, and make it the champion."""

from typing import TYPE_CHECKING, Any

import click

from . import console
from .command import EXPERIMENT, GAIN, METRIC, MODEL, WAIVE, Command, quietly, with_options
from .rank import CHOICE, ranked

if TYPE_CHECKING:
    from leukemia.study.results import Ranked


@click.command(cls=Command, help=__doc__)
@with_options(*CHOICE, METRIC, WAIVE, GAIN, EXPERIMENT, MODEL)
def main(gain: str, experiment: str | None, model: str, **choice: Any) -> None:
    """Register the leader of the ranking."""
    from leukemia.tracking import connection, runs

    experiment_id = connection.connect(experiment)
    with runs.project_run("register"):
        register(ranked(experiment_id, **choice), model, gain)


@quietly
def register(ranked: "Ranked", model: str, gain: str) -> None:
    """Register the leader's model, move the alias, and say so."""
    from leukemia.study import results

    console.say(*results.register(ranked, model, gain))


if __name__ == "__main__":
    main()
