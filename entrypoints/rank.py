"""Order the techniques of an experiment by a validation metric, and say what cannot be told."""

from typing import TYPE_CHECKING

import click

from leukemia.splits import PROTOCOLS

from . import console
from .command import EXPERIMENT, METRIC, WAIVE, Command, option

if TYPE_CHECKING:
    from leukemia.study.results import Ranked

AUTO = "auto"
OF_PROTOCOL = option(
    "protocol",
    "the runs to rank; auto: the latest run's, of those that keep subjects apart",
    default=AUTO,
    type=click.Choice([AUTO, *PROTOCOLS]),
)


@click.command(cls=Command, help=__doc__)
@OF_PROTOCOL
@METRIC
@WAIVE
@EXPERIMENT
def main(protocol: str, metric: str, waive: set[str], experiment: str | None) -> None:
    """Rank and publish."""
    from leukemia.tracking import runs

    experiment_id = runs.connect(experiment)
    with runs.project_run("rank"):
        rank(experiment_id, protocol, metric, waive)


def rank(experiment_id: str, protocol: str, metric: str, waive: set[str]) -> "Ranked":
    """Publish the ranking in MLflow and print it."""
    from leukemia.study import results
    from leukemia.tracking import runs

    runs.reap(experiment_id)
    ranked = results.rank(experiment_id, of_protocol(protocol), metric, waive)
    lines = results.publish(experiment_id, ranked)
    console.say("", *results.as_text(ranked).splitlines(), *lines)
    return ranked


def of_protocol(asked: str) -> str | None:
    """The protocol of the runs to rank, None for `auto`."""
    return None if asked == AUTO else asked


if __name__ == "__main__":
    main()
