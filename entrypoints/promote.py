"""Make a registered version that passed the gate the champion, with a reason for the history."""

import click

from . import console
from .command import MODEL, WHY, Command, option


@click.command(cls=Command, help=__doc__)
@option("version", "the registered version that is to be champion", required=True)
@WHY
@MODEL
def main(version: str, why: str, model: str) -> None:
    """Promote."""
    from leukemia.registry import champion
    from leukemia.tracking import connection, runs

    connection.connect()
    with runs.project_run("promote"):
        moved = champion.promote(model, version, why)
        console.say(f"{model} version {version} is the champion {'now' if moved else 'already'}.")


if __name__ == "__main__":
    main()
