"""The rules of the audit: what leaks from one side to another, and what is there twice."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from leukemia.data.near_duplicates import Pair, in_order
from leukemia.splits import LEAKS

IDENTICAL, ALIKE, SUBJECT, MADE, COPIES, LABELS = LEAKS  # these block
REPEATED, JOINED = "repeated", "joined"  # these do not
KINDS = {
    IDENTICAL: "byte-identical files on two sides",
    ALIKE: "near-identical cells on two sides",
    SUBJECT: "subjects on two sides",
    MADE: "made cells on one side, what they were made of on another",
    COPIES: "made cells that are copies of a person's cells",
    LABELS: "one cell under two labels",
    REPEATED: "cells that are there more than once, on one side",
    JOINED: "groups of subjects taken for one person each",
}
NAMED = 4  # cells or sides in a finding's text


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One leak, or one note.

    kind: one of KINDS. cells: the paths of those concerned, none where only counts matter.
    subjects, sides: their names. text: the finding in one line for people.
    """

    kind: str
    cells: tuple[str, ...]
    subjects: tuple[str, ...]
    sides: tuple[str, ...]
    text: str

    @property
    def blocks(self) -> bool:
        """Whether it makes a test figure worthless."""
        return self.kind in LEAKS


@dataclass(frozen=True, kw_only=True)
class SyntheticCells:
    """Where the cells that a technique made stand, and what they were made of.

    splits: (m,) str, the split of each synthetic cell.
    parents: (m, k) int, the rows of the index that each was made of, -1 for none; None where
        all were learned from the cells at `learned_from`, (r,) int rows.
    copied: why too many of them are copies of real cells, "" where they are not.
    """

    splits: np.ndarray
    parents: np.ndarray | None
    learned_from: np.ndarray | None = None
    copied: str = ""


def find(
    frame: pd.DataFrame,
    subjects: np.ndarray,
    side: np.ndarray,
    pairs: Sequence[Pair],
    made: SyntheticCells | None,
) -> tuple[Finding, ...]:
    """Every finding, ordered by kind; arguments as in `audit.examine`, a side "" is none."""
    path, label, subject = (frame[name].to_numpy(str) for name in ("path", "label", "subject"))
    cells = _Cells(
        path=path, label=label, subject=subject, person=np.asarray(subjects, str), side=side
    )
    digests = frame["sha256"].to_numpy(str)
    findings = [
        *_identical(cells, digests),
        *_alike(cells, digests, pairs),
        *_subjects(cells),
        *_made(cells, made),
        *_copied(made),
        *_joined(cells, digests, pairs),
    ]
    order = list(KINDS)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.kind)))


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """(n,) str each; person: the subject with linked ones joined; side "" is none."""

    path: np.ndarray
    label: np.ndarray
    subject: np.ndarray
    person: np.ndarray
    side: np.ndarray

    def finding(self, kind: str, rows: np.ndarray, text: str) -> Finding:
        """A finding about the cells at `rows`, named in its text."""
        return Finding(
            kind=kind,
            cells=tuple(self.path[rows].tolist()),
            subjects=_known(self.subject[rows]),
            sides=_known(self.side[rows]),
            text=f"{text}: {_some([self._named(row) for row in rows])}",
        )

    def _named(self, row: int) -> str:
        where = [self.side[row], self.subject[row] and f"subject {self.subject[row]}"]
        said = ", ".join(filter(None, where))
        return f"{self.path[row]} ({said})" if said else str(self.path[row])

    def twice(self, kind: str, rows: np.ndarray, text: str) -> Iterator[Finding]:
        """What it means that the cells at `rows` are one: across sides `kind`, else a note."""
        labels = _known(self.label[rows])
        if len(_known(self.side[rows])) > 1:
            yield self.finding(kind, rows, text)
        elif len(labels) < 2:  # with two it is a contradiction
            yield self.finding(REPEATED, rows, text)
        if len(labels) > 1:
            yield self.finding(LABELS, rows, f"labels {' and '.join(labels)}, but {text}")


def _identical(cells: _Cells, digests: np.ndarray) -> Iterator[Finding]:
    for rows in _groups(digests):
        yield from cells.twice(IDENTICAL, rows, f"{len(rows)} byte-identical files")


