"""Run every technique on every seed, then rank them and register the best classifier."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from entrypoints.command import (
    DATA,
    EXPERIMENT,
    RARER,
    REGISTERED,
    TERMS,
    Command,
    option,
    with_options,
)
from entrypoints.rank import rank
from entrypoints.register import register
from leukemia import techniques
from leukemia.provenance import ROOT


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        seeds = [int(part) for part in value.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"'{value}': give whole numbers as 0,1,2") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise click.BadParameter(f"'{value}': give different seeds of 0 or more")
    return seeds


def _names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = techniques.names() if value == "all" else value.split(",")
    unknown = [name for name in names if name not in techniques.names()]
    if unknown:
        known = ", ".join(techniques.names())
        raise click.BadParameter(f"there is no technique '{unknown[0]}': choose from {known}")
    return names


@click.command(cls=Command, help=__doc__)
@with_options(*DATA)
@option("seeds", "one run of every technique for each", default="0,1,2", callback=_numbers)
@option("techniques", "names with commas, or all", default="all", callback=_names)
@with_options(*TERMS, *RARER, EXPERIMENT)
@option("model", "name in the model registry", default=REGISTERED)
def main(
    seeds: list[int],
    techniques: list[str],
    experiment: str | None,
    model: str,
    **shared: Any,
) -> None:
    """Train, rank, register."""
    from leukemia import tracking

    shared["data"] = str(Path(shared["data"]).absolute())
    experiment_id = tracking.connect(experiment)
    tracking.reap(experiment_id)
    arms = [(name, seed) for seed in seeds for name in techniques]
    with tracking.started_run("study", f"study of {len(techniques)} techniques"):
        failed = [arm for arm in _progress(arms) if not _train(*arm, shared, experiment_id)]
        best = rank(experiment_id)
        register(best, model)
    for name, seed in failed:
        click.echo(f"Failed and not ranked: {name}, seed {seed} (see its run).", err=True)
    if failed:
        sys.exit(1)


def _progress(arms: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    start = time.monotonic()
    for done, (name, seed) in enumerate(arms):
        spent = time.monotonic() - start
        left = f", about {spent / done * (len(arms) - done) / 60:.0f} min left" if done else ""
        click.echo(f"=== run {done + 1} of {len(arms)}: {name}, seed {seed}{left}")
        yield name, seed


def _train(name: str, seed: int, shared: dict[str, Any], experiment_id: str) -> bool:
    """One technique on one seed as a run of its own project entry point and process."""
    import mlflow

    # The entry point's `python` must be the one that runs this, activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        mlflow.projects.run(
            str(ROOT),
            entry_point=name,
            parameters={**shared, "seed": seed},
            experiment_id=experiment_id,
            env_manager="local",
            run_name=f"{name} seed {seed}",
        )
    except mlflow.exceptions.ExecutionException:
        return False
    return True


if __name__ == "__main__":
    main()
