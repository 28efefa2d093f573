"""Balance with one technique, train a classifier, evaluate it, log everything."""

import re
from dataclasses import fields
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from leukemia import techniques

from . import console
from .command import SHARED, Command, option, options_of, quietly, with_options

if TYPE_CHECKING:
    from leukemia.experiment.options import ExperimentOptions
    from leukemia.experiment.run import Outcome


class Techniques(click.Group):
    """One subcommand for each file in leukemia/techniques."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The techniques that exist."""
        return list(techniques.names())

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
    def run(experiment: str | None, **given: Any) -> None:
        train(options_of(given, technique=name), experiment)

    own = [setting_option(each, technique) for each in fields(technique.Settings)]
    command = with_options(*own, *SHARED)(run)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", technique.__doc__ or "")
    return click.command(name, cls=Command, help=text)(command)


def train(options: "ExperimentOptions", name: str | None) -> None:
    """Run one experiment as a run of MLflow, and print how it goes."""
    from leukemia.experiment.prepare import prepare
    from leukemia.study import launch

    experiment, cells = prepare(options, progress=console.bar)
    title, epochs = experiment.config.title, experiment.config.schedule.epochs
    console.say(f"{title}  {experiment.index.describe()}")
    console.say(f"{title}  {experiment.protocol_line()}")
    if experiment.index.remarks:
        console.say(f"{title}  {experiment.index.remarks}")
    listener = console.training(title, epochs)
    tell = partial(_show, title)
    if launch.train(experiment, cells, options, name, report=listener, tell=tell) is None:
        console.say(f"{title}  {launch.SENT_NOW}")


def _show(title: str, outcome: "Outcome") -> None:
    """Print what came of a training."""
    from leukemia.splits.audit import as_text

    console.say(f"{title}  {outcome.classifier.note}")
    if outcome.audit.blocking:
        console.say(*as_text(outcome.audit).splitlines())
    for line in outcome.evaluation.lines():
        console.say(f"{title}  {line}")


def setting_option(each: Any, technique: ModuleType) -> Any:
    """The option of a technique's setting; unset means the budget's default."""
    default = each.default
    shown = "" if default is None else f"{default}"
    for budget in ("thesis", "quick"):
        of_budget = getattr(techniques.defaults(technique, budget), each.name)
        if of_budget != default:
            shown = f"{shown}; {budget}: {of_budget}".removeprefix("; ")
    choices = each.metadata.get("choices")
    kind = click.Choice(choices) if choices else each.metadata.get("kind", type(default))
    help = f"{each.metadata['help']}  [default: {shown}]" if shown else each.metadata["help"]
    return option(each.name, help, default=None, type=kind)


if __name__ == "__main__":
    main()
