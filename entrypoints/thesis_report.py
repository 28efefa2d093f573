"""Write the thesis re-told: its figures against its own counts, and against runs made here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import console
from .command import EXPERIMENT, Command, option

if TYPE_CHECKING:
    import pandas as pd

    from leukemia.thesis.report import Report

NAME = "thesis_report"
# One of these, or a database in the working folder, says that runs are kept somewhere.
STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


@click.command(cls=Command, help=__doc__)
@option(
    "out", "folder for the report and its pictures", default=NAME, type=click.Path(path_type=Path)
)
@EXPERIMENT
@option("terms", "of the own runs, where there are several: their first digits", default="")
def main(out: Path, experiment: str | None, terms: str) -> None:
    """Build the report and, where runs are kept, log it as one."""
    from leukemia.thesis.report import build

    if not has_store(experiment):
        console.say(f"Report: {write(build(), out)[0]}")
        return
    from leukemia.tracking import connection, runs

    experiment_id = connection.connect(experiment)
    with runs.started_run("thesis-report", "thesis-report"):
        files = write(build(own_runs(experiment_id, terms)), out)
        runs.log_files(files)  # not the folder: it may hold what is not the report's
        console.say(f"Report: {files[0]}")


def has_store(experiment: str | None) -> bool:
    """Whether runs are kept somewhere: asked for, set up, or a database in the working folder."""
    return bool(experiment) or any(map(os.environ.get, STORES)) or Path("mlflow.db").exists()


def own_runs(experiment_id: str, terms: str = "") -> "pd.DataFrame | None":
    """The experiment's runs by technique and protocol, or None if none have finished."""
    from leukemia.errors import UserError
    from leukemia.study import results

    try:
        return results.by_protocol(experiment_id, terms=terms)
    except UserError as error:
        console.say(f"No own runs in the report: {error}", *error.choices)
        return None


def write(report: "Report", out: Path) -> list[Path]:
    """The files of the report in a folder: the page, the same as Markdown, the pictures."""
    from leukemia.thesis.document import png

    contents = {f"{NAME}.html": report.html.encode(), f"{NAME}.md": report.markdown.encode()}
    contents |= {f"{name}.png": png(picture) for name, picture in report.figures.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (out / name).write_bytes(content)
    return [out / name for name in contents]


if __name__ == "__main__":
    main()
