"""Classify image files or folders of them with a registered model.

Prints path, probability and label for each. Research use only; not for diagnosis.
"""

from pathlib import Path

import click

from . import console
from .command import CHAMPION, Command, option, quietly


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
    from leukemia.data.decoding import image_files
    from leukemia.data.files import write_atomically
    from leukemia.registry import served
    from leukemia.text.spreadsheet import as_csv
    from leukemia.tracking import connection, runs

    paths = image_files(images)
    connection.connect()
    with runs.project_run("predict"):
        asked = served.load(model)
        rows = served.called(asked, paths)
        console.say(
            f"# {asked.about} Probability of '{asked.positive}', called from {asked.threshold}."
        )
        console.say(f"# {RESEARCH_ONLY}")
        text = as_csv(rows, float_format="%.4f")
        console.say(*text.splitlines())
        if csv:
            write_atomically(csv, text.encode())


if __name__ == "__main__":
    main()
