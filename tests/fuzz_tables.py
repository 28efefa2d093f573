"""Tables of any lab, in every way that spreadsheets and scripts write, read back as they were.

    python -m tests.fuzz_tables 3600 fuzz

Each round writes a drawn table (hostile names, gaps, separators, quotes, encodings, line ends) and
reads it: every value must come back, or one line must say why it is refused; then bytes of it are
damaged: anything but a table or one line is a fault. What goes wrong is kept in the folder.
"""

import csv
import io
import posixpath
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase

from leukemia.data import names
from leukemia.data.options import DataOptions
from leukemia.data.sources import table
from leukemia.errors import UserError

AT_ONCE = 300  # examples between two looks at the clock
HEAD = ["path", "label", "subject"]
WORDS = [
    "NA", "None", "null", "nan", "N/A", "", "007", "1e5", "-1", "True", "1.0", "inf", "#N/A",
    "=1+1", "a,b", 'q"q', "a;b", "a\tb", "a|b", "'", " x ", "é", "e\u0301", "中", "2020-01-01",
]  # fmt: skip
ANY = st.one_of(
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
PRINTED = st.one_of(
    st.sampled_from([word for word in WORDS if word.strip() and word.isprintable()]),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A table as it was drawn, and the file that it became."""

    name: str
    content: bytes
    rows: list[list[str]]


@st.composite
def tables(draw: Any) -> Written:
    """A drawn table in one of the kinds of file that are read."""
    sound = draw(st.integers(0, 3)) > 0  # three of four are tables that are to be read
    name = PRINTED if sound else ANY
    more = draw(st.lists(ANY, max_size=2))
    columns = st.tuples(name, name, name, *(ANY for _ in more))
    rows = draw(st.lists(columns, min_size=int(sound), max_size=6))
    body = [list(row) for row in rows]
    if sound:
        for number, row in enumerate(body):
            row[0] = f"{number}{row[0]}"
    kind = draw(st.sampled_from(["csv", "csv", "csv", "tsv", "parquet", "xlsx"]))
    head = [*HEAD, *(f"more {number}" for number in range(len(more)))]
    if kind in ("parquet", "xlsx"):
        return Written(name=f"t.{kind}", content=_binary(kind, head, body), rows=body)
    separator = "\t" if kind == "tsv" else draw(st.sampled_from(",;\t|"))
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=separator,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    tail = [""] * draw(st.integers(0, 2))
    writer.writerow(head)
    for row in body:
        writer.writerow([*row, *tail])
        if draw(st.booleans()):
            text.write(draw(st.sampled_from(["", "\n"])))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return Written(name=f"t.{kind}", content=text.getvalue().encode(encoding), rows=body)


def _binary(kind: str, head: list[str], body: list[list[str]]) -> bytes:
    file = io.BytesIO()
    frame = pd.DataFrame(body, columns=head, dtype=object)
    if kind == "parquet":
        frame.astype(str).to_parquet(file)
    else:
        for column in head:  # what no spreadsheet holds
            frame[column] = [_of_sheet(str(value)) for value in frame[column]]
        for number, row in enumerate(frame.to_numpy().tolist()):
            body[number] = [str(value) for value in row]
        with pd.ExcelWriter(file, engine="openpyxl") as writer:
            frame.to_excel(writer, index=False)
            for cells in writer.book.active.iter_rows():
                for cell in cells:
                    cell.data_type = "s" if cell.value is not None else cell.data_type
    return file.getvalue()


def _of_sheet(text: str) -> str:
    return "".join(each for each in text if each.isprintable())


class Fuzz:
    """What was tried, and what went wrong."""

    def __init__(self, folder: Path):
        self.folder, self.tried, self.faults = folder, Counter[str](), 0

    def round_trip(self, written: Written, place: Path) -> None:
        """What is read must be what was written, or a line says why not."""
        file = place / written.name
        file.write_bytes(written.content)
        expected = [[value.strip() for value in row] for row in written.rows]
        expected = [row for row in expected if any(row)]
        try:
            frame = table.read_file(file, DataOptions()).frame
            names.check(frame, file)
        except UserError as error:
            self.tried["refused"] += 1
            if "\n" in str(error) and str(error).isprintable():
                self.keep(written, f"more than a line: {error!r}")
            if not _fit(expected):
                return
            self.keep(written, f"refused without a reason: {error}")
            return
        except Exception:
            self.keep(written, traceback.format_exc())
            return
        self.tried["read"] += 1
        if frame[HEAD].to_numpy().tolist() != [row[:3] for row in expected]:
            self.keep(written, f"read as {frame[HEAD].to_numpy().tolist()}, wrote {expected}")

    def damaged(self, written: Written, places: list[tuple[int, int]], place: Path) -> None:
        """A damaged file is a table or one line."""
        content = bytearray(written.content)
        for where, byte in places:
            if content:
                content[where % len(content)] = byte
        file = place / written.name
        file.write_bytes(content)
        try:
            table.read_file(file, DataOptions())
        except UserError as error:
            self.tried["damaged, refused"] += 1
            if len(str(error).splitlines()) > 1:
                self.keep(written, f"more than a line: {error!r}")
            return
        except Exception:
            self.keep(Written(name=written.name, content=bytes(content), rows=[]),
                      traceback.format_exc())  # fmt: skip
            return
        self.tried["damaged, read"] += 1

    def keep(self, written: Written, why: str) -> None:
        """Keep an input and what it did."""
        self.faults += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.faults <= 50:
            (self.folder / f"table_{self.faults}_{written.name}").write_bytes(written.content)
            (self.folder / f"table_{self.faults}.txt").write_text(f"{why}\n{written.rows!r}\n")


def _fit(rows: list[list[str]]) -> bool:
    """Whether a table of these rows is to be read: each cell has its values, once, in names that
    can be printed."""
    paths = [posixpath.normpath(row[0]) for row in rows]
    whole = all(all(row[:3]) for row in rows)
    printed = all(value.isprintable() for row in rows for value in row[:3])
    return bool(rows) and whole and printed and len(set(paths)) == len(paths)


def main(seconds: float, folder: Path) -> int:
    """The number of faults."""
    warnings.simplefilter("error")
    fuzz, end, turn = Fuzz(folder), time.monotonic() + seconds, 0
    with TemporaryDirectory() as made:
        place = Path(made)
        damage = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1,
                          max_size=6)  # fmt: skip
        while time.monotonic() < end:
            turn += 1

            @seed(turn)
            @settings(
                max_examples=AT_ONCE,
                deadline=None,
                database=InMemoryExampleDatabase(),
                suppress_health_check=list(HealthCheck),
            )
            @given(tables(), damage)
            def tried(written: Written, places: list[tuple[int, int]]) -> None:
                fuzz.round_trip(written, place)
                fuzz.damaged(written, places, place)

            tried()
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(fuzz.tried.items()))
    print(f"tables: {sum(fuzz.tried.values())} inputs ({counts}): {fuzz.faults} faults")
    return fuzz.faults


if __name__ == "__main__":
    sys.exit(1 if main(float(sys.argv[1]), Path(sys.argv[2])) else 0)
