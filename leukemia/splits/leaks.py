"""The rules of the audit: what leaks from one split to another, and which cells are repeated."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from leukemia.cells import Indices, Names
from leukemia.data.near_duplicates import Pair, in_order
from leukemia.splits import LEAKS

IDENTICAL, ALIKE, SUBJECT, SYNTHETIC, COPIES, LABELS = LEAKS  # these block
REPEATED, JOINED = "repeated", "joined"  # these do not
KINDS = {
    IDENTICAL: "byte-identical files in two splits",
    ALIKE: "near-identical cells in two splits",
    SUBJECT: "subjects in two splits",
    SYNTHETIC: "synthetic cells in one split, the cells they were made of in another",
    COPIES: "synthetic cells that are copies of a person's cells",
    LABELS: "one cell under two labels",
    REPEATED: "cells that are there more than once, in one split",
    JOINED: "groups of subjects taken for one person each",
}
NAMED = 4  # cells or splits that the text of a finding names


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One leak, or one note.

    kind: one of KINDS. cells: the paths of those concerned, none where only counts matter.
    subjects, splits: their names. text: the finding in one line for people.
    """

    kind: str
    cells: tuple[str, ...]
    subjects: tuple[str, ...]
    splits: tuple[str, ...]
    text: str

    @property
    def blocks(self) -> bool:
        """Whether it makes a test figure worthless."""
        return self.kind in LEAKS


@dataclass(frozen=True, kw_only=True)
class SyntheticCells:
    """The splits of the cells that a technique made, and the cells they were made of.

    splits: (m,) str, the split of each synthetic cell.
    parents: (m, k) int, the rows of the index that each was made of, -1 for none; None where
        all were learned from the cells at `learned_from`, (r,) int rows.
    copied: why too many of them are copies of real cells, "" where they are not.
    """

    splits: Names
    parents: Indices | None
    learned_from: Indices | None = None
    copied: str = ""


def find(
    frame: pd.DataFrame,
    subjects: Names,
    splits: Names,
    pairs: Sequence[Pair],
    synthetic: SyntheticCells | None,
) -> tuple[Finding, ...]:
    """Every finding, ordered by kind.

    Args:
        splits: (n,) str, "" for a cell in none; the others are those of `audit.examine`.
    """
    path, label, subject = (frame[name].to_numpy(str) for name in ("path", "label", "subject"))
    cells = _Cells(
        path=path, label=label, subject=subject, person=np.asarray(subjects, str), split=splits
    )
    digests = frame["sha256"].to_numpy(str)
    findings = [
        *_identical(cells, digests),
        *_alike(cells, digests, pairs),
        *_subjects(cells),
        *_synthetic(cells, synthetic),
        *_copied(synthetic),
        *_joined(cells, digests, pairs),
    ]
    order = list(KINDS)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.kind)))


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """What the index and the split have on each cell, (n,) str each.

    person: the subject, with linked subjects under one name. split: "" for none.
    """

    path: Names
    label: Names
    subject: Names
    person: Names
    split: Names

    def finding(self, kind: str, rows: np.ndarray, text: str) -> Finding:
        """A finding about the cells at `rows`, named in its text."""
        return Finding(
            kind=kind,
            cells=tuple(self.path[rows].tolist()),
            subjects=_known(self.subject[rows]),
            splits=_known(self.split[rows]),
            text=f"{text}: {_some([self._named(row) for row in rows])}",
        )

    def _named(self, row: int) -> str:
        known = [self.split[row], self.subject[row] and f"subject {self.subject[row]}"]
        place = ", ".join(filter(None, known))
        return f"{self.path[row]} ({place})" if place else str(self.path[row])

    def repeated(self, kind: str, rows: np.ndarray, text: str) -> Iterator[Finding]:
        """The findings where the cells at `rows` show one and the same cell.

        In several splits they are a leak of this `kind`, in one split a note; under several labels
        they are a leak of the kind LABELS too.
        """
        labels = _known(self.label[rows])
        if len(_known(self.split[rows])) > 1:
            yield self.finding(kind, rows, text)
        elif len(labels) < 2:  # the labels make a finding of their own
            yield self.finding(REPEATED, rows, text)
        if len(labels) > 1:
            yield self.finding(LABELS, rows, f"labels {' and '.join(labels)}, but {text}")


