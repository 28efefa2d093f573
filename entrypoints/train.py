"""Balance with one technique, train a classifier, evaluate it, log everything."""

import re
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from entrypoints import console
from entrypoints.command import SHARED, Command, cache, option, quietly, with_options
from leukemia import techniques

if TYPE_CHECKING:
    import numpy as np

    from leukemia.cells import Cells
    from leukemia.data.index import Index
    from leukemia.data.near_duplicates import Pair
    from leukemia.experiment.config import Experiment, ExperimentConfig


class Techniques(click.Group):
    """One subcommand for each file in leukemia/techniques."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The techniques that exist."""
        return techniques.names()

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a technique: the shared options and one for each of its settings."""
        return command_of(name) if name in techniques.names() else None


@click.group(cls=Techniques, help=__doc__)
def main() -> None:
    """Train with a technique."""


def command_of(name: str) -> click.Command:
    """The command that trains with a technique."""
    technique = techniques.load(name)

    @quietly
    def run(**options: Any) -> None:
        train(name, options)

    own = [setting_option(each, technique) for each in fields(technique.Settings)]
    command = with_options(*own, *SHARED)(run)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", technique.__doc__ or "")
    return click.command(name, cls=Command, help=text)(command)


def train(name: str, options: dict[str, Any]) -> None:
    """Run one experiment as a run of MLflow."""
    from leukemia.experiment import run as experiments
    from leukemia.splits.audit import as_text
    from leukemia.tracking import runs as tracking
    from leukemia.tracking.logbook import Logbook

    experiment, cells = prepare(name, options)
    config = experiment.config
    click.echo(f"{config.title}  {experiment.index.describe()}")
    click.echo(f"{config.title}  {experiment.protocol_line()}")
    experiment_id = tracking.connect(options["experiment"])
    unfinished = cache() / "unfinished" / f"{experiment_id}-{config.key(experiment.index)}"
    with (
        TemporaryDirectory() as folder,
        tracking.started_run("train", config.title, unfinished) as run,
        Logbook(run) as logbook,
    ):
        logbook.start(experiment)
        settings = _fetched(config.settings, Path(folder))
        able = replace(experiment, config=replace(config, settings=settings))
        listener = console.both(console.training(config.title, config.schedule.epochs), logbook)
        outcome = experiments.run(able, cells, listener, unfinished, cache())
        logbook.finish(experiment, outcome, cells)
    click.echo(f"{config.title}  {outcome.classifier.note}")
    if outcome.audit.blocking:
        click.echo(as_text(outcome.audit))
    for line in outcome.evaluation.lines():
        click.echo(f"{config.title}  {line}")


def prepare(name: str, options: dict[str, Any]) -> "tuple[Experiment, Cells]":
    """All that can be checked before a run starts: cells, split, settings."""
    from leukemia.experiment.config import Experiment
    from leukemia.model.classifier import check
    from leukemia.splits.protocol import split

    config = planned(name, options)
    check(config.model)
    index, cells, pairs, subjects = gathered(options)
    sides = split(index, subjects, config.protocol, config.seed, config.fold, config.folds)
    return Experiment(
        index=index, subjects=subjects, pairs=pairs, split=sides, config=config
    ), replace(cells, subjects=subjects)


def gathered(options: dict[str, Any]) -> "tuple[Index, Cells, tuple[Pair, ...], np.ndarray]":
    """The index, its cells, the near-identical pairs, and the subjects with linked ones joined."""
    from leukemia.data import near_duplicates as likeness
    from leukemia.data.store import Geometry, decode, load_cells

    index, geometry = opened(options), Geometry(crop=options["crop"], size=options["image_size"])
    cells = load_cells(index, geometry, cache(), console.bar("decoding cells"))
    # Compared as large as they are: made small, different cells come near each other, and who
    # is linked with whom must not depend on what the classifier sees.
    whole = Geometry(crop=geometry.crop) if geometry.crop else geometry
    images = decode(index, whole, cache(), console.bar("decoding cells to compare"))
    key = f"{index.digest[:32]}-{whole.crop}-{whole.size}"
    pairs = likeness.remembered(images, key, cache(), console.bar("comparing cells"))
    digests = index.frame["sha256"].to_numpy(str)
    return index, cells, pairs, likeness.joined_subjects(cells.subjects, digests, pairs)


def opened(options: dict[str, Any]) -> "Index":
    """The index of the cells that were asked for."""
    from leukemia.data.index import open_index

    return open_index(
        Path(options["data"]), options["positive"], cache(), console.bar("reading files")
    )


@quietly
def planned(name: str, options: dict[str, Any]) -> "ExperimentConfig":
    """The config of a technique from its options; those left open follow protocol and budget."""
    from leukemia.data.store import Geometry
    from leukemia.experiment.config import ExperimentConfig
    from leukemia.model.classifier import ModelConfig
    from leukemia.model.precision import resolved
    from leukemia.model.schedule import schedule_for

    technique, as_thesis = techniques.load(name), options["protocol"] == "thesis"
    budget = _unless_auto(options["budget"], "thesis" if as_thesis else "equal")
    scaling = _unless_auto(options["scaling"], "unit" if as_thesis else "imagenet")
    geometry = Geometry(crop=options["crop"], size=options["image_size"])
    given = {
        f.name: options[f.name]
        for f in fields(technique.Settings)
        if options.get(f.name) is not None
    }
    return ExperimentConfig(
        name=name,
        technique=technique,
        settings=replace(techniques.defaults(technique, budget), **given),
        protocol=options["protocol"],
        fold=options["fold"],
        folds=options["folds"],
        budget=budget,
        schedule=schedule_for(budget, technique),
        geometry=geometry,
        model=ModelConfig(
            backbone=options["backbone"],
            weights=options["backbone_weights"],
            scaling=scaling,
            size=geometry.side,
            precision=resolved(options["precision"]),
        ),
        seed=options["seed"],
        batch_size=options["batch_size"],
        sensitivity=options["sensitivity"],
    )


def _unless_auto(value: str, default: str) -> str:
    return default if value == "auto" else value


def setting_option(each: Any, technique: ModuleType) -> Any:
    """The option of a technique's setting; unset means the budget's default."""
    default = each.default
    said = "" if default is None else f"{default}"
    for budget in ("thesis", "quick"):
        of_budget = getattr(techniques.defaults(technique, budget), each.name)
        if of_budget != default:
            said = f"{said}; {budget}: {of_budget}".removeprefix("; ")
    choices = each.metadata.get("choices")
    kind = click.Choice(choices) if choices else each.metadata.get("kind", type(default))
    help = f"{each.metadata['help']}  [default: {said}]" if said else each.metadata["help"]
    return option(each.name, help, default=None, type=kind)


def _fetched(settings: Any, folder: Path) -> Any:
    """The settings with run IDs replaced by local copies of the artifacts they stand for."""
    from leukemia.tracking import records

    fetched = {}
    for each in fields(settings):
        run_id = getattr(settings, each.name)
        if "artifact" in each.metadata and run_id:
            fetched[each.name] = str(records.download(run_id, each.metadata["artifact"], folder))
    return replace(settings, **fetched)


if __name__ == "__main__":
    main()
