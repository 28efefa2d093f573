"""Register the best run's classifier and make it the champion."""

import click

from entrypoints.command import EXPERIMENT, REGISTERED, Command, option


@click.command(cls=Command, help=__doc__)
@EXPERIMENT
@option("model", "name in the model registry", default=REGISTERED)
def main(experiment: str | None, model: str) -> None:
    """Register the leader of the ranking."""
    from leukemia import ranking, tracking

    experiment_id = tracking.connect(experiment)
    with tracking.project_run("register"):
        kept, _ = ranking.comparable(tracking.records(experiment_id))
        register(str(ranking.rank(kept)["run_id"].iloc[0]), model)


def register(run_id: str, model: str) -> None:
    """Register a run's model, move the alias, and say so."""
    from leukemia import registry, tracking, views

    version = registry.register(run_id, model)
    click.echo(
        f"Registered {model} version {version.version}, alias {registry.CHAMPION} "
        f"(run {run_id}): models:/{model}@{registry.CHAMPION}"
    )
    click.echo(f"Its page: {views.model_address(tracking.server(), model, str(version.version))}")


if __name__ == "__main__":
    main()
