"""Cells listed in a table of one's own: path, label and subject, and optionally a split.

The table is a CSV file with any separator, a Parquet or an Excel file; another one can be joined to
it, such as a list of patients with their diagnoses.
"""

import posixpath
from pathlib import Path

import pandas as pd

from leukemia.data.drawn import MARKERS
from leukemia.data.names import shortened, some_of
from leukemia.data.options import UNKNOWN, DataOptions
from leukemia.data.sources import COLUMNS, Listing, rows
from leukemia.data.sources.images import NOT_IMAGES, OF_SYSTEMS, is_image
from leukemia.data.trees import FolderTree, Tree, left_by_systems
from leukemia.errors import UserError

NAME = "table"
INDEX = "index"  # the file's name without its ending, where its folder is given
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
UNLISTED = "not listed in {}"


def read(tree: Tree, asked: DataOptions) -> Listing | None:
    """The cells of the table `index.csv` (or .tsv, .parquet, .xlsx) in a tree; None if there is
    none.

    Raises:
        UserError: a column or a value is missing, a path is listed twice, or there are two tables.
    """
    tables = [f"{INDEX}{ending}" for ending in rows.ENDINGS]
    found = [path for path in tree.files if path.lower() in tables]
    if not found:
        return None
    if len(found) > 1:
        raise UserError(f"{tree.root}: {some_of(found)}: which one? Give it as data")
    with tree.open(found[0]) as file:
        table = rows.read(file, str(tree.root / found[0]))
    frame = _cells(table, str(tree.root / found[0]), tree.root, asked)
    return Listing(
        source=NAME,
        frame=frame,
        tree=tree,
        subjects=asked.subjects != UNKNOWN,
        left_out=_left_out(tree, frame, found[0]),
    )


def read_file(table: Path, asked: DataOptions) -> Listing:
    """The cells of a table file; its paths are relative to its folder.

    Raises:
        UserError: as `read`.
    """
    with table.open("rb") as file:
        frame = _cells(rows.read(file, str(table)), str(table), table.parent, asked)
    tree = FolderTree(table.parent)
    return Listing(source=NAME, frame=frame, tree=tree, subjects=asked.subjects != UNKNOWN)


def _cells(table: pd.DataFrame, name: str, root: Path, asked: DataOptions) -> pd.DataFrame:
    pairs = rows.column(asked.columns)
    rows.refuse_unknown(pairs, COLUMNS)
    if asked.join:
        table = _joined(table, name, root, asked.join)
    needed = [each for each in COLUMNS[:3] if not (each == "subject" and _needless(asked))]
    frame = pd.DataFrame(index=table.index)
    for ours in COLUMNS:
        theirs = pairs.get(ours, ours)
        if theirs in table.columns:
            frame[ours] = table[theirs]
        elif ours in needed or ours in pairs:
            raise UserError(_missing(name, theirs, ours, table))
        else:
            frame[ours] = ""
    _refuse_gaps(frame, name, needed)
    _refuse_doubles(frame, name)
    frame["split"] = _splits(frame, name)
    if asked.subjects == UNKNOWN:
        frame["subject"] = ""
    return frame.reset_index(drop=True)


def _needless(asked: DataOptions) -> bool:
    """Whether no column needs to say the subject."""
    return asked.subjects == UNKNOWN or bool(asked.subject)


def _missing(name: str, theirs: str, ours: str, table: pd.DataFrame) -> str:
    there = f"{name}: no column '{shortened(theirs)}' among {some_of(list(table.columns))}"
    advice = f"; expected path,label,subject (and optionally split), or columns={ours}=NAME"
    if ours == "subject":
        advice += ", or subjects=unknown where nobody knows them"
    return there + advice


def _joined(table: pd.DataFrame, name: str, root: Path, other: str) -> pd.DataFrame:
    """The table with the columns of another one, by the columns that both have."""
    place = root / other
    if not place.is_file():
        raise UserError(f"join={shortened(other)}: {place} is no file; name it relative to {root}")
    with place.open("rb") as file:
        more = rows.read(file, str(place))
    by = [column for column in table.columns if column in more.columns and column]
    if not by:
        raise UserError(
            f"join={shortened(other)}: it shares no column with {name} "
            f"({some_of(list(more.columns))}; {some_of(list(table.columns))}); give one the same "
            f"name in both"
        )
    doubled = more[more.duplicated(by)]
    if len(doubled):
        which = ", ".join(shortened(str(doubled.iloc[0][column])) for column in by)
        raise UserError(f"{place}: {', '.join(by)} {which} stands on two lines; keep one")
    merged = table.merge(more, how="left", on=by, indicator="found here")
    merged.index = table.index
    lost = merged[merged["found here"] == "left_only"]
    if len(lost):
        which = ", ".join(shortened(str(lost.iloc[0][column])) for column in by)
        raise UserError(
            f"{place}: has no line for {', '.join(by)} {which} ({len(lost)} of {len(table)} lines "
            f"of {name}); add it, or take those cells out"
        )
    return merged.drop(columns="found here")


def _refuse_gaps(frame: pd.DataFrame, name: str, needed: list[str]) -> None:
    if frame.empty:
        raise UserError(f"{name}: no rows; list one cell a line as path,label,subject")
    for column in needed:
        empty = frame.index[frame[column] == ""]
        if len(empty):
            path = shortened(frame["path"][empty[0]])
            raise UserError(
                f"{name}: line {empty[0]} ({path}) has no {column}; fill it in or take the line out"
            )


def _refuse_doubles(frame: pd.DataFrame, name: str) -> None:
    files = frame["path"].map(posixpath.normpath)
    doubled = files[files.duplicated()]
    if len(doubled):
        path = doubled.iloc[0]
        labels = sorted(frame.loc[files == path, "label"])
        raise UserError(
            f"{name}: {shortened(path)} is listed {len(labels)} times (labels {some_of(labels)}); "
            f"keep one line a cell"
        )


def _splits(frame: pd.DataFrame, name: str) -> pd.Series:
    if (frame["split"] == "").all():
        return pd.Series("", index=frame.index)
    named = frame["split"].str.lower().map(SPLITS)
    if named.isna().any():
        row = named.index[named.isna()][0]
        raise UserError(
            f"{name}: line {row} has split '{shortened(frame['split'][row])}'; expected "
            f"train, validation or test on every line, or no column 'split'"
        )
    return named


def _left_out(tree: Tree, frame: pd.DataFrame, table: str) -> dict[str, list[str]]:
    """Files of the table's folder that are no cell of it."""
    listed = set(frame["path"].map(posixpath.normpath))
    others = sorted(set(tree.files) - listed - {table, *MARKERS})
    systems = [path for path in others if left_by_systems(path)]
    images = [path for path in others if is_image(path) and not left_by_systems(path)]
    return {
        UNLISTED.format(table): images,
        OF_SYSTEMS: systems,
        NOT_IMAGES: sorted(set(others) - set(images) - set(systems)),
    }
