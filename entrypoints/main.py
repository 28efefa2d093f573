"""Which cure for class imbalance helps a leukemia cell classifier, and can the number be trusted?

Every technique is a command that trains with it, every other entry point one by its name; each
tells its options with --help. Research use only; not for diagnosis.

Completion in bash (zsh and fish alike): eval "$(_LEUKEMIA_COMPLETE=bash_source leukemia)"
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from leukemia import __version__, techniques

from .command import in_one_line
from .train import command_of

# Files here that are no command of their own; the techniques are those of `train`.
HELPERS = (
    "__init__",
    "__main__",
    "command",
    "console",
    "main",
    "parent",
    "planned",
    "train",
    "troubles",
)


class Commands(click.Group):
    """One subcommand for each file here and each technique; none is loaded before it is asked for
    or helped."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The entry points, as MLproject has them."""
        return sorted([*techniques.names(), *_others()])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A technique's command or a file's; None if there is neither."""
        if name in techniques.names():
            return command_of(name)
        if name not in _others():
            return None
        module = import_module(f"{__package__}.{name.replace('-', '_')}")
        command: click.Command = module.main
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Techniques and other commands, each with its first sentence."""
        width = formatter.width - 6 - max(map(len, self.list_commands(context)))
        for title, names in (("Techniques", techniques.names()), ("Commands", _others())):
            with formatter.section(title):
                formatter.write_dl([(name, self._short(context, name, width)) for name in names])

    def invoke(self, context: click.Context) -> Any:
        """Run the subcommand; a technique's file that cannot be loaded gets one line."""
        with in_one_line(context):
            return super().invoke(context)

    def _short(self, context: click.Context, name: str, width: int) -> str:
        command = self.get_command(context, name)
        return command.get_short_help_str(width) if command else ""


@click.group(cls=Commands, help=__doc__)
@click.version_option(__version__, prog_name="leukemia")
def main() -> None:
    """Pass the words on to a subcommand."""


def _others() -> list[str]:
    """The commands that are no technique, in alphabetical order."""
    stems = {path.stem for path in Path(__file__).parent.glob("*.py")}
    return sorted(stem.replace("_", "-") for stem in stems.difference(HELPERS))
