"""Register the best run's classifier with its model card, and make it the champion."""

import click

from entrypoints.command import EXPERIMENT, METRIC, REGISTERED, WAIVE, Command, option
from entrypoints.rank import OF_PROTOCOL, ranked


@click.command(cls=Command, help=__doc__)
@OF_PROTOCOL
@METRIC
@WAIVE
@EXPERIMENT
@option("model", "name in the model registry", default=REGISTERED)
def main(protocol: str, metric: str, waive: set[str], experiment: str | None, model: str) -> None:
    """Register the leader of the ranking."""
    from leukemia import tracking

    experiment_id = tracking.connect(experiment)
    with tracking.project_run("register"):
        found, _, _, waived = ranked(experiment_id, protocol, metric, waive)
        register(found.leader, model, waived)


def register(run_id: str, model: str, waived: str = "") -> None:
    """Register a run's model, move the alias, and say so; waived: what the audit found."""
    from leukemia import registry, tracking, views

    version = registry.register(run_id, model, waived)
    click.echo(
        f"Registered {model} version {version.version}, alias {registry.CHAMPION} "
        f"(run {run_id}): models:/{model}@{registry.CHAMPION}"
    )
    click.echo(f"Its page: {views.model_address(tracking.server(), model, str(version.version))}")


if __name__ == "__main__":
    main()
