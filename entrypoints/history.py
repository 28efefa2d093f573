"""Tell who moved the champion, when and why."""

import click

from . import console
from .command import MODEL, Command


@click.command(cls=Command, help=__doc__)
@MODEL
def main(model: str) -> None:
    """Print a line for each move."""
    from leukemia.registry import champion
    from leukemia.tracking import connection, runs

    connection.connect()
    with runs.project_run("history"):
        moves, now = champion.history(model), champion.champion(model)
        for each in moves:
            change = f"{each.before or 'none'} -> {each.after}"
            console.say(f"{each.when[:19]} UTC  {change:12}  {each.who}: {each.why}")
        if (moves[-1].after if moves else "") != now:
            console.say(
                f"Note: version {now or 'none'} is champion now and no move to it is recorded: "
                f"the alias was moved past these commands."
            )


if __name__ == "__main__":
    main()
