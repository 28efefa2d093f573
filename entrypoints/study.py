"""Run every technique on each seed, split and fold, rank them, register the best classifier."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from leukemia import techniques
from leukemia.errors import UserError

from . import console
from .command import (
    DATA,
    EXPERIMENT,
    GAIN,
    METRIC,
    MODEL,
    NUMBER_OF_FOLDS,
    PROTOCOL,
    RARER,
    TERMS,
    WAIVE,
    Command,
    numbers,
    option,
    options_of,
    quietly,
    with_options,
)
from .planned import PLAN, planned
from .rank import publish
from .register import register

if TYPE_CHECKING:
    from leukemia.data.index import Index
    from leukemia.experiment.options import ExperimentOptions
    from leukemia.study.grid import Trial
    from leukemia.study.plan import Plan
    from leukemia.tracking.runs import Run

TRAIN = [sys.executable, "-m", f"{__package__}.train"]
OTHERWISE = "its run is of other code than the study began with; give the command again"


def _names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = list(techniques.names()) if value == "all" else value.split(",")
    unknown = [name for name in names if name not in techniques.names()]
    if unknown:
        known = ", ".join(techniques.names())
        raise click.BadParameter(f"there is no technique '{unknown[0]}': choose from {known}")
    return names


TRIALS = [
    option("seeds", "one run of every technique for each", default="0,1,2", callback=numbers),
    option(
        "repeats",
        "splits that are drawn: split seeds 0, 1, ... of that number, each crossed with all seeds "
        "(1: one split, several networks); 0: each seed has a split of its own. Protocol official "
        "has one",
        default=0,
        type=click.IntRange(0),
    ),
    option(
        "test_folds",
        "the folds to test on, as 0,1 or all: all of them test every cell once a split and seed",
        default="all",
        callback=numbers,
    ),
    option("techniques", "names with commas, or all", default="all", callback=_names),
    option("again", "train anew what is there already", default=False, type=bool),
    option(
        "workers",
        "runs at a time: the same figures sooner, but each needs memory of its own, and seconds "
        "and energy are then of a shared machine",
        default=1,
        type=click.IntRange(1),
    ),
]


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, PROTOCOL, *TRIALS, NUMBER_OF_FOLDS, *TERMS, *RARER)
@with_options(METRIC, WAIVE, GAIN, EXPERIMENT, MODEL, *PLAN)
@planned
def main(
    protocol: str,
    seeds: list[int],
    repeats: int,
    test_folds: list[int],
    techniques: list[str],
    again: bool,
    workers: int,
    metric: str,
    waive: set[str],
    gain: str,
    experiment: str | None,
    model: str,
    plan: "Plan | None",
    **given: Any,
) -> None:
    """Train, then rank and register the runs of this study."""
    from leukemia.experiment.prepare import gather
    from leukemia.registry.champion import Refused
    from leukemia.study import grid, results
    from leukemia.tracking import connection, lease, runs
    from leukemia.tracking.patience import Patience

    options = options_of(given)
    experiment_id = connection.connect(experiment)
    lease.reap(experiment_id)
    gathered = gather(options, progress=console.bar)
    index, subjects = gathered.index, gathered.cells.subjects
    folds = grid.folds_of([protocol], index, subjects, test_folds, options.folds)
    trials = grid.trials(folds, seeds, techniques, repeats)
    with runs.started_run("study", f"study of {len(techniques)} techniques") as study:
        failed, keys = train_all(trials, options, index, study, again, workers, plan)
        missing = named(failed, len(trials))
        ranked = Patience("the study waits")(
            lambda: results.rank(
                experiment_id, None, metric, waive, keys=keys, plan=plan, missing=missing
            )
        )
        publish(experiment_id, ranked, gathered.cells)
        try:
            register(ranked, model, gain)
        except Refused as error:  # an answer of the study like any other
            console.say(f"Not registered: {error}.")
        refuse_if(missing)


@quietly
def train_all(
    trials: "Sequence[Trial]",
    options: "ExperimentOptions",
    index: "Index",
    study: "Run",
    again: bool,
    workers: int,
    plan: "Plan | None" = None,
) -> "tuple[dict[Trial, str], frozenset[str]]":
    """Train what is not there yet: the trials that failed, with their errors, and the keys of the
    others' runs.

    Raises:
        UserError: there are none, or all of them failed.
    """
    from leukemia.study import kept, launch

    asked = {trial: trial.options(options) for trial in trials}
    if not asked:
        raise UserError("there is nothing to train: give seeds, folds and techniques")
    experiment_id, keys = study.info.experiment_id, launch.keys(asked, index)
    kept.keep(keys, plan)
    missing = list(asked) if again else launch.untrained(keys, experiment_id)
    if len(missing) < len(asked):
        console.say(
            f"{len(asked) - len(missing)} of {len(asked)} runs are there already; again=true "
            f"repeats them"
        )
    warn: Callable[[str], object] = partial(console.say, err=True)
    launcher = launch.Launcher(TRAIN, study, workers, tell=console.say, warn=warn)
    failed = launcher({trial: asked[trial] for trial in missing})
    failed = dict.fromkeys(launch.untrained(keys, experiment_id), OTHERWISE) | failed
    if len(failed) == len(asked):
        trial, error = next(iter(failed.items()))
        raise UserError(
            f"none of {len(asked)} runs went well, so nothing is ranked; {trial}: {_reason(error)}"
        )
    return failed, frozenset(key for trial, key in keys.items() if trial not in failed)


def named(failed: "dict[Trial, str]", trials: int) -> str:
    """The trials that failed, in a line that a ranking is shown with; "" for none.

    trials: how many there were.
    """
    if not failed:
        return ""
    each = "; ".join(f"{trial}: {_reason(error)}" for trial, error in failed.items())
    return f"NOT RANKED: {len(failed)} of {trials} runs failed: {each}"


def refuse_if(missing: str) -> None:
    """Let a study end as failed where runs of it did.

    Raises:
        UserError: it says which.
    """
    if missing:
        raise UserError(f"{missing}. Give the same command again: what is there is kept")


def _reason(error: str) -> str:
    return error.removeprefix("Error: ")


if __name__ == "__main__":
    main()