def _identical(cells: _Cells, digests: np.ndarray) -> Iterator[Finding]:
    for rows in _groups(digests):
        yield from cells.repeated(IDENTICAL, rows, f"{len(rows)} byte-identical files")


def _alike(cells: _Cells, digests: np.ndarray, pairs: Sequence[Pair]) -> Iterator[Finding]:
    for pair in pairs:
        if digests[pair.first] != digests[pair.second]:
            turn = "" if pair.turn == "as is" else f" once the second is {pair.turn}"
            text = f"near-identical{turn}, grey levels differ by {pair.difference:.1f} of 255"
            yield from cells.repeated(ALIKE, np.array([pair.first, pair.second]), text)


def _subjects(cells: _Cells) -> Iterator[Finding]:
    placed = pd.DataFrame({"person": cells.person, "split": cells.split})
    placed = placed[(placed["person"] != "") & (placed["split"] != "")]
    counts = placed.groupby(["person", "split"]).size().unstack(fill_value=0)
    for person, in_splits in counts[(counts > 0).sum(axis=1) > 1].iterrows():
        names = _known(cells.subject[cells.person == person])
        named = f"subject {person}"
        if len(names) > 1:
            named = f"subjects {', '.join(names)}, taken for one,"
        cells_in = {str(split): n for split, n in in_splits.items() if n}
        counted = _some([f"{n} cells in {split}" for split, n in cells_in.items()])
        yield Finding(
            kind=SUBJECT,
            cells=(),
            subjects=names,
            splits=tuple(cells_in),
            text=f"{named} in {len(cells_in)} splits: {counted}",
        )


def _synthetic(cells: _Cells, synthetic: SyntheticCells | None) -> Iterator[Finding]:
    """One finding for each two splits that hold synthetic cells and cells they were made of."""
    if synthetic is None:
        return
    for split, other in product(_known(synthetic.splits), _known(cells.split)):
        count, parents = _with_parents(synthetic, synthetic.splits == split, cells.split == other)
        if split != other and count:
            text = (
                f"{count} synthetic cells in {split} come of {parents} cells in {other}: balance "
                f"after the split, and training cells only"
            )
            yield Finding(kind=SYNTHETIC, cells=(), subjects=(), splits=(split, other), text=text)


def _copied(synthetic: SyntheticCells | None) -> Iterator[Finding]:
    """One finding where the technique reports copies: it alone has seen both kinds of cells."""
    if synthetic is not None and synthetic.copied:
        splits = _known(synthetic.splits)
        yield Finding(kind=COPIES, cells=(), subjects=(), splits=splits, text=synthetic.copied)


def _with_parents(
    synthetic: SyntheticCells, here: np.ndarray, there: np.ndarray
) -> tuple[int, int]:
    """How many of the synthetic cells `here` (m,) bool have parents among the cells `there` (n,)
    bool, and how many parents those are."""
    if synthetic.parents is None:
        source = np.zeros(0, int) if synthetic.learned_from is None else synthetic.learned_from
        parents = np.count_nonzero(there[source])
        return (int(here.sum()) if parents else 0), int(parents)
    parents = synthetic.parents[here]
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
            yield Finding(kind=JOINED, cells=(), subjects=several, splits=(), text=text)


def _groups(values: np.ndarray) -> list[np.ndarray]:
    """The rows of each value that occurs more than once, ordered by the first row of each."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(values[order][1:] != values[order][:-1]) + 1
    groups = [rows for rows in np.split(order, starts) if len(rows) > 1]
    return sorted(groups, key=lambda rows: int(rows[0]))


def _known(names: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(names.tolist()) - {""}, key=in_order))


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
