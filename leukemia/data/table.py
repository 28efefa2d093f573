"""Cells listed in a CSV of one's own: path, label and subject, and optionally a split."""

from pathlib import Path

import pandas as pd

from leukemia.data.names import shortened, some_of
from leukemia.errors import UserError

NAME = "index.csv"
NEEDED = ["path", "label", "subject"]
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def read(csv: Path) -> pd.DataFrame:
    """The cells of a CSV file: columns path (relative to its folder), label, subject, split.

    Raises:
        UserError: a column or a value is missing, or a path is listed twice.
    """
    frame = _read_text(csv)
    missing = [column for column in NEEDED if column not in frame.columns]
    if missing:
        raise UserError(
            f"{csv}: no column '{missing[0]}' among {some_of(list(frame.columns))}; "
            f"expected path,label,subject (and optionally split)"
        )
    frame = frame.apply(lambda column: column.str.strip())
    _refuse_gaps(frame, csv)
    _refuse_doubles(frame, csv)
    frame["split"] = _splits(frame, csv)
    cells: pd.DataFrame = frame[[*NEEDED, "split"]]
    return cells


def _read_text(csv: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{csv}: not a readable CSV ({str(error).splitlines()[0]}); expected UTF-8 text "
            f"with the columns path,label,subject"
        ) from error


def _refuse_gaps(frame: pd.DataFrame, csv: Path) -> None:
    if frame.empty:
        raise UserError(f"{csv}: no rows; list one cell a line as path,label,subject")
    for column in NEEDED:
        empty = frame.index[frame[column] == ""]
        if len(empty):
            path = shortened(frame["path"][empty[0]])
            raise UserError(
                f"{csv}: line {empty[0] + 2} ({path}) has no {column}; fill it in or take the line "
                f"out"
            )


def _refuse_doubles(frame: pd.DataFrame, csv: Path) -> None:
    doubled = frame[frame.duplicated("path", keep=False)]
    if len(doubled):
        path = doubled["path"].iloc[0]
        labels = sorted(doubled.loc[doubled["path"] == path, "label"])
        raise UserError(
            f"{csv}: {shortened(path)} is listed {len(labels)} times (labels {some_of(labels)}); "
            f"keep one line a cell"
        )


def _splits(frame: pd.DataFrame, csv: Path) -> pd.Series:
    if "split" not in frame.columns or (frame["split"] == "").all():
        return pd.Series("", index=frame.index)
    named = frame["split"].str.lower().map(SPLITS)
    if named.isna().any():
        row = named.index[named.isna()][0]
        raise UserError(
            f"{csv}: line {row + 2} has split '{shortened(frame['split'][row])}'; expected "
            f"train, validation or test on every line, or no column 'split'"
        )
    return named
