"""CSV files in which a spreadsheet computes nothing, and which are read back as they were.

A cell of text that would be taken for a formula has an apostrophe before it, as one types it into a
spreadsheet; `read` takes it away. Numbers, and text that is one (subject -1), are left alone.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

# A cell begins where the text does; where lists are parted by semicolons, as in German and French,
# also at one within it. A quotation mark after that may be taken for the cell's own.
_BEGIN = r"(^|[,;\t\r\n])"
_FORMULA = r"""(?=["']*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])"""  # as wide characters too
_BARE, _MARKED = re.compile(_BEGIN + _FORMULA), re.compile(f"{_BEGIN}'{_FORMULA}")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def cell(text: str) -> str:
    """The text as a cell that shows it; different texts give different cells."""
    return text if _NUMBER.fullmatch(text) else _BARE.sub(r"\1'", text)


def original(cell: str) -> str:
    """The text that `cell` was made from."""
    return _MARKED.sub(r"\1", cell) if "'" in cell else cell


def as_csv(table: pd.DataFrame, index: bool = False, float_format: str | None = None) -> str:
    """The table as a CSV file; index, float_format: as `DataFrame.to_csv` takes them."""
    texts = [str(name) for name in table if not is_numeric_dtype(table[name])]
    shown = table.assign(**{name: table[name].map(cell, na_action="ignore") for name in texts})
    return shown.to_csv(index=index, float_format=float_format)


def read(file: Path, texts: Sequence[str], **how: Any) -> pd.DataFrame:
    """A table that `as_csv` wrote; the columns `texts`, so far as they are there, hold text, be it
    `NA`, `007` or `-1`."""
    table: pd.DataFrame = pd.read_csv(
        file, dtype=dict.fromkeys(texts, str), keep_default_na=False, **how
    )
    there = [name for name in texts if name in table]
    return table.assign(**{name: _originals(table[name]) for name in there})


def _originals(cells: pd.Series) -> pd.Series:
    return cells.map(original) if cells.str.contains("'", regex=False).any() else cells
