"""Look at a data set before anything trains: classes, subjects, sizes, modes, some cells of each.

Classes need not be two yet, and subjects need not be known. What is left out is counted.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from . import console
from .command import CROP, DATA, EXPERIMENT, LOOKS, Command, option, options_of, with_options


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, CROP, *LOOKS)
@option(
    "out",
    "also write look.txt, look.csv (one row an image) and look.png to this folder",
    default=None,
    type=click.Path(path_type=Path),
)
@EXPERIMENT
def main(experiment: str | None, out: Path | None, **given: Any) -> None:
    """Look, print, and keep what was seen."""
    from leukemia.experiment.look import as_text, look, usual
    from leukemia.experiment.look_plot import contact_sheet, look_files
    from leukemia.tracking import connection, runs

    options = options_of(given)
    data = Path(options.data)
    seen = look(data, options.of_data, usual(options.geometry), console.bar("reading heads"))
    console.say(*as_text(seen).splitlines())
    in_run = os.environ.get("MLFLOW_RUN_ID")
    if not (out or in_run):
        return
    picture = contact_sheet(seen, f"{data.name}: {len(seen.frame)} images")
    if out:
        for path in look_files(seen, picture, out):
            console.say(f"Written: {path}")
    if in_run:
        connection.connect(experiment)
        with runs.started_run("look", "look"), TemporaryDirectory() as folder:
            runs.log_files(look_files(seen, picture, Path(folder)))


if __name__ == "__main__":
    main()
