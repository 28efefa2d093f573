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
    PROTOCOL,
    SEED,
    Command,
    option,
    with_options,
)

LARGE = 210  # pixels a side at which whole images are compared

if TYPE_CHECKING:
    import numpy as np

    from leukemia.audit import Audit


@click.command(cls=Command, help=__doc__)
@with_options(*DATA, PROTOCOL, SEED, FOLD, NUMBER_OF_FOLDS, CROP)
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
    from leukemia import tracking
    from leukemia.audit import as_text
    from leukemia.audit_figure import audit_files
    from leukemia.data import manifest

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
    """The audit of a data set as a protocol splits it, and its picture."""
    import numpy as np

    from entrypoints.train import gathered
    from leukemia.audit import LEFT_OUT, examine
    from leukemia.audit_figure import figure
    from leukemia.protocol import split

    size = 0 if options["crop"] else LARGE  # a whole image may be of any size
    index, cells, pairs, subjects = gathered(options | {"image_size": size})
    sides = split(index, subjects, *(options[k] for k in ("protocol", "seed", "fold", "folds")))
    side = np.full(len(cells), LEFT_OUT, dtype="<U10")
    for name, rows in sides.rows.items():
        side[rows] = name
    found = examine(index.frame, subjects, side, pairs, protocol=sides.name)
    about = f"{index.describe()}. {sides.line}. Research use only; not for diagnosis."
    return found, figure(found, about, cells.origin, cells.images)


def _of_manifest(options: dict[str, Any]) -> "tuple[Audit, np.ndarray]":
    """The audit of listed files, between the parts that their paths name, and its picture."""
    from leukemia.audit import examine
    from leukemia.audit_figure import figure
    from leukemia.data import manifest
    from leukemia.data.likeness import joined_subjects

    frame = manifest.read(options["data"], options["labels"])
    subject, digest = (frame[name].to_numpy(str) for name in ("subject", "sha256"))
    found = examine(frame, joined_subjects(subject, digest, ()), frame["split"].to_numpy(str), None)
    about = f"Files of {options['data'].name} by their SHA-256; no pixels were looked at."
    return found, figure(found, about)


if __name__ == "__main__":
    main()
