"""One index for cells from any source: which files there are and what is known of each."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leukemia.cells import NEGATIVE, POSITIVE
from leukemia.data import cnmc, files, table
from leukemia.errors import UserError

COLUMNS = ["path", "label", "subject", "split", "sha256"]
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Index:
    """The cells of one data set, one row each, in a stable order.

    frame: columns path (relative to root), label (class name), subject, split (as the
        source names it, or ""), sha256 (of the file).
    positive, negative: the class names; `positive` is the positive one.
    source: `cnmc` or `table`.
    synthetic: what the cells are if no patient's, else "".
    size: width and height in pixels that every image must have, or None.
    notes: what a reader of the index should know, one line each.
    """

    frame: pd.DataFrame
    root: Path
    positive: str
    negative: str
    source: str
    synthetic: str
    size: int | None
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The image files, in the index's order."""
        return [self.root / path for path in self.frame["path"]]

    @property
    def labels(self) -> np.ndarray:
        """(n,) int8: 1 for the positive class."""
        return np.where(self.frame["label"] == self.positive, POSITIVE, NEGATIVE).astype(np.int8)

    @property
    def digest(self) -> str:
        """SHA-256 of labels, subjects, splits and file contents, wherever the files lie."""
        rows = self.frame[["sha256", "label", "subject", "split"]].agg(",".join, axis=1)
        text = "\n".join([self.positive, *sorted(rows)])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """One line: how many cells of how many subjects, and whether they are drawn."""
        kinds = [f"{n} {label}" for label, n in self.frame["label"].value_counts().items()]
        subjects = self.frame["subject"].nunique()
        kind = f"SIMULATED ({self.synthetic})" if self.synthetic else self.source
        return f"{len(self.frame)} cells ({', '.join(kinds)}) of {subjects} subjects; {kind}"


def open_index(
    data: Path,
    positive: str = AUTO,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Index:
    """The index of a C-NMC tree, a CSV file, or a folder with `index.csv`.

    positive: name of the positive class; `auto` means `all` for a C-NMC tree.
    cache: folder in which the files' digests are kept between runs, or None.

    Raises:
        UserError: nothing of the kind is there, or what is there contradicts itself.
    """
    found, root, source, synthetic, size, notes = _find(data)
    positive, negative = _classes(found["label"], positive, source, data)
    frame = found.sort_values("path", kind="stable", ignore_index=True)
    paths = [root / path for path in frame["path"]]
    frame["sha256"] = files.digests(paths, cache, progress)
    return Index(
        frame=frame[COLUMNS],
        root=root,
        positive=positive,
        negative=negative,
        source=source,
        synthetic=synthetic,
        size=size,
        notes=notes,
    )


def _find(
    data: Path,
) -> tuple[pd.DataFrame, Path, str, str, int | None, tuple[str, ...]]:
    if not data.exists():
        raise UserError(f"{data}: no such file or folder; give a C-NMC tree, a CSV or its folder")
    csv = data / table.NAME if data.is_dir() else data
    if csv.is_file():
        return table.read(csv), csv.parent, "table", "", None, ()
    frame, notes = cnmc.read(data)
    return frame, data, "cnmc", cnmc.synthetic(data), cnmc.SIZE, notes


def _classes(labels: pd.Series, positive: str, source: str, data: Path) -> tuple[str, str]:
    """The (positive, negative) class names."""
    names = sorted(labels.unique())
    if len(names) != 2:
        raise UserError(
            f"{data}: {len(names)} class(es) ({', '.join(names)}) where two are needed: "
            f"an empty or a third class cannot be balanced; mend the labels"
        )
    if positive == AUTO and source == "cnmc":
        positive = "all"
    if positive not in names:
        came = (
            "no positive class is named" if positive == AUTO else f"there is no class '{positive}'"
        )
        raise UserError(f"{data}: {came}; give positive={names[0]} or positive={names[1]}")
    return positive, names[1 - names.index(positive)]
