"""Run techniques under every protocol, and say by how much each way of splitting flatters."""

from pathlib import Path
from typing import Any

import click

from entrypoints.command import (
    DATA,
    EXPERIMENT,
    METRIC,
    NUMBER_OF_FOLDS,
    RARER,
    TERMS,
    Command,
    cache,
    option,
    with_options,
)
from entrypoints.study import ARMS, Trainer, arms_of, folds_of, say_failed, train_all
from entrypoints.train import gathered
from leukemia.splits import PROTOCOLS


def _protocols(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    chosen = list(PROTOCOLS) if value == "all" else value.split(",")
    for unknown in sorted(set(chosen) - set(PROTOCOLS)):
        raise click.BadParameter(f"'{unknown}': choose from {', '.join(PROTOCOLS)}, or all")
    return chosen


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, *ARMS, NUMBER_OF_FOLDS)
@option(
    "protocols",
    "names with commas, or all; the official split is left out where the data have none",
    default="all",
    callback=_protocols,
)
@with_options(*TERMS, *RARER, METRIC, EXPERIMENT)
def main(
    protocols: list[str],
    seeds: list[int],
    test_folds: list[int],
    techniques: list[str],
    again: bool,
    workers: int,
    metric: str,
    experiment: str | None,
    **shared: Any,
) -> None:
    """Train under each protocol, then measure the differences."""
    from leukemia.splits.protocol import has_official
    from leukemia.tracking import runs as tracking

    shared["data"] = str(Path(shared["data"]).absolute())
    # Only the protocol may differ: thesis would otherwise bring its own epochs and scaling.
    shared["budget"] = "equal" if shared["budget"] == "auto" else shared["budget"]
    shared["scaling"] = "imagenet" if shared["scaling"] == "auto" else shared["scaling"]
    experiment_id = tracking.connect(experiment)
    tracking.reap(experiment_id)
    index, _, _, subjects = gathered(shared)
    chosen = [name for name in protocols if name != "official" or has_official(index)]
    if len(chosen) < len(protocols):
        click.echo("The data come with no official split: that protocol is left out.")
    folds = folds_of(chosen, index, subjects, test_folds, shared["folds"])
    arms = arms_of(folds, seeds, techniques)
    title = f"inflation of {len(techniques)} techniques"
    with tracking.started_run("inflation", title) as inflation:
        train = Trainer(shared, experiment_id, inflation.info.run_id, workers)
        failed = train_all(arms, index, train, again)
        report(experiment_id, metric)
    say_failed(failed)


def report(experiment_id: str, metric: str) -> None:
    """Measure from the runs that are there, print, and publish in MLflow."""
    from leukemia.ranking import inflation
    from leukemia.tracking import leaderboard as board
    from leukemia.tracking import records, views
    from leukemia.tracking import runs as tracking

    kept = inflation.comparable(records.training_runs(experiment_id))
    found = inflation.measure(kept, records.test_predictions(kept["run_id"], cache()), metric)
    board.publish_inflation(experiment_id, found)
    click.echo()
    click.echo(inflation.as_text(found))
    link = views.address(tracking.server(), experiment_id, board.PROTOCOLS, charts=True)
    click.echo(f"Technique by protocol in MLflow: {link}")


if __name__ == "__main__":
    main()
