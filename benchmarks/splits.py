"""How much two splits of the same subjects differ, and how even their parts are.

    python -m benchmarks.splits --manifest cnmc2019_manifest.csv
    python -m benchmarks.splits --subjects 40,20

The manifest lists path and sha256 of C-NMC 2019's images; its training cells are split, subjects
that share a file as one. Without it subjects of each class are drawn, with as unequal numbers of
cells. Beside `draw` stand scikit-learn's StratifiedGroupKFold, which this project took before, and
dice, which even nothing out: counted by cells their splits agree as well, since a subject's cells
stay together. Printed are means over the split seeds (adjusted Rand index: over all pairs of them;
part numbers do not count) and, in brackets, the largest. `spread` is the standard deviation of the
parts' cells over their mean, `largest` the largest part's excess over the mean: of all cells, and
of that class which is split less evenly.
"""

import argparse
import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import StratifiedGroupKFold

from leukemia.data import manifest
from leukemia.data.near_duplicates import joined_subjects
from leukemia.splits.parts import draw

SEEDS = 20
COLUMNS = ("Rand subjects", "Rand cells", "spread", "of a class", "largest", "of a class")
Draw = Callable[[np.ndarray, int, int], np.ndarray]  # (n, k) cells, parts, seed -> (n,) part


def of_manifest(csv: Path) -> np.ndarray:
    """(n, 2) int: the cells of each class that the subjects of C-NMC's training images have."""
    frame = manifest.read(csv)
    subject, digest = (frame[name].to_numpy(str) for name in ("subject", "sha256"))
    known = frame["label"].to_numpy(str) != ""
    joined = joined_subjects(subject, digest, ())[known]
    names, of_cell = np.unique(joined, return_inverse=True)
    labels = np.unique(frame["label"].to_numpy(str)[known], return_inverse=True)[1]
    cells = np.zeros((len(names), labels.max() + 1), int)
    np.add.at(cells, (of_cell, labels), 1)
    return cells


def of_chance(subjects: list[int], seed: int = 0) -> np.ndarray:
    """(n, k) int: cells of as many subjects of each class, as unequal as C-NMC's."""
    sizes = np.random.default_rng(seed).lognormal(4.7, 0.9, sum(subjects)).astype(int) + 1
    cells: np.ndarray = np.eye(len(subjects), dtype=int).repeat(subjects, axis=0) * sizes[:, None]
    return cells


def as_before(cells: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """(n,) int: the parts that scikit-learn gives."""
    subjects, classes = np.indices(cells.shape)
    of_cell, labels = (np.repeat(each.ravel(), cells.ravel()) for each in (subjects, classes))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    part = np.zeros(len(cells), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer cells than parts
        for number, (_, test) in enumerate(splitter.split(labels, labels, of_cell)):
            part[of_cell[test]] = number
    return part


def by_dice(cells: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """(n,) int: parts that nothing evens out."""
    return np.random.default_rng(seed).integers(parts, size=len(cells))


def rand(cells: np.ndarray, drawn: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The adjusted Rand index of each two splits: subjects weighted alike, and by their cells."""
    weights = cells.sum(axis=1)
    pairs = list(combinations(drawn, 2))
    by_subject = [adjusted_rand_score(a, b) for a, b in pairs]
    by_cell = [adjusted_rand_score(a.repeat(weights), b.repeat(weights)) for a, b in pairs]
    return np.array(by_subject), np.array(by_cell)


def unevenness(cells: np.ndarray, part: np.ndarray, parts: int) -> tuple[float, ...]:
    """Spread of all cells and of the less even class, then the same of the largest part."""
    counts = np.stack([cells[part == each].sum(axis=0) for each in range(parts)])
    share = (
        np.column_stack([counts.sum(axis=1), counts])
        * parts
        / np.append(counts.sum(), counts.sum(axis=0))
    )
    spread, largest = share.std(axis=0), share.max(axis=0) - 1
    return spread[0], spread[1:].max(), largest[0], largest[1:].max()


def measured(cells: np.ndarray, parts: int, dealt: Draw, seeds: int = SEEDS) -> np.ndarray:
    """(2, 6): mean and worst of COLUMNS over the split seeds."""
    drawn = [dealt(cells, parts, seed) for seed in range(seeds)]
    even = np.array([unevenness(cells, part, parts) for part in drawn]).T
    columns = [*rand(cells, drawn), *even]
    return np.array([[np.mean(each) for each in columns], [np.max(each) for each in columns]])


def main() -> None:
    """Print a line for each number of folds and way of dealing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, help="of C-NMC 2019: a CSV of path,sha256")
    parser.add_argument("--subjects", default="47,26", help="of each class, drawn")
    parser.add_argument("--folds", default="3,5,10")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="splits of each")
    given = parser.parse_args()
    drawn = [int(each) for each in given.subjects.split(",")]
    cells = of_manifest(given.manifest) if given.manifest else of_chance(drawn)
    print(f"{cells.sum()} cells of {len(cells)} subjects, {given.seeds} split seeds")
    print(f"folds {'dealt by':13}" + "".join(f"{name:>16}" for name in COLUMNS))
    for folds in map(int, given.folds.split(",")):
        for name, dealt in (("scikit-learn", as_before), ("draw", draw), ("dice", by_dice)):
            mean, worst = measured(cells, folds, dealt, given.seeds)
            columns = (f"{a:.3f} ({b:.3f})" for a, b in zip(mean, worst, strict=True))
            print(f"{folds:5} {name:13}" + "".join(f"{each:>16}" for each in columns))


if __name__ == "__main__":
    main()
