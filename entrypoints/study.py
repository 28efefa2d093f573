"""Run every technique on every seed and fold, then rank them and register the best classifier."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

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
from leukemia.experiment.provenance import ROOT
from leukemia.tracking import WORKERS

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
    option(
        "workers",
        "runs at a time: the same figures sooner, but each needs memory of its own, and seconds "
        "and energy are then of a shared machine",
        default=1,
        type=click.IntRange(1),
    ),
]


@dataclass(frozen=True, kw_only=True)
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
    workers: int,
    metric: str,
    waive: set[str],
    gain: str,
    experiment: str | None,
    model: str,
    **shared: Any,
) -> None:
    """Train, rank, register."""
    from leukemia.registry.champion import Refused
    from leukemia.tracking import runs as tracking

    shared["data"] = str(Path(shared["data"]).absolute())
    experiment_id = tracking.connect(experiment)
    tracking.reap(experiment_id)
    index, _, _, subjects = gathered(shared)
    folds = folds_of([protocol], index, subjects, test_folds, shared["folds"])
    arms = arms_of(folds, seeds, techniques)
    with tracking.started_run("study", f"study of {len(techniques)} techniques") as study:
        train = Trainer(shared, experiment_id, study.info.run_id, workers)
        failed = train_all(arms, index, train, again)
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
    from leukemia.splits.protocol import number_of_folds

    there = {name: range(number_of_folds(index, subjects, name, asked)) for name in protocols}
    return {
        name: [fold for fold in folds if not wanted or fold in wanted]
        for name, folds in there.items()
    }


def arms_of(folds: dict[str, list[int]], seeds: list[int], techniques: list[str]) -> list[Arm]:
    """Every run of a study, the folds of a seed one after another, techniques side by side."""
    return [
        Arm(technique=technique, protocol=protocol, seed=seed, fold=fold)
        for protocol, of_protocol in folds.items()
        for seed in seeds
        for fold in of_protocol
        for technique in techniques
    ]


class Trainer:
    """Trains arms, each as a run of its own project entry point and process below one run.

    shared: the options that all of them have. workers: how many go at a time.
    """

    def __init__(self, shared: dict[str, Any], experiment_id: str, parent: str, workers: int):
        self.experiment_id = experiment_id
        self._shared, self._parent, self._workers = shared, parent, workers
        self._lock, self._begun, self._ended = threading.Lock(), 0, 0

    def __call__(self, arms: list[Arm]) -> list[Arm]:
        """Train all of them; those that failed. What is on ends with this process."""
        # The entry point's `python` must be the one that runs this, activated or not.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.environ[WORKERS] = str(self._workers)
        start = time.monotonic()
        with ThreadPoolExecutor(self._workers, initializer=self._join) as pool:
            going = [pool.submit(self._train, arm, len(arms), start) for arm in arms]
            try:
                well = [each.result() for each in going]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in psutil.Process().children(recursive=True):
                    with suppress(psutil.NoSuchProcess):  # Ctrl-C reaches them too
                        child.terminate()
                raise
        return [arm for arm, went_well in zip(arms, well, strict=True) if not went_well]

    def options(self, arm: Arm) -> dict[str, Any]:
        """What its entry point is given."""
        return self._shared | {"protocol": arm.protocol, "seed": arm.seed, "fold": arm.fold}

    def _join(self) -> None:
        """A thread has no run of its own: what it starts is to lie below the study's."""
        import mlflow

        mlflow.start_run(run_id=self._parent, log_system_metrics=False)

    def _train(self, arm: Arm, arms: int, start: float) -> bool:
        import mlflow

        self._tell(arm, arms, start)
        try:
            mlflow.projects.run(
                str(ROOT),
                entry_point=arm.technique,
                parameters=self.options(arm),
                experiment_id=self.experiment_id,
                env_manager="local",
                run_name=str(arm),
            )
        except mlflow.exceptions.ExecutionException:
            return False
        finally:
            with self._lock:
                self._ended += 1
        return True

    def _tell(self, arm: Arm, arms: int, start: float) -> None:
        with self._lock:
            self._begun += 1
            done = self._ended + (self._begun - 1 - self._ended) / 2  # those that go on: half done
            spent = time.monotonic() - start
            left = (
                f", about {spent / done * (arms - done) / 60:.0f} min left" if self._ended else ""
            )
            click.echo(f"=== run {self._begun} of {arms}: {arm}{left}")


def train_all(arms: list[Arm], index: "Index", train: "Trainer", again: bool) -> list[Arm]:
    """Train what is not there yet; the arms that failed."""
    from leukemia.tracking import records

    done = {} if again else records.finished(train.experiment_id)
    keys = {arm: planned(arm.technique, train.options(arm)).key(index) for arm in arms}
    there = [arm for arm in arms if keys[arm] in done]
    if there:
        click.echo(f"{len(there)} of {len(arms)} runs are there already; again=true repeats them")
    return train([arm for arm in arms if keys[arm] not in done])


def say_failed(failed: list[Arm]) -> None:
    """Name the arms that failed, and exit with 1 if there are any."""
    for arm in failed:
        click.echo(f"Failed and not ranked: {arm} (see its run).", err=True)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
