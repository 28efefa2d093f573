"""Where the tests of two networks may be printed: what each needs to cry wolf in 5 % at most.

DeLong's test and McNemar's ask whether these very networks differ, not whether techniques do. The
numbers of subjects are those from which on at most .06 of equal networks were called different
(`python -m benchmarks.calibration --only tests`).
"""

import numpy as np

from leukemia.evaluation.jackknife import Repeats

FOR_DELONG = 60  # subjects of each class: with 30 it is .07, with 15 up to .09
FOR_MCNEMAR = 6


def not_delong(repeats: Repeats) -> str:
    """Why DeLong's test is not to be printed for these test cells; "" where it may be.

    Its normal distribution asks for many subjects, and its variance for one network: the areas of
    several folds are of several.
    """
    return _several(repeats, folds=1) or _few(repeats, FOR_DELONG)


def not_mcnemar(repeats: Repeats) -> str:
    """Why McNemar's test is not to be printed for these test cells; "" where it may be."""
    return _several(repeats, folds=None) or _few(repeats, FOR_MCNEMAR)


def _several(repeats: Repeats, folds: int | None) -> str:
    """What is of several networks that the test has no variance for."""
    if len(repeats) > 1:
        return f"{len(repeats)} seeds: it tests networks as trained, not techniques"
    most = max(map(len, repeats), default=0)
    return f"{most} folds: each is of another network" if folds and most > folds else ""


def _few(repeats: Repeats, needed: int) -> str:
    """The rarer class's number of subjects, where it is below what is needed."""
    cells = [fold for seed in repeats for fold in seed]
    counts = [
        len(np.unique(np.concatenate([fold.subjects[fold.labels == label] for fold in cells])))
        for label in (0, 1)
    ]
    few = min(counts)
    return f"{few} subjects of a class, {needed} are needed" if few < needed else ""
