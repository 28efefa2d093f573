"""The rows of a table file as text: CSV with any separator, Parquet or Excel.

Every value is a text, as it was written: a subject called `NA`, `007` or `1e5` stays what it is.
"""

import csv
import io
import warnings
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from leukemia.data.names import shortened, some_of
from leukemia.errors import UserError
from leukemia.text.escape import visible

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm")
ENDINGS = (*TEXT, *PARQUET, *EXCEL)
SEPARATORS = ",;\t|"
LONGEST_VALUE = 1_000_000  # characters between two separators


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table."""
    return name.lower().endswith(ENDINGS)


def read(file: BinaryIO, name: str) -> pd.DataFrame:
    """All rows and columns of a table file, every value a str without blanks around it; "" where
    there is none.

    Args:
        name: what the file is called, whose ending decides how it is read.

    Raises:
        UserError: it is no table of its kind, or two of its columns have one name.
    """
    ending = Path(name).suffix.lower()
    try:
        if ending in PARQUET:
            frame = _texts(pd.read_parquet(io.BytesIO(file.read())))
        elif ending in EXCEL:
            frame = _excel(file)
        else:
            frame = _separated(file.read(), name)
    except UserError:
        raise
    except Exception as error:  # of a damaged file the readers raise what they happen to meet
        raise UserError(
            f"{name}: not a readable {ending[1:] or 'table'} file "
            f"({visible(str(error)).splitlines()[0] if str(error) else type(error).__name__}); "
            f"write it anew"
        ) from error
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise UserError(f"{name}: two columns are called '{shortened(doubled[0])}'; rename one")
    return frame


def _separated(content: bytes, name: str) -> pd.DataFrame:
    text = _decoded(content, name)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if "\0" in first:
        raise UserError(f"{name}: has bytes of value 0, so it is no text; save it as CSV in UTF-8")
    separator = max(SEPARATORS, key=first.count)  # the comma where there is none of them
    csv.field_size_limit(LONGEST_VALUE)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if any(value.strip() for value in row):
                rows.append([value.strip() for value in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(
            f"{name}: line {reader.line_num}: {error}; mend the quotes there"
        ) from error
    if not rows:
        raise UserError(f"{name}: no rows; list one cell a line as path,label,subject")
    head, *body = rows
    while head and not head[-1]:  # separators at the end of the line
        head.pop()
    for line, row in zip(lines[1:], body, strict=True):
        row += [""] * (len(head) - len(row))
        if any(row[len(head) :]):
            raise UserError(
                f"{name}: line {line} has {len(row)} values where the head has {len(head)} "
                f"({some_of(head)}); mend that line, or quote a value that has a "
                f"'{separator if separator != chr(9) else 'tab'}' in it"
            )
    frame = pd.DataFrame([row[: len(head)] for row in body], columns=head, dtype=object)
    return frame.set_axis(pd.Index(lines[1:], name="line"), axis=0)


def _decoded(content: bytes, name: str) -> str:
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Excel's "Unicode text"
    encoding = "utf-16" if wide else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{name}: not a readable CSV: line {line} is not {encoding[:6].rstrip('-')}; save the "
            f"table as UTF-8"
        ) from error


def _excel(file: BinaryIO) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles that are not read
        sheets = pd.read_excel(
            file, sheet_name=None, dtype=object, header=None, keep_default_na=False
        )
    filled = {str(name): frame for name, frame in sheets.items() if len(frame)}
    if len(filled) != 1:
        raise UserError(
            f"{len(filled)} sheets have rows ({some_of(list(filled)) or 'none'}); save the one "
            f"that lists the cells as a file of its own"
        )
    (frame,) = filled.values()
    return _texts(frame.iloc[1:].set_axis([_text(value) for value in frame.iloc[0]], axis=1))


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Every value as a text, without rows that have none; the index starts at 2, as the rows of a
    sheet under its head."""
    values = [[_text(value) for value in frame.iloc[:, n]] for n in range(frame.shape[1])]
    index = pd.RangeIndex(2, len(frame) + 2, name="line")
    made = pd.DataFrame(dict(enumerate(values)), index=index, dtype=object)
    made = made[(made != "").any(axis=1)]
    return made.set_axis([str(name).strip() for name in frame.columns], axis=1)


def _text(value: object) -> str:
    """As a person would have typed it: a whole number without a point, nothing for no value."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value).strip()


def column(named: str) -> dict[str, str]:
    """What a text `path=image,label=diagnosis` says: our name -> the table's own.

    Raises:
        UserError: it is not of that form.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in named.split(","))):
        ours, equals, theirs = (each.strip() for each in part.partition("="))
        if not (ours and equals and theirs) or ours in pairs:
            raise UserError(
                f"columns '{shortened(named)}': expected path=NAME,label=NAME,subject=NAME, each "
                f"once"
            )
        pairs[ours] = theirs
    return pairs


def refuse_unknown(pairs: dict[str, str], known: Sequence[str]) -> None:
    """Raises UserError where a name is given for a column that nobody reads."""
    unknown = [name for name in pairs if name not in known]
    if unknown:
        raise UserError(f"columns: there is no '{unknown[0]}'; choose from {', '.join(known)}")
