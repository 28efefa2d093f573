"""Register the best run's classifier with its model card, and make it the champion."""

from typing import TYPE_CHECKING

import click

from entrypoints.command import EXPERIMENT, GAIN, METRIC, MODEL, WAIVE, Command, quietly
from entrypoints.rank import OF_PROTOCOL, ranked

if TYPE_CHECKING:
    from leukemia.ranking.rank import Ranking


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
    from leukemia.tracking import runs as tracking

    experiment_id = tracking.connect(experiment)
    with tracking.project_run("register"):
        found, _, _, waived = ranked(experiment_id, protocol, metric, waive)
        register(found, model, waived, gain)


@quietly
def register(found: "Ranking", model: str, waived: str, gain: str) -> None:
    """Register the leader's model, move the alias, and say so; waived: what the audit found."""
    from leukemia.registry import champion as registry
    from leukemia.tracking import runs as tracking
    from leukemia.tracking import views

    version = registry.register(found, model, waived, gain)
    click.echo(
        f"Registered {model} version {version.version}, alias {registry.CHAMPION} "
        f"(run {found.leader}): models:/{model}@{registry.CHAMPION}"
    )
    click.echo(f"Its page: {views.model_address(tracking.server(), model, str(version.version))}")


if __name__ == "__main__":
    main()
