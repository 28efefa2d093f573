"""Train the GAN alone on several seeds, measure what each makes, and say how they differ.

No classifier is trained: `mlflow run . -e dcgan -P gan_run=RUN_ID` does that with a generator.
"""

from dataclasses import fields
from typing import Any

import click

from leukemia.gan.config import RECIPES
from leukemia.techniques import dcgan

from . import console
from .command import (
    DATA,
    EXPERIMENT,
    FOLD,
    NUMBER_OF_FOLDS,
    PROTOCOL,
    RARER,
    SEED,
    SPLIT_SEED,
    TERMS,
    Command,
    numbers,
    option,
    options_of,
    quietly,
    with_options,
)
from .train import setting_option

OWN = [
    setting_option(each, dcgan)
    for each in fields(dcgan.Settings)
    if each.name not in ("gan", "gan_run")
]


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, PROTOCOL, SEED, SPLIT_SEED, FOLD, NUMBER_OF_FOLDS)
@option("seeds", "one training on the same cells for each", default="0,1,2", callback=numbers)
@option(
    "gan",
    "recipe: modern, or the thesis'",
    default="modern",
    type=click.Choice(list(RECIPES)),
)
@with_options(*OWN, *TERMS, *RARER, EXPERIMENT)
@quietly
def main(seeds: list[int], experiment: str | None, **given: Any) -> None:
    """Train, measure, compare."""
    from leukemia.experiment.prepare import prepare
    from leukemia.study.gans import train_gans

    options = options_of(given, technique="dcgan")
    prepared, cells = prepare(options, progress=console.bar)
    if prepared.index.remarks:
        console.say(prepared.index.remarks)
    gans = train_gans(prepared, cells, options, seeds, experiment, listener=console.training)
    for seed, review in gans.reviews.items():
        console.say(f"seed {seed}  {review.splitlines()[0]}")
    console.say("", *gans.as_text().splitlines())


if __name__ == "__main__":
    main()
