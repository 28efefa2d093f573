"""Run every technique on every seed and fold, then rank them and register the best classifier."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from entrypoints.command import (
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
    option,
    with_options,
)
from entrypoints.rank import rank
from entrypoints.register import register
from entrypoints.train import gathered, planned
from leukemia import techniques
from leukemia.provenance import ROOT

if TYPE_CHECKING:
    import numpy as np

    from leukemia.data.index import Index


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Different whole numbers with commas; none for `all`."""
    try:
        found = [int(part) for part in value.split(",") if value != "all"]
    except ValueError as error:
        raise click.BadParameter(f"'{value}': give whole numbers as 0,1,2") from error
    if len(set(found)) < len(found) or min(found, default=0) < 0:
        raise click.BadParameter(f"'{value}': give different numbers of 0 or more")
    return found


def _names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = techniques.names() if value == "all" else value.split(",")
    unknown = [name for name in names if name not in techniques.names()]
    if unknown:
        known = ", ".join(techniques.names())
        raise click.BadParameter(f"there is no technique '{unknown[0]}': choose from {known}")
    return names


ARMS = [
    option("seeds", "one run of every technique for each", default="0,1,2", callback=numbers),
    option(
        "test_folds",
        "the folds to test on, as 0,1 or all: all of them test every cell once a seed",
        default="all",
        callback=numbers,
    ),
    option("techniques", "names with commas, or all", default="all", callback=_names),
    option("again", "train anew what is there already", default=False, type=bool),
]


@dataclass(frozen=True)
class Arm:
    """A run to be: a technique on a seed and a fold under a protocol."""

    technique: str
    protocol: str
    seed: int
    fold: int

    def __str__(self) -> str:
        return f"{self.technique}, {self.protocol}, seed {self.seed}, fold {self.fold}"


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, PROTOCOL, *ARMS, NUMBER_OF_FOLDS, *TERMS, *RARER)
@with_options(METRIC, WAIVE, GAIN, EXPERIMENT, MODEL)
def main(
    protocol: str,
    seeds: list[int],
    test_folds: list[int],
    techniques: list[str],
    again: bool,
    metric: str,
    waive: set[str],
    gain: str,
    experiment: str | None,
    model: str,
    **shared: Any,
) -> None:
    """Train, rank, register."""
    from leukemia import tracking
    from leukemia.registry import Refused

    shared["data"] = str(Path(shared["data"]).absolute())
    experiment_id = tracking.connect(experiment)
    tracking.reap(experiment_id)
    index, _, _, subjects = gathered(shared)
    folds = folds_of([protocol], index, subjects, test_folds, shared["folds"])
    arms = arms_of(folds, seeds, techniques)
    with tracking.started_run("study", f"study of {len(techniques)} techniques"):
        failed = train_all(arms, index, shared, experiment_id, again)
        found, waived = rank(experiment_id, protocol, metric, waive)
        try:
            register(found, model, waived, gain)
        except Refused as error:  # an answer of the study like any other
            click.echo(f"Not registered: {error}.")
    say_failed(failed)


def folds_of(
    protocols: list[str], index: "Index", subjects: "np.ndarray", wanted: list[int], asked: int
) -> dict[str, list[int]]:
    """The folds to test on under each protocol; `wanted`: these of them, none: all."""
    from leukemia.protocol import number_of_folds

    there = {name: range(number_of_folds(index, subjects, name, asked)) for name in protocols}
    return {
        name: [fold for fold in folds if not wanted or fold in wanted]
        for name, folds in there.items()
    }


def arms_of(folds: dict[str, list[int]], seeds: list[int], techniques: list[str]) -> list[Arm]:
    """Every run of a study, the folds of a seed one after another, techniques side by side."""
    return [
        Arm(technique, protocol, seed, fold)
        for protocol, of_protocol in folds.items()
        for seed in seeds
        for fold in of_protocol
        for technique in techniques
    ]


def train_all(
    arms: list[Arm], index: "Index", shared: dict[str, Any], experiment_id: str, again: bool
) -> list[Arm]:
    """Train what is not there yet; the arms that failed."""
    from leukemia import tracking

    done = {} if again else tracking.finished(experiment_id)
    keys = {
        arm: planned(
            arm.technique,
            shared | {"protocol": arm.protocol, "seed": arm.seed, "fold": arm.fold},
        ).key(index)
        for arm in arms
    }
    there = [arm for arm in arms if keys[arm] in done]
    if there:
        click.echo(f"{len(there)} of {len(arms)} runs are there already; again=true repeats them")
    missing = [arm for arm in arms if keys[arm] not in done]
    return [arm for arm in _progress(missing) if not _train(arm, shared, experiment_id)]


def say_failed(failed: list[Arm]) -> None:
    """Name the arms that failed, and exit with 1 if there are any."""
    for arm in failed:
        click.echo(f"Failed and not ranked: {arm} (see its run).", err=True)
    if failed:
        sys.exit(1)


def _progress(arms: list[Arm]) -> Iterator[Arm]:
    start = time.monotonic()
    for done, arm in enumerate(arms):
        spent = time.monotonic() - start
        left = f", about {spent / done * (len(arms) - done) / 60:.0f} min left" if done else ""
        click.echo(f"=== run {done + 1} of {len(arms)}: {arm}{left}")
        yield arm


def _train(arm: Arm, shared: dict[str, Any], experiment_id: str) -> bool:
    """One arm as a run of its own project entry point and process."""
    import mlflow

    # The entry point's `python` must be the one that runs this, activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    asked = {"protocol": arm.protocol, "seed": arm.seed, "fold": arm.fold}
    try:
        mlflow.projects.run(
            str(ROOT),
            entry_point=arm.technique,
            parameters=shared | asked,
            experiment_id=experiment_id,
            env_manager="local",
            run_name=str(arm),
        )
    except mlflow.exceptions.ExecutionException:
        return False
    return True


if __name__ == "__main__":
    main()
