"""The audit of a data set or of a list of files, without training anything."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from leukemia import RESEARCH_ONLY
from leukemia.cells import Names
from leukemia.data import manifest
from leukemia.data.near_duplicates import joined_subjects
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import Gathered, gather
from leukemia.report import Progress, unwatched
from leukemia.splits.audit import LEFT_OUT, Audit, examine
from leukemia.splits.audit_plot import figure
from leukemia.splits.protocol import split

LARGE = 210  # pixels a side at which whole images are compared
SOURCE = "source"


def audit_cells(
    options: ExperimentOptions,
    between: str | None = None,
    cache: Path | None = None,
    progress: Progress = unwatched,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[Audit, Names]:
    """Look for leaks between the splits of a data set; the audit and its picture. Every file is
    read: an audit believes no memory of an earlier look.

    Args:
        tell: is told what was left out of the files, if anything.
        between: a protocol, None for the options' own, or SOURCE: the parts that the data come in.

    Returns:
        The audit, and (H, W, 3) uint8.
    """
    size = 0 if options.crop else LARGE  # a whole image may be of any size
    asked = replace(options, image_size=size)
    gathered = gather(asked, cache, progress, read_all=True)
    index, cells, protocol = gathered.index, gathered.cells, between or options.protocol
    if index.remarks:
        tell(index.remarks)
    if protocol == SOURCE:
        splits, line = index.frame["split"].to_numpy(str), "Between the parts that the data come in"
    else:
        splits, line = _splits(gathered, replace(options, protocol=protocol))
    audit = examine(index.frame, cells.subjects, splits, gathered.pairs, protocol=protocol)
    parts = filter(None, [index.describe(), line, index.remarks])
    about = f"{'. '.join(parts)}. {RESEARCH_ONLY}"
    return audit, figure(audit, about, cells.cell_id, cells.images)


def audit_manifest(csv: Path, labels: Path | None = None) -> tuple[Audit, Names]:
    """Look for leaks between the parts that listed files' paths name, by their digests alone.

    Args:
        csv: path,sha256. labels: C-NMC's labels of its preliminary set, which tell its subjects.
    """
    frame = manifest.read(csv, labels)
    subject, digest = (frame[name].to_numpy(str) for name in ("subject", "sha256"))
    joined = joined_subjects(subject, digest, ())
    audit = examine(frame, joined, frame["split"].to_numpy(str), None)
    about = f"Files of {csv.name} by their SHA-256; no pixels were looked at."
    return audit, figure(audit, about)


def _splits(gathered: Gathered, options: ExperimentOptions) -> tuple[Names, str]:
    """(n,) str, the split of each cell under a protocol, and the protocol in a line."""
    subjects = gathered.cells.subjects
    seed = options.seed_of_split
    chosen = split(gathered.index, subjects, options.protocol, seed, options.fold, options.folds)
    of_cell = np.full(len(subjects), LEFT_OUT, dtype="<U10")
    for name, rows in chosen.rows.items():
        of_cell[rows] = name
    return of_cell, chosen.line
