"""Train the GAN alone on several seeds, measure what each makes, and say how they differ.

No classifier is trained: `mlflow run . -e dcgan -P gan_run=RUN_ID` does that with a generator.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from entrypoints import console
from entrypoints.command import (
    DATA,
    EXPERIMENT,
    FOLD,
    NUMBER_OF_FOLDS,
    PROTOCOL,
    RARER,
    SEED,
    TERMS,
    Command,
    cache,
    option,
    quietly,
    with_options,
)
from entrypoints.study import numbers
from entrypoints.train import prepare, setting_option
from leukemia.errors import UserError
from leukemia.gan.config import RECIPES
from leukemia.techniques import dcgan

if TYPE_CHECKING:
    from leukemia.cells import Cells
    from leukemia.contract import TrainingSet
    from leukemia.experiment.config import Experiment

OWN = [
    setting_option(each, dcgan)
    for each in fields(dcgan.Settings)
    if each.name not in ("gan", "gan_run")
]


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, PROTOCOL, SEED, FOLD, NUMBER_OF_FOLDS)
@option("seeds", "one training on the same cells for each", default="0,1,2", callback=numbers)
@option(
    "gan",
    "recipe: modern, or the thesis'",
    default="modern",
    type=click.Choice(list(RECIPES)),
)
@with_options(*OWN, *TERMS, *RARER, EXPERIMENT)
@quietly
def main(seeds: list[int], **options: Any) -> None:
    """Train, measure, compare."""
    from leukemia.gan import seeds as runs
    from leukemia.tracking import runs as tracking

    options["data"] = str(Path(options["data"]).absolute())
    experiment, cells = prepare("dcgan", options | {"gan_run": None})
    if cells.take(experiment.split.rows["train"]).shortage() == 0:
        raise UserError("both classes have as many training cells: there is none to make")
    experiment_id = tracking.connect(options["experiment"])
    with tracking.started_run("gans", f"{options['gan']} GAN on {len(seeds)} seeds"):
        made = {seed: _trained(_at(experiment, seed), cells, experiment_id) for seed in seeds}
        found = runs.table({seed: each.metrics for seed, each in made.items()})
        tracking.log_texts({"gan/seeds.csv": found.to_csv()})
        click.echo()
        about = next(iter(made.values())).files["gan/review.txt"].decode().splitlines()[-1]
        click.echo(runs.as_text(found, f"GAN ({options['gan']}), seeds side by side", about))


def _at(experiment: "Experiment", seed: int) -> "Experiment":
    """The same split, and another seed for the GAN."""
    return replace(experiment, config=replace(experiment.config, seed=seed))


def _trained(experiment: "Experiment", cells: "Cells", experiment_id: str) -> "TrainingSet":
    """One GAN as a run of its own; what the technique made with it."""
    from leukemia.experiment import run as experiments
    from leukemia.tracking import runs as tracking
    from leukemia.tracking.logbook import Logbook

    config = experiment.config
    of = cells.take(experiment.split.rows["train"]).digest()[:16]
    name = f"{experiment_id}-gan-{config.key(experiment.index)}-{of}"
    unfinished = cache() / "unfinished" / name
    title = f"{config.title}, GAN alone"
    with (
        tracking.started_run("gan", title, unfinished, nested=True) as run,
        Logbook(run) as logbook,
    ):
        logbook.start(experiment)
        listener = console.both(console.training(title, config.schedule.epochs), logbook)
        made = experiments.only_balanced(experiment, cells, listener, unfinished, cache())
        logbook.finish_made(made)
    click.echo(f"{title}  {made.files['gan/review.txt'].decode().splitlines()[0]}")
    return made


if __name__ == "__main__":
    main()
