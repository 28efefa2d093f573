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
    from leukemia.data.likeness import Pair
    from leukemia.plan import Experiment, Plan


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
    from leukemia import experiment as experiments
    from leukemia import tracking
    from leukemia.audit import as_text
    from leukemia.logbook import Logbook

    experiment, cells = prepare(name, options)
    plan = experiment.plan
    click.echo(f"{plan.title}  {experiment.index.describe()}")
    click.echo(f"{plan.title}  {experiment.protocol_line()}")
    experiment_id = tracking.connect(options["experiment"])
    unfinished = cache() / "unfinished" / f"{experiment_id}-{plan.key(experiment.index)}"
    with (
        TemporaryDirectory() as folder,
        tracking.started_run("train", plan.title, unfinished) as run,
        Logbook(run) as logbook,
    ):
        logbook.start(experiment)
        settings = _fetched(plan.settings, Path(folder))
        able = replace(experiment, plan=replace(plan, settings=settings))
        listener = console.both(console.training(plan.title, plan.schedule.epochs), logbook)
        outcome = experiments.run(able, cells, listener, unfinished, cache())
        logbook.finish(experiment, outcome, cells)
    click.echo(f"{plan.title}  {outcome.classifier.note}")
    if outcome.audit.blocking:
        click.echo(as_text(outcome.audit))
    for line in outcome.reading.lines():
        click.echo(f"{plan.title}  {line}")


def prepare(name: str, options: dict[str, Any]) -> "tuple[Experiment, Cells]":
    """All that can be checked before a run starts: cells, split, settings."""
    from leukemia.classifier import check
    from leukemia.plan import Experiment
    from leukemia.protocol import split

    plan = planned(name, options)
    check(plan.spec)
    index, cells, pairs, subjects = gathered(options)
    sides = split(index, subjects, plan.protocol, plan.seed, plan.fold, plan.folds)
    return Experiment(index, subjects, pairs, sides, plan), replace(cells, subjects=subjects)


def gathered(options: dict[str, Any]) -> "tuple[Index, Cells, tuple[Pair, ...], np.ndarray]":
    """The index, its cells, the near-identical pairs, and the subjects with linked ones joined."""
    from leukemia.data import likeness
    from leukemia.data.store import Geometry, decode, load_cells

    index, geometry = opened(options), Geometry(options["crop"], options["image_size"])
    cells = load_cells(index, geometry, cache(), console.bar("decoding cells"))
    # Compared as large as they are: made small, different cells come near each other, and who
    # is linked with whom must not depend on what the classifier sees.
    whole = Geometry(geometry.crop) if geometry.crop else geometry
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
def planned(name: str, options: dict[str, Any]) -> "Plan":
    """The plan of a technique from its options; those left open follow protocol and budget."""
    from leukemia.classifier import Spec
    from leukemia.data.store import Geometry
    from leukemia.plan import Plan
    from leukemia.precision import settled
    from leukemia.schedule import schedule_for

    technique, as_thesis = techniques.load(name), options["protocol"] == "thesis"
    budget = _unless_auto(options["budget"], "thesis" if as_thesis else "equal")
    scaling = _unless_auto(options["scaling"], "unit" if as_thesis else "imagenet")
    geometry = Geometry(options["crop"], options["image_size"])
    given = {
        f.name: options[f.name]
        for f in fields(technique.Settings)
        if options.get(f.name) is not None
    }
    return Plan(
        name,
        technique,
        replace(techniques.defaults(technique, budget), **given),
        options["protocol"],
        options["fold"],
        options["folds"],
        budget,
        schedule_for(budget, technique),
        geometry,
        Spec(
            options["backbone"],
            options["backbone_weights"],
            scaling,
            geometry.side,
            settled(options["precision"]),
        ),
        options["seed"],
        options["batch_size"],
        options["sensitivity"],
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
    from leukemia import tracking

    fetched = {}
    for each in fields(settings):
        run_id = getattr(settings, each.name)
        if "artifact" in each.metadata and run_id:
            fetched[each.name] = str(tracking.download(run_id, each.metadata["artifact"], folder))
    return replace(settings, **fetched)


if __name__ == "__main__":
    main()
