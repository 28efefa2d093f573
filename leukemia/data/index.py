"""One index for cells from any source: which files there are and what is known of each."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from leukemia.cells import Classes, Labels
from leukemia.data import cnmc, files, names, outside, table
from leukemia.data.names import some_of
from leukemia.errors import UserError

COLUMNS = ["path", "label", "subject", "split", "sha256"]
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Index:
    """The cells of one data set, one row each, in a stable order.

    frame: columns path (relative to root), label (class name), subject, split (as the
        source names it, or ""), sha256 (of the file).
    classes: the classes of the labels.
    source: `cnmc` or `table`.
    simulated: how the cells were drawn where they are no patient's, else "".
    size: width and height in pixels that every image must have, or None.
    notes: what a reader of the index should know, one line each.
    outside: a line on files that do not lie below the root, "" where all do.
    """

    frame: pd.DataFrame
    root: Path
    classes: Classes
    source: str
    simulated: str
    size: int | None
    notes: tuple[str, ...] = ()
    outside: str = ""

    @property
    def paths(self) -> list[Path]:
        """The image files, in the index's order."""
        return [self.root / path for path in self.frame["path"]]

    @property
    def positive(self) -> str:
        """The name of the positive class."""
        return self.classes.positive_name

    @property
    def negative(self) -> str:
        """The name of the negative class."""
        return self.classes.negative_name

    @property
    def labels(self) -> Labels:
        """(n,) int8: the class index of each cell."""
        return self.classes.labels(self.frame["label"].to_numpy(str))

    @property
    def digest(self) -> str:
        """SHA-256 of labels, subjects, splits and file contents, wherever the files lie."""
        rows = self.frame[["sha256", "label", "subject", "split"]].agg(",".join, axis=1)
        text = "\n".join([self.positive, *sorted(rows)])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """One line: how many cells of how many subjects, and whether they are simulated."""
        kinds = [f"{n} {label}" for label, n in self.frame["label"].value_counts().items()]
        subjects = self.frame["subject"].nunique()
        kind = f"SIMULATED ({self.simulated})" if self.simulated else self.source
        return f"{len(self.frame)} cells ({', '.join(kinds)}) of {subjects} subjects; {kind}"


def open_index(
    data: Path,
    positive: str = AUTO,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    strict_paths: bool = False,
) -> Index:
    """The index of a C-NMC tree, a CSV file, or a folder with `index.csv`.

    positive: name of the positive class; `auto` means `all` for a C-NMC tree.
    cache: folder in which the files' digests are kept between runs, or None.
    strict_paths: refuse files that do not lie in the data's folder, before any is looked at.

    Raises:
        UserError: nothing of the kind is there, or what is there contradicts itself.
    """
    source = _source(data, strict_paths)
    names.check(source.frame, data)
    away = outside.find(source.root, source.frame["path"])
    if strict_paths:
        outside.refuse(away, len(source.frame), data)
    _refuse_absent(source, data)
    classes = _classes(source.frame["label"], positive, source.name, data)
    frame = source.frame.sort_values("path", kind="stable", ignore_index=True)
    paths = [source.root / path for path in frame["path"]]
    frame["sha256"] = files.digests(paths, cache, progress)
    return Index(
        frame=frame[COLUMNS],
        root=source.root,
        classes=classes,
        source=source.name,
        simulated=source.simulated,
        size=source.size,
        notes=source.notes,
        outside=outside.told(away, len(frame)),
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Cells as their source lists them: the fields of an Index, without digests and classes."""

    name: str
    frame: pd.DataFrame
    root: Path
    simulated: str = ""
    size: int | None = None
    notes: tuple[str, ...] = ()


def _source(data: Path, strict_paths: bool) -> _Source:
    if not data.exists():
        raise UserError(f"{data}: no such file or folder; give a C-NMC tree, a CSV or its folder")
    csv = data / table.NAME if data.is_dir() else data
    if strict_paths and data.is_dir():  # a list that is a link is not even read
        lists = [table.NAME] if csv.is_symlink() else [] if csv.is_file() else outside.links(data)
        outside.refuse(lists, len(lists), data)
    if csv.is_file():
        return _Source(name="table", frame=table.read(csv), root=csv.parent)
    frame, notes = cnmc.read(data)
    return _Source(
        name="cnmc",
        frame=frame,
        root=data,
        simulated=cnmc.simulated(data),
        size=cnmc.SIZE,
        notes=notes,
    )


def _refuse_absent(source: _Source, data: Path) -> None:
    root = str(source.root)
    # On Python 3.13 a Path for each of 10,000 files costs a tenth of a second.
    absent = [path for path in source.frame["path"] if not os.path.isfile(os.path.join(root, path))]
    if absent:
        raise UserError(
            f"{data}: {absent[0]} is not a file ({len(absent)} of {len(source.frame)} missing); "
            f"paths are relative to {source.root}"
        )


def _classes(labels: pd.Series, positive: str, source: str, data: Path) -> Classes:
    """The two classes, the positive one last.

    Two are the limit of training and evaluation, which have one score a cell; it is checked here
    alone.
    """
    present = sorted(labels.unique())
    if len(present) != 2:
        raise UserError(
            f"{data}: {len(present)} class(es) ({some_of(present)}) where two are needed: "
            f"an empty or a third class cannot be balanced; mend the labels"
        )
    if positive == AUTO and source == "cnmc":
        positive = "all"
    if positive not in present:
        came = (
            "no positive class is named" if positive == AUTO else f"there is no class '{positive}'"
        )
        raise UserError(f"{data}: {came}; give positive={present[0]} or positive={present[1]}")
    negative = [name for name in present if name != positive]
    return Classes(names=(*negative, positive), positive=len(negative))
