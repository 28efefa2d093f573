"""Whether a test metric can be trusted: an index, a split and synthetic cells, audited for leaks.

Pure functions: files are read and pixels compared elsewhere. A finding that blocks makes a test
metric worthless until it is dealt with or waived; the others are notes.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from leukemia.cells import Names
from leukemia.data.near_duplicates import Pair
from leukemia.splits.leaks import JOINED, KINDS, Finding, SyntheticCells, find

LEFT_OUT = "left out"  # the split of cells that are in none
SHOWN = 3  # findings of a kind that the text names
COLUMNS = ["kind", "blocks", "splits", "subjects", "cells", "text"]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The findings on one data set and its split, those that block first.

    cells: how many. splits: (name, number of cells) of each split, none where there are none.
    subjects: how many, after joining. joined: how many groups of subjects were joined.
    compared: whether pixels were compared too, not files alone. protocol: its name, or "".
    """

    findings: tuple[Finding, ...]
    cells: int
    splits: tuple[tuple[str, int], ...]
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
        counts = Counter(each.kind for each in self.findings)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}


def examine(
    frame: pd.DataFrame,
    subjects: Names,
    splits: Names | None,
    pairs: Sequence[Pair] | None,
    synthetic: SyntheticCells | None = None,
    protocol: str = "",
) -> Audit:
    """Find what leaks between splits, and which cells are repeated.

    Args:
        frame: one row a cell, columns path, label, subject, sha256; a label or subject "" is
            unknown.
        subjects: (n,) str, with linked subjects under one name (`near_duplicates.joined_subjects`).
        splits: (n,) str, of any names; `left out` or "" for a cell in none; None where there is no
            split.
        pairs: near-identical cells, None where pixels were not compared.
        synthetic: the cells that a technique made, None where there are none.
    """
    splits = np.full(len(frame), "") if splits is None else np.asarray(splits, str)
    splits = np.where(splits == LEFT_OUT, "", splits)
    findings = find(frame, subjects, splits, pairs or (), synthetic)
    return Audit(
        findings=findings,
        cells=len(frame),
        splits=tuple(sorted(Counter(splits[splits != ""].tolist()).items())),
        subjects=len(set(np.asarray(subjects, str).tolist()) - {""}),
        joined=sum(finding.kind == JOINED for finding in findings),
        compared=pairs is not None,
        protocol=protocol,
    )


def as_table(audit: Audit) -> pd.DataFrame:
    """One row a finding; several names in a field are separated by ` | `."""
    rows = [
        (
            f.kind,
            f.blocks,
            " | ".join(f.splits),
            " | ".join(f.subjects),
            " | ".join(f.cells),
            f.text,
        )
        for f in audit.findings
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_json(audit: Audit) -> str:
    """The whole audit, the same text for the same audit."""
    content = asdict(audit) | {
        "splits": dict(audit.splits),
        "blocking": len(audit.blocking),
        "counts": audit.counts,
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def as_text(audit: Audit) -> str:
    """A few lines for people: what was compared, and the first findings of each kind."""
    lines = [_compared(audit)]
    for kind, count in audit.counts.items():
        texts = [each.text for each in audit.findings if each.kind == kind]
        mark = "LEAK" if any(each.kind == kind for each in audit.blocking) else "note"
        lines.append(f"{mark}  {kind}: {count}, {KINDS[kind]}")
        lines += [f"      {text}" for text in texts[:SHOWN]]
        if count > SHOWN:
            lines.append(f"      and {count - SHOWN} more")
    if not audit.blocking:
        lines.append("No leak found.")
    return "\n".join(lines)


def _compared(audit: Audit) -> str:
    splits = ", ".join(f"{n} in {name}" for name, n in audit.splits) or "no split"
    how = "files and pixels compared" if audit.compared else "files compared, pixels NOT"
    of = f" of {audit.subjects} subjects" if audit.subjects else ""
    named = f" (protocol {audit.protocol})" if audit.protocol else ""
    return f"Audit of {audit.cells} cells{of}{named}, {how}: {splits}."
