"""Classify image files or folders of them with a registered model.

Prints path, probability and label for each, or why there are none: a bad file keeps no other from
its answer, and ends the command with 1. Research use only; not for diagnosis.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leukemia.errors import UserError

from . import console
from .command import CHAMPION, Command, option, quietly

if TYPE_CHECKING:
    import pandas as pd


@click.command(cls=Command, help=__doc__)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("model", "model URI: a registered alias or version, or a run's model", default=CHAMPION)
@option(
    "csv", "also write the rows to this CSV file", default=None, type=click.Path(path_type=Path)
)
@quietly
def main(images: tuple[Path, ...], model: str, csv: Path | None) -> None:
    """Classify."""
    from leukemia import RESEARCH_ONLY
    from leukemia.data.files import write_atomically
    from leukemia.data.named import image_files
    from leukemia.registry import served
    from leukemia.text.spreadsheet import as_csv
    from leukemia.tracking import connection, runs

    named = image_files(images)
    for line in named.left_out:
        console.say(f"# {line}", err=True)
    connection.connect()
    with runs.project_run("predict"):
        asked = served.load(model)
        rows = served.called(asked, named.files)
        console.say(
            f"# {asked.about} Probability of '{asked.positive}', called from {asked.threshold}."
        )
        console.say(f"# {RESEARCH_ONLY}")
        text = as_csv(rows, float_format="%.4f")
        console.say(*text.splitlines())
        if csv:
            write_atomically(csv, text.encode())
        refuse_unanswered(rows)


def refuse_unanswered(rows: "pd.DataFrame") -> None:
    """End as failed where files got no answer; raises UserError, which counts them."""
    without = rows[rows["error"] != ""]
    if len(without):
        first = without.iloc[0]
        raise UserError(
            f"{len(without)} of {len(rows)} files have no answer; the first: {first['path']}: "
            f"{first['error']}"
        )


if __name__ == "__main__":
    main()
