"""Run techniques under every protocol, and say by how much each way of splitting flatters."""

from typing import Any

import click

from leukemia.splits import PROTOCOLS, THESIS_PRELIMINARY

from . import console
from .command import (
    DATA,
    EXPERIMENT,
    METRIC,
    NUMBER_OF_FOLDS,
    RARER,
    TERMS,
    Command,
    option,
    options_of,
    with_options,
)
from .study import TRIALS, named, refuse_if, train_all

# Only the protocol may differ: `thesis` would otherwise bring its own epochs and scaling.
SAME_FOR_ALL = {"budget": "equal", "scaling": "imagenet"}
# Whose test cells the others do not test as such: there is nothing to set them against.
COMPARED = tuple(name for name in PROTOCOLS if name != THESIS_PRELIMINARY)


def _protocols(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    chosen = list(COMPARED) if value == "all" else value.split(",")
    for unknown in sorted(set(chosen) - set(COMPARED)):
        raise click.BadParameter(f"'{unknown}': choose from {', '.join(COMPARED)}, or all")
    return chosen


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, *TRIALS, NUMBER_OF_FOLDS)
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
    repeats: int,
    test_folds: list[int],
    techniques: list[str],
    again: bool,
    workers: int,
    metric: str,
    experiment: str | None,
    **given: Any,
) -> None:
    """Train under each protocol, then measure the differences."""
    from leukemia.experiment.prepare import gather
    from leukemia.splits.protocol import has_official
    from leukemia.study import grid
    from leukemia.tracking import connection, lease, runs

    given |= {name: value for name, value in SAME_FOR_ALL.items() if given[name] == "auto"}
    options = options_of(given)
    experiment_id = connection.connect(experiment)
    lease.reap(experiment_id)
    gathered = gather(options, progress=console.bar)
    index, subjects = gathered.index, gathered.cells.subjects
    chosen = [name for name in protocols if name != "official" or has_official(index)]
    if len(chosen) < len(protocols):
        console.say("The data come with no official split: that protocol is left out.")
    folds = grid.folds_of(chosen, index, subjects, test_folds, options.folds)
    trials = grid.trials(folds, seeds, techniques, repeats)
    with runs.started_run("inflation", f"inflation of {len(techniques)} techniques") as inflation:
        failed, keys = train_all(trials, options, index, inflation, again, workers)
        report(experiment_id, metric, keys)
        refuse_if(named(failed, len(trials)))


def report(experiment_id: str, metric: str, keys: frozenset[str]) -> None:
    """Measure from the runs with these keys, publish in MLflow, and print."""
    from leukemia.ranking.inflation import as_text
    from leukemia.study import results

    inflation = results.inflation(experiment_id, metric, keys=keys)
    lines = results.publish_inflation(experiment_id, inflation)
    console.say("", *as_text(inflation).splitlines(), *lines)


if __name__ == "__main__":
    main()
