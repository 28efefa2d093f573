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

from entrypoints.command import (
    CROP,
    DATA,
    EXPERIMENT,
    FOLD,
    NUMBER_OF_FOLDS,
    SEED,
    Command,
    option,
    with_options,
)
from leukemia.splits import PROTOCOLS

LARGE = 210  # pixels a side at which whole images are compared
SOURCE = "source"
BETWEEN = option(
    "protocol",
    "between which sides to look: those of a protocol, or the parts that the data come in, as "
    "they are (source: C-NMC's folds, a table's column 'split')",
    default="subject",
    type=click.Choice([*PROTOCOLS, SOURCE]),
)

if TYPE_CHECKING:
    import numpy as np

    from leukemia.data.index import Index
    from leukemia.splits.audit import Audit


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, BETWEEN, SEED, FOLD, NUMBER_OF_FOLDS, CROP)
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
def main(experiment: str | None, out: Path | None, **options: Any) -> None:
    """Audit, print, and keep what was found."""
    from leukemia.data import manifest
    from leukemia.splits.audit import as_text
    from leukemia.splits.audit_plot import audit_files
    from leukemia.tracking import runs as tracking

    audit_of = _of_manifest if manifest.is_manifest(options["data"]) else _of_cells
    found, picture = audit_of(options)
    click.echo(as_text(found))
    if out:
        for path in audit_files(found, picture, out):
            click.echo(f"Written: {path}")
    if os.environ.get("MLFLOW_RUN_ID"):
        tracking.connect(experiment)
        with tracking.started_run("audit", "audit"), TemporaryDirectory() as folder:
            tracking.log_files(audit_files(found, picture, Path(folder)))
    if found.blocking:
        click.echo(f"{len(found.blocking)} findings block ranking and registration.", err=True)
        sys.exit(1)


def _of_cells(options: dict[str, Any]) -> "tuple[Audit, np.ndarray]":
    """The audit of a data set, split as was asked, and its picture."""
    from entrypoints.train import gathered
    from leukemia.splits.audit import examine
    from leukemia.splits.audit_plot import figure

    size = 0 if options["crop"] else LARGE  # a whole image may be of any size
    index, cells, pairs, subjects = gathered(options | {"image_size": size})
    if options["protocol"] == SOURCE:
        side, line = index.frame["split"].to_numpy(str), "Between the parts that the data come in"
    else:
        side, line = _sides(index, subjects, options)
    found = examine(index.frame, subjects, side, pairs, protocol=options["protocol"])
    about = f"{index.describe()}. {line}. Research use only; not for diagnosis."
    return found, figure(found, about, cells.cell_id, cells.images)


def _sides(
    index: "Index", subjects: "np.ndarray", options: dict[str, Any]
) -> "tuple[np.ndarray, str]":
    """The side of each cell under a protocol, and the protocol in a line."""
    import numpy as np

    from leukemia.splits.audit import LEFT_OUT
    from leukemia.splits.protocol import split

    sides = split(index, subjects, *(options[k] for k in ("protocol", "seed", "fold", "folds")))
    side = np.full(len(subjects), LEFT_OUT, dtype="<U10")
    for name, rows in sides.rows.items():
        side[rows] = name
    return side, sides.line


def _of_manifest(options: dict[str, Any]) -> "tuple[Audit, np.ndarray]":
    """The audit of listed files, between the parts that their paths name, and its picture."""
    from leukemia.data import manifest
    from leukemia.data.near_duplicates import joined_subjects
    from leukemia.splits.audit import examine
    from leukemia.splits.audit_plot import figure

    frame = manifest.read(options["data"], options["labels"])
    subject, digest = (frame[name].to_numpy(str) for name in ("subject", "sha256"))
    found = examine(frame, joined_subjects(subject, digest, ()), frame["split"].to_numpy(str), None)
    about = f"Files of {options['data'].name} by their SHA-256; no pixels were looked at."
    return found, figure(found, about)


if __name__ == "__main__":
    main()
