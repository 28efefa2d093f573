"""Make the version that was champion before the last move the champion again."""

import click

from . import console
from .command import MODEL, WHY, Command


@click.command(cls=Command, help=__doc__)
@WHY
@MODEL
def main(why: str, model: str) -> None:
    """Roll back."""
    from leukemia.registry import champion
    from leukemia.tracking import connection, runs

    connection.connect()
    with runs.project_run("rollback"):
        made = champion.rollback(model, why)
        console.say(
            f"{model} version {made.after} is the champion again, in place of {made.before}."
        )


if __name__ == "__main__":
    main()
