"""New cells between two real ones of the rarer class, most where the other class is nearest.

ADASYN: He, Bai, Garcia and Li, "ADASYN: Adaptive synthetic sampling approach for imbalanced
learning", IJCNN 2008; the thesis, section 4.5. The cells are those that imbalanced-learn 0.14.2
gives for the same random state on float32 pixels 0..255, rounded to whole pixels. Small data sets
are given to that library; it needs about 24 GiB for the 9,572 cells of the thesis, so larger ones
are worked through in uint8 and in blocks, with the same cells.

Wrong when a straight line between two images is no image: cells are not registered, so most
synthetic cells are two nuclei seen through one another, and nearness in pixels says more of
place, size and stain than of the disease. It favours the cells that lie deepest in the other
class, mislabelled ones first. Applied before a split, it puts blends of test cells into the
training set. The classes end only nearly balanced, because the share of each cell is rounded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import (
    Schedule,
    Stage,
    TechniqueContext,
    TrainingSet,
    setting,
    unchanged,
    with_synthetic,
)
from leukemia.errors import UserError
from leukemia.techniques import adasyn_in_blocks

THESIS = Schedule(
    transfer=Stage(learning_rate=1e-6, epochs=3), fine_tune=Stage(learning_rate=1e-4, epochs=9)
)
# Up to here imbalanced-learn does the work: 840 cells of 64 px, in a second more than the blocks
# take; at 210 px it would take 8 s for 380 cells, where the blocks take less than one.
MOST_MEMORY = 2**28
# What imbalanced-learn takes for each pixel value: 7.7 GiB for 3,000 cells of 210 px. Beside that
# scikit-learn fills two tiles of 256 cells in float64, however few the cells are.
BYTES_A_VALUE = 21
BYTES_OF_TILES = 2 * 256 * 8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many neighbours count as near."""

    n_neighbors: int = setting(
        5, "nearest cells that decide how hard a cell is, and that it is blended with"
    )


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells and ADASYN's blends of the rarer class.

    9,572 cells of 210 x 210 need 4 GB in all and, on two cores, less than a minute.

    Raises:
        UserError: too few cells of the rarer class, or none near the other class.
    """

    def done(fraction: float) -> None:
        context.report(round(100 * fraction), {"adasyn_done": fraction})

    seed = int(context.rng.integers(2**31))
    check(train, settings.n_neighbors)
    if train.shortage() == 0:
        return unchanged(train)
    images, parents = adasyn_samples(
        np.asarray(train.images), train.labels, train.minority(), settings.n_neighbors, seed, done
    )
    return with_synthetic(train, images, "adasyn", parents)


def check(train: Cells, n_neighbors: int) -> None:
    """Raise a UserError unless every cell of the rarer class can have `n_neighbors` of its own."""
    if n_neighbors < 1:
        raise UserError(f"adasyn: n_neighbors is {n_neighbors}, at least 1 is needed; 5 is usual")
    rarer = min(train.counts())
    if train.shortage() and rarer <= n_neighbors:
        raise UserError(
            f"adasyn: the rarer class has {rarer} training cells, n_neighbors="
            f"{n_neighbors} needs at least {n_neighbors + 1}; lower n_neighbors, add cells, "
            f"or take another technique"
        )


def adasyn_samples(
    images: np.ndarray,
    labels: np.ndarray,
    minority: int,
    n_neighbors: int,
    seed: int,
    done: Callable[[float], None] = lambda fraction: None,
    most_memory: int = MOST_MEMORY,
) -> tuple[np.ndarray, np.ndarray]:
    """The cells that ADASYN makes, and their parents.

    Args:
        images: (n, ...) uint8. labels: (n,) of two classes, of which `minority` is the rarer.
        seed: of imbalanced-learn's random state.
        done: is told a few times which fraction of the work is done.
        most_memory: bytes that imbalanced-learn may take; beyond, the work is done in blocks.

    Returns:
        (m, ...) uint8 and (m, 2) int: the synthetic cells, and the rows of `images` that each is
        a blend of; of identical cells the second parent is the first. The same cells and parents
        on both ways; but images of less than 16 values, for which scikit-learn searches a tree,
        may be blended with another of several equally near cells.

    Raises:
        UserError: no cell is to be made (see `adasyn_in_blocks.shares`).
    """
    if needed_memory(images) > most_memory:
        return adasyn_in_blocks.samples(images, labels, minority, n_neighbors, seed, done)
    from leukemia.techniques import adasyn_of_imblearn  # two seconds to import

    synthetic = adasyn_of_imblearn.samples(images, labels, minority, n_neighbors, seed)
    done(1.0)
    return synthetic


def needed_memory(images: np.ndarray) -> int:
    """Bytes that imbalanced-learn would take for `images` (n, ...), about."""
    values: int = images[0].size
    return values * (BYTES_A_VALUE * len(images) + BYTES_OF_TILES)
