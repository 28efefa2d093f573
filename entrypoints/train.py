"""Balance with one technique, train a classifier, evaluate it, log everything."""

import re
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from entrypoints import console
from entrypoints.command import SHARED, Command, cache, option, quietly, with_options
from leukemia import techniques

if TYPE_CHECKING:
    from leukemia.cells import Cells
    from leukemia.experiment import Experiment


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

    quick = techniques.defaults(technique, "quick")
    own = [_setting_option(each, quick) for each in fields(technique.Settings)]
    command = with_options(*own, *SHARED)(run)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", technique.__doc__ or "")
    return click.command(name, cls=Command, help=text)(command)


def train(name: str, options: dict[str, Any]) -> None:
    """Run one experiment as a run of MLflow."""
    from leukemia import experiment as experiments
    from leukemia import tracking
    from leukemia.logbook import Logbook

    experiment, cells = prepare(name, options)
    plan = experiment.plan
    title = f"{plan.arm} seed {plan.seed}"
    click.echo(f"{title}  {experiment.index.describe()}")
    click.echo(f"{title}  {experiment.protocol_line()}")
    tracking.connect(options["experiment"])
    with TemporaryDirectory() as folder, tracking.started_run("train", title) as run:
        logbook = Logbook(run)
        logbook.start(experiment)
        settings = _fetched(plan.settings, Path(folder))
        able = replace(experiment, plan=replace(plan, settings=settings))
        listener = console.both(console.training(title, plan.schedule.epochs), logbook)
        outcome = experiments.run(able, cells, listener)
        logbook.finish(experiment, outcome)
    click.echo(f"{title}  {outcome.classifier.note}")
    click.echo(f"{title}  {_summary(outcome.metrics)}")


def prepare(name: str, options: dict[str, Any]) -> "tuple[Experiment, Cells]":
    """All that can be checked before a run starts: cells, split, settings."""
    from leukemia.classifier import Spec, check
    from leukemia.data.index import open_index
    from leukemia.data.store import Geometry, load_cells
    from leukemia.experiment import Experiment, Plan
    from leukemia.protocol import split
    from leukemia.schedule import schedule_for

    technique, budget = techniques.load(name), options["budget"]
    geometry = Geometry(options["crop"], options["image_size"])
    spec = Spec(options["backbone"], options["backbone_weights"], options["scaling"], geometry.side)
    check(spec)
    given = {
        f.name: options[f.name] for f in fields(technique.Settings) if options[f.name] is not None
    }
    settings = replace(techniques.defaults(technique, budget), **given)
    schedule = schedule_for(budget, technique)
    plan = Plan(
        name, technique, settings, budget, schedule, geometry, spec, options["seed"],
        options["batch_size"],
    )  # fmt: skip
    index = open_index(options["data"], options["positive"], cache(), console.bar("reading files"))
    experiment = Experiment(index, split(index, plan.seed), plan)
    return experiment, load_cells(index, geometry, cache(), console.bar("decoding cells"))


def _setting_option(each: Any, quick: Any) -> Any:
    """The option of a technique's setting; unset means the budget's default."""
    default, under_quick = each.default, getattr(quick, each.name)
    said = f"{default}" if under_quick == default else f"{default}; quick: {under_quick}"
    choices = each.metadata.get("choices")
    kind = click.Choice(choices) if choices else type(default)
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


def _summary(metrics: dict[str, float]) -> str:
    return (
        f"test balanced accuracy {metrics['test_bal_acc']:.3f} (95 % interval over subjects "
        f"{metrics.get('test_ba_low', float('nan')):.3f} to "
        f"{metrics.get('test_ba_high', float('nan')):.3f}), "
        f"sensitivity {metrics['test_sens']:.3f}, specificity {metrics['test_spec']:.3f}; "
        f"validation balanced accuracy {metrics['val_bal_acc']:.3f}"
    )


if __name__ == "__main__":
    main()