def _alike(cells: _Cells, digests: np.ndarray, pairs: Sequence[Pair]) -> Iterator[Finding]:
    for pair in pairs:
        if digests[pair.first] != digests[pair.second]:
            turn = "" if pair.turn == "as is" else f" once the second is {pair.turn}"
            text = f"near-identical{turn}, grey levels differ by {pair.difference:.1f} of 255"
            yield from cells.twice(ALIKE, np.array([pair.first, pair.second]), text)


def _subjects(cells: _Cells) -> Iterator[Finding]:
    placed = pd.DataFrame({"person": cells.person, "side": cells.side})
    placed = placed[(placed["person"] != "") & (placed["side"] != "")]
    counts = placed.groupby(["person", "side"]).size().unstack(fill_value=0)
    for person, on_sides in counts[(counts > 0).sum(axis=1) > 1].iterrows():
        names = _known(cells.subject[cells.person == person])
        said = f"subject {person}"
        if len(names) > 1:
            said = f"subjects {', '.join(names)}, taken for one,"
        cells_in = {str(side): n for side, n in on_sides.items() if n}
        counted = _some([f"{n} cells in {side}" for side, n in cells_in.items()])
        yield Finding(
            kind=SUBJECT,
            cells=(),
            subjects=names,
            sides=tuple(cells_in),
            text=f"{said} on {len(cells_in)} sides: {counted}",
        )


def _made(cells: _Cells, made: SyntheticCells | None) -> Iterator[Finding]:
    """One finding for each two sides, made cells on the one and parents on the other."""
    if made is None:
        return
    for side, other in product(_known(made.splits), _known(cells.side)):
        count, parents = _made_of(made, made.splits == side, cells.side == other)
        if side != other and count:
            text = (
                f"{count} made cells in {side} come of {parents} cells in {other}: balance after "
                f"the split, and training cells only"
            )
            yield Finding(kind=MADE, cells=(), subjects=(), sides=(side, other), text=text)


def _copied(made: SyntheticCells | None) -> Iterator[Finding]:
    """One finding where the technique says so itself: it alone has seen both kinds of cells."""
    if made is not None and made.copied:
        yield Finding(
            kind=COPIES, cells=(), subjects=(), sides=tuple(_known(made.splits)), text=made.copied
        )


def _made_of(made: SyntheticCells, here: np.ndarray, there: np.ndarray) -> tuple[int, int]:
    """How many of the made cells `here` have parents among the cells `there`, and how many."""
    if made.parents is None:
        source = np.zeros(0, int) if made.learned_from is None else made.learned_from
        parents = np.count_nonzero(there[source])
        return (int(here.sum()) if parents else 0), int(parents)
    parents = made.parents[here]
    across = (parents >= 0) & there[parents]
    return int(across.any(axis=1).sum()), len(set(parents[across].tolist()))


def _joined(cells: _Cells, digests: np.ndarray, pairs: Sequence[Pair]) -> Iterator[Finding]:
    shared = Counter(
        cells.person[rows[0]] for rows in _groups(digests) if len(_known(cells.subject[rows])) > 1
    )
    for pair in pairs:
        rows = np.array([pair.first, pair.second])
        if digests[rows[0]] != digests[rows[1]] and len(_known(cells.subject[rows])) > 1:
            shared[cells.person[rows[0]]] += 1
    for person, names in pd.Series(cells.subject).groupby(cells.person):
        several = _known(names.to_numpy(str))
        if person and len(several) > 1:
            cell = "1 cell" if shared[person] == 1 else f"{shared[person]} cells"
            text = f"subjects {', '.join(several)} share {cell}: taken for one"
            yield Finding(kind=JOINED, cells=(), subjects=several, sides=(), text=text)


def _groups(values: np.ndarray) -> list[np.ndarray]:
    """The rows of each value that is there more than once, in the order of their first."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(values[order][1:] != values[order][:-1]) + 1
    groups = [rows for rows in np.split(order, starts) if len(rows) > 1]
    return sorted(groups, key=lambda rows: int(rows[0]))


def _known(names: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(names.tolist()) - {""}, key=in_order))


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
