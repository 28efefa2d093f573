"""Send the results that wait on this machine for a tracking server that was away."""

import sys

import click

from . import console
from .command import Command


@click.command(cls=Command, help=__doc__)
def main() -> None:
    """Send what every run has left, each to the server that it is of."""
    from leukemia.data.cache import cache_folder
    from leukemia.tracking import connection, runs, sync

    connection.connect()
    with runs.project_run("sync"):
        waiting = sync.waiting(cache_folder())
        if not waiting:
            console.say("Nothing waits: every run's results are where they belong.")
        for one in waiting:
            console.say(f"{one.about.title}: {one.entries} entries for {one.about.store}")
            console.say(sync.send(one))
        left = sync.waiting(cache_folder())
    if any(one.entries for one in left):
        sys.exit(1)


if __name__ == "__main__":
    main()
