"""The GAN alone on several seeds, without a classifier: what each makes, and how they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from leukemia.cells import Cells
from leukemia.contract import TrainingSet
from leukemia.data.cache import cache_folder
from leukemia.errors import UserError
from leukemia.experiment.config import Experiment
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.run import only_balanced
from leukemia.gan import seeds as by_seed
from leukemia.report import Report, both, silent
from leukemia.text.spreadsheet import as_csv
from leukemia.tracking import connection, runs, unfinished
from leukemia.tracking.logbook import Logbook
from leukemia.tracking.resumable import resumable_run

REVIEW = "review/review.txt"


@dataclass(frozen=True, kw_only=True)
class Gans:
    """GANs of one recipe on the same cells.

    recipe: its name. table: one row a measure, one column a seed. reviews: seed -> what was found
    of its cells, in words.
    """

    recipe: str
    table: pd.DataFrame
    reviews: dict[int, str]

    def as_text(self) -> str:
        """The table for a terminal, with what it was measured on."""
        about = next(iter(self.reviews.values())).splitlines()[-1]
        return by_seed.as_text(self.table, f"GAN ({self.recipe}), seeds side by side", about)


def train_gans(
    experiment: Experiment,
    cells: Cells,
    options: ExperimentOptions,
    seeds: Sequence[int],
    name: str | None = None,
    *,
    listener: Callable[[str, int], Report] = lambda title, epochs: silent,
    cache: Path | None = None,
) -> Gans:
    """Train the GAN of an experiment on each seed and the same cells, as runs below one.

    Args:
        experiment: of technique `dcgan`, from `prepare` with these options.
        name: MLflow's experiment.
        listener: (title, epochs of the classifier) -> who is told of a GAN's progress.

    Raises:
        UserError: both classes have as many training cells.
    """
    if cells.take(experiment.split.rows["train"]).shortage() == 0:
        raise UserError("both classes have as many training cells: there is none to make")
    experiment_id, recipe = connection.connect(name), experiment.config.settings.gan
    made = {}
    with runs.started_run("gans", f"{recipe} GAN on {len(seeds)} seeds"):
        for seed in seeds:
            own = replace(experiment, config=replace(experiment.config, seed=seed))
            asked = replace(options, seed=seed, split_seed=experiment.config.split_seed)
            made[seed] = _trained(own, cells, asked, experiment_id, listener, cache)
        table = by_seed.table({seed: each.metrics for seed, each in made.items()})
        runs.log_texts({"gan/seeds.csv": as_csv(table, index=True)})
    reviews = {seed: each.files[REVIEW].decode() for seed, each in made.items()}
    return Gans(recipe=recipe, table=table, reviews=reviews)


def _trained(
    experiment: Experiment,
    cells: Cells,
    options: ExperimentOptions,
    experiment_id: str,
    listener: Callable[[str, int], Report],
    cache: Path | None,
) -> TrainingSet:
    """One GAN as a run of its own; what the technique made with it."""
    cache, config = cache or cache_folder(), experiment.config
    place = unfinished.folder(cache, experiment_id, f"gan-{config.key(experiment.index)}")
    title = f"{config.title}, GAN alone"
    with resumable_run("gan", title, experiment_id, place, {}) as kept:
        logbook = Logbook(kept.journal)
        logbook.start(experiment, options)
        told = both(listener(title, config.schedule.epochs), logbook)
        made = only_balanced(experiment, cells, told, place, cache)
        logbook.finish_made(made)
    return made
