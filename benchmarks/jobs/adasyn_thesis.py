"""ADASYN at the thesis' scale: 9,572 cells of 210 px. imbalanced-learn would need about 24 GiB."""

from pathlib import Path

from benchmarks.harness import Contender, Job, Run
from benchmarks.jobs import adasyn

CELLS, RARER = 9572, 0.318


def prepare(folder: Path) -> Run:
    """Drawn cells."""
    adasyn.draw(folder, CELLS, RARER)
    return lambda: None


def ours(folder: Path) -> Run:
    """This project's."""
    return adasyn.ours(folder)


JOB = Job(
    f"ADASYN, {CELLS:,} cells of {adasyn.SIZE} px (goal: under 60 s and 6 GiB)",
    {"ours": Contender("ours")},
    (),
    1,
    lambda folder: "no peer fits: imbalanced-learn needs about 24 GiB for these cells as float32",
)
