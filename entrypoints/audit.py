"""Look for leaks: files, cells, subjects and labels that stand on two sides of a split.

Ends with exit code 1 where something is found that would make a test figure worthless. With a
manifest (a CSV of path,sha256) files are compared by their digests alone, between the parts
that their paths name.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from leukemia.splits import PROTOCOLS

from . import console
from .command import (
    CROP,
    DATA,
    EXPERIMENT,
    FOLD,
    NUMBER_OF_FOLDS,
    SEED,
    SPLIT_SEED,
    Command,
    option,
    options_of,
    with_options,
)

BETWEEN = option(
    "protocol",
    "between which sides to look: those of a protocol, or the parts that the data come in, as "
    "they are (source: C-NMC's folds, a table's column 'split')",
    default="subject",
    type=click.Choice([*PROTOCOLS, "source"]),
)

if TYPE_CHECKING:
    import numpy as np

    from leukemia.splits.audit import Audit


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, BETWEEN, SEED, SPLIT_SEED, FOLD, NUMBER_OF_FOLDS, CROP)
@option(
    "labels",
    "of a manifest: the labels CSV of C-NMC's preliminary set, which tells its subjects",
    default=None,
    type=click.Path(path_type=Path),
)
@option(
    "out",
    "also write audit.json, audit.csv and audit.png to this folder",
    default=None,
    type=click.Path(path_type=Path),
)
@EXPERIMENT
def main(
    experiment: str | None, out: Path | None, labels: Path | None, protocol: str, **given: Any
) -> None:
    """Audit, print, and keep what was found."""
    from leukemia.splits.audit import as_text
    from leukemia.splits.audit_plot import audit_files
    from leukemia.tracking import connection, runs

    audit, picture = _audited(labels, protocol, given)
    console.say(*as_text(audit).splitlines())
    if out:
        for path in audit_files(audit, picture, out):
            console.say(f"Written: {path}")
    if os.environ.get("MLFLOW_RUN_ID"):
        connection.connect(experiment)
        with runs.started_run("audit", "audit"), TemporaryDirectory() as folder:
            runs.log_files(audit_files(audit, picture, Path(folder)))
    if audit.blocking:
        console.say(f"{len(audit.blocking)} findings block ranking and registration.", err=True)
        sys.exit(1)


def _audited(
    labels: Path | None, protocol: str, given: dict[str, Any]
) -> "tuple[Audit, np.ndarray]":
    from leukemia.data import manifest
    from leukemia.experiment.audit import audit_cells, audit_manifest

    if manifest.is_manifest(given["data"]):
        return audit_manifest(given["data"], labels)
    return audit_cells(options_of(given), protocol, progress=console.bar, tell=console.say)


if __name__ == "__main__":
    main()
