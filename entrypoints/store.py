"""Make the SQLite database of the runs, finish one that is half-made, or upgrade an older MLflow's.

It works on a copy and keeps the old file beside it. Start it as `leukemia store` or as
`python -m entrypoints.store`: `mlflow run` itself opens the database first.
"""

import click

from . import console
from .command import Command, option


@click.command(cls=Command, help=__doc__)
@option(
    "moved",
    "the project's folder was moved or copied: note where the artifacts lie now",
    default=False,
    type=bool,
)
@option("look", "change nothing; exit code 1 where it must be mended", default=False, type=bool)
def main(moved: bool, look: bool) -> None:
    """Bring the database to this MLflow's tables."""
    from leukemia.errors import UserError
    from leukemia.tracking import moved as places
    from leukemia.tracking import store

    uri = store.address()
    file = store.of(uri)
    if file and look:
        store.hold_to_ready(file)
        places.hold_to_place(file)
        console.say(f"{file}: {store.look(file).state.value}")
    elif file and moved:
        console.say(places.mend(file))
    elif file:
        console.say(store.mend(file))
    elif not look:
        raise UserError(f"{uri} is a server's, and whoever runs it looks after its database")


if __name__ == "__main__":
    main()
