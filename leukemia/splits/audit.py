"""Whether a test figure can be trusted: an index, a split and what was made, looked at for leaks.

Pure: it is given what was read and compared, and gives back findings. One that blocks makes a
figure worthless until it is dealt with or waived; the others are notes.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from leukemia.data.near_duplicates import Pair
from leukemia.splits.leaks import JOINED, KINDS, Finding, SyntheticCells, find

LEFT_OUT = "left out"  # the side of cells that are on none
SHOWN = 3  # findings of a kind that the text names
COLUMNS = ["kind", "blocks", "sides", "subjects", "cells", "text"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was compared, and what was found in it: what blocks first.

    cells: how many. sides: (name, number of cells) of each side, none where there are none.
    subjects: how many, after joining. joined: how many groups of subjects were joined.
    compared: whether pixels were compared too, not files alone. protocol: its name, or "".
    """

    findings: tuple[Finding, ...]
    cells: int
    sides: tuple[tuple[str, int], ...]
    subjects: int
    joined: int
    compared: bool
    protocol: str

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that block."""
        return tuple(each for each in self.findings if each.blocks)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each kind there are; kinds without any are left out."""
        found = Counter(each.kind for each in self.findings)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def examine(
    frame: pd.DataFrame,
    subjects: np.ndarray,
    side: np.ndarray | None,
    pairs: Sequence[Pair] | None,
    made: SyntheticCells | None = None,
    protocol: str = "",
) -> Audit:
    """All that leaks between the sides of a split, and what is there twice.

    frame: one row a cell, columns path, label, subject, sha256; a label or subject "" is
        unknown. subjects: (n,) str, with linked ones joined (`likeness.joined_subjects`).
    side: (n,) str, any names; `left out` or "" is on none; None where there is no split.
    pairs: near-identical cells, None where pixels were not compared.
    """
    sides = np.full(len(frame), "") if side is None else np.asarray(side, str)
    sides = np.where(sides == LEFT_OUT, "", sides)
    findings = find(frame, subjects, sides, pairs or (), made)
    return Audit(
        findings=findings,
        cells=len(frame),
        sides=tuple(sorted(Counter(sides[sides != ""].tolist()).items())),
        subjects=len(set(np.asarray(subjects, str).tolist()) - {""}),
        joined=sum(finding.kind == JOINED for finding in findings),
        compared=pairs is not None,
        protocol=protocol,
    )


def as_table(audit: Audit) -> pd.DataFrame:
    """One row a finding; several names in a field are parted by spaces and bars."""
    rows = [
        (f.kind, f.blocks, " | ".join(f.sides), " | ".join(f.subjects), " | ".join(f.cells), f.text)
        for f in audit.findings
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_json(audit: Audit) -> str:
    """Everything, the same text for the same audit."""
    said = asdict(audit) | {
        "sides": dict(audit.sides),
        "blocking": len(audit.blocking),
        "counts": audit.counts,
    }
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def as_text(audit: Audit) -> str:
    """A few lines for people: what was compared, and the first findings of each kind."""
    lines = [_compared(audit)]
    for kind, count in audit.counts.items():
        found = [each.text for each in audit.findings if each.kind == kind]
        mark = "LEAK" if any(each.kind == kind for each in audit.blocking) else "note"
        lines.append(f"{mark}  {kind}: {count}, {KINDS[kind]}")
        lines += [f"      {text}" for text in found[:SHOWN]]
        if count > SHOWN:
            lines.append(f"      and {count - SHOWN} more")
    if not audit.blocking:
        lines.append("No leak found.")
    return "\n".join(lines)


def _compared(audit: Audit) -> str:
    sides = ", ".join(f"{n} in {side}" for side, n in audit.sides) or "no split"
    how = "files and pixels compared" if audit.compared else "files compared, pixels NOT"
    of = f" of {audit.subjects} subjects" if audit.subjects else ""
    named = f" (protocol {audit.protocol})" if audit.protocol else ""
    return f"Audit of {audit.cells} cells{of}{named}, {how}: {sides}."
