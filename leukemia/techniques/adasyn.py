"""New cells between two real ones of the rarer class, most where the other class is nearest.

ADASYN: He, Bai, Garcia and Li, "ADASYN: Adaptive synthetic sampling approach for imbalanced
learning", IJCNN 2008; the thesis, section 4.5. It gives the cells that imbalanced-learn
0.14.2 gives for the same random state on float32 pixels 0..255, rounded to whole pixels, but
in uint8 and in blocks: that library needs about 24 GiB for the 9,572 cells of the thesis.

Wrong when a straight line between two images is no image: cells are not registered, so most
made cells are two nuclei seen through one another, and nearness in pixels says more of place,
size and stain than of the disease. It favours the cells that lie deepest in the other class,
mislabelled ones first. Made before a split, it puts blends of test cells into the training
set. The classes end only nearly balanced, because each cell's share is rounded.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from leukemia.model.compiled import exact_product

THESIS = Schedule(
    transfer=Stage(learning_rate=1e-6, epochs=3), fine_tune=Stage(learning_rate=1e-4, epochs=9)
)
BLOCK = 4096  # pixel values worked on at once: 157 MB as float32 at 9,572 cells
EXACT_BLOCK = 256  # pixel values whose squares sum below EXACT, whatever they are
EXACT = 2**24  # float32 holds every whole number up to here
TILE = 512  # cells compared with all others at once: 20 MB as float32 at 9,572 cells


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What counts as near."""

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
    made, parents = adasyn_samples(
        np.asarray(train.images), train.labels, train.minority(), settings.n_neighbors, seed, done
    )
    return with_synthetic(train, made, "adasyn", parents)


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
) -> tuple[np.ndarray, np.ndarray]:
    """The cells that ADASYN makes of `images` (n, ...) uint8 with `labels` (n,): (m, ...) uint8,
    and the rows (m, 2) int of the two cells that each is a blend of.

    The same, in the same order, as the rows that imblearn's ADASYN(n_neighbors=n_neighbors,
    random_state=seed) adds to the pixels as float32, after rounding. Where it could differ:
    below 16 pixel values that library searches a tree and may take another of several equally
    near cells.

    done: is told a few times which fraction of the work is done.

    Raises:
        UserError: no cell is to be made (see `shares`).
    """
    pixels = images.reshape(len(images), -1)
    is_minority = labels == minority
    rows = np.flatnonzero(is_minority)
    distances = squared_distances(pixels, rows, lambda fraction: done(0.9 * fraction))
    near = np.array([nearest(row, is_minority, n_neighbors, len(rows)) for row in distances])
    hardness = np.count_nonzero(~is_minority[near], axis=1) / n_neighbors
    counts = shares(hardness, len(labels) - 2 * len(rows))
    partners = neighbours_within(distances[:, rows], n_neighbors)

    # In the order of imblearn's own draws: all neighbours first, then all steps.
    random = np.random.RandomState(seed)
    starts = np.repeat(np.arange(len(rows)), counts)
    choices = random.choice(n_neighbors, size=len(starts))
    steps = random.uniform(size=len(starts))
    ends = partners[starts, choices]
    parents = np.stack([rows[starts], rows[ends]], axis=1)
    made = between(pixels, parents[:, 0], parents[:, 1], steps)
    done(1.0)
    return made.reshape(len(made), *images.shape[1:]), parents


def shares(hardness: np.ndarray, shortage: int) -> np.ndarray:
    """(n,) int: cells to make from each cell, `shortage` shared out by `hardness` (n,) float64.

    Raises:
        UserError: every cell's hardness is zero, or every share rounds to zero.
    """
    total = np.sum(hardness)
    if not total:
        raise UserError(
            "adasyn: no cell of the rarer class has one of the other class among its nearest, "
            "and cells are made only near the other class; raise n_neighbors or take another "
            "technique"
        )
    # Divided first, then multiplied, as imblearn does: it decides how halves are rounded.
    counts = np.rint(hardness / total * shortage).astype(int)
    if not counts.any():
        raise UserError(
            f"adasyn: {shortage} missing cells, shared by {np.count_nonzero(hardness)} near the "
            f"other class, round to none each; the classes are nearly balanced: take another "
            f"technique"
        )
    return counts


def squared_distances(
    pixels: np.ndarray, rows: np.ndarray, done: Callable[[float], None]
) -> np.ndarray:
    """Exact squared distances of `pixels`[rows] to `pixels` (n, features) uint8.

    Returns (len(rows), n) float64, whole numbers: 260 MB for 3,389 of 9,572 cells.
    """
    norms = np.zeros(len(pixels))
    products = np.zeros((len(rows), len(pixels)))
    quarters = 0
    product = exact_product()
    # A product uses all cores, the making of the next block one: they go on side by side.
    with ThreadPoolExecutor(1) as ahead:
        blocks = exact_blocks(pixels)
        coming = ahead.submit(next, blocks, None)
        while (made := coming.result()) is not None:
            coming = ahead.submit(next, blocks, None)
            block, block_norms, fraction = made
            norms += block_norms
            for start in range(0, len(rows), TILE):
                tile = slice(start, start + TILE)
                products[tile] += product(block[rows[tile]], block)
            if int(4 * fraction) > quarters:
                quarters = int(4 * fraction)
                done(fraction)
    products *= -2
    products += norms
    products += norms[rows][:, None]
    return products


def exact_blocks(pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Blocks of columns of `pixels` (n, features) uint8 whose float32 products are exact.

    Yields (block, norms, fraction): the columns less a whole number each, which changes no
    distance, (n, width) float32 from -255 to 255; their squared row norms (n,) float32; the
    fraction of columns so far. Every norm is below 2**24, so every partial sum of any two rows'
    product is (Cauchy-Schwarz), and sums of whole numbers below that are exact in any order.
    """
    start, width = 0, BLOCK
    while start < pixels.shape[1]:
        block = pixels[:, start : start + width].astype(np.float32)
        block -= np.rint(block.mean(axis=0))
        norms = np.einsum("ij,ij->i", block, block)
        if norms.max() >= EXACT and width > EXACT_BLOCK:
            width //= 2
            continue
        start += block.shape[1]
        yield block, norms, start / pixels.shape[1]


def neighbours_within(distances: np.ndarray, n_neighbors: int) -> np.ndarray:
    """(n, n_neighbors) int: the nearest cells, nearest first, from `distances` (n, n)."""
    # Identical cells share a key: whichever is taken, the blend is the same.
    keys = np.argmin(distances, axis=1)
    return np.array([nearest(row, keys, n_neighbors, len(keys)) for row in distances])


def nearest(distances: np.ndarray, keys: np.ndarray, n_neighbors: int, queries: int) -> np.ndarray:
    """(n_neighbors,) int: the nearest cells by `distances` (n,), without the very nearest.

    The very nearest is the cell itself, or one identical to it. Cells at the same distance
    are interchangeable if their `keys` (n,) are equal; else scikit-learn breaks the tie.
    """
    count = n_neighbors + 1
    limit = np.partition(distances, count - 1)[count - 1]
    near = np.flatnonzero(distances <= limit)
    near = near[np.argsort(distances[near], kind="stable")]
    tied = np.diff(distances[near]) == 0
    if np.any(tied & (keys[near][1:] != keys[near][:-1])):
        near = as_scikit_learn(distances, count, queries)
    return near[1:count]


def as_scikit_learn(distances: np.ndarray, count: int, queries: int) -> np.ndarray:
    """The `count` nearest in the order in which scikit-learn finds them for one of `queries`.

    Its choice between equally near cells comes from heaps, whose history depends on the
    number of cells and queries and on the number of threads: the same cells may give another
    choice on another machine, there and here. Distances on a line, measured from 0, take it
    through that history again.
    """
    from sklearn.neighbors import NearestNeighbors  # a second to import, and seldom needed

    search = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="manhattan")
    search.fit(distances[:, None])
    return search.kneighbors(np.zeros((queries, 1)), return_distance=False)[0]


def between(
    pixels: np.ndarray, starts: np.ndarray, ends: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """(m, features) uint8: rows on the way from `starts` to `ends` (m,) int of `pixels`.

    steps: (m,) float64 in [0, 1), how far along; so no made pixel leaves its parents' range.
    """
    made = np.empty((len(starts), pixels.shape[1]), np.uint8)

    def make(row: int) -> None:
        # Differences in uint8 would wrap round at 256; imblearn blends in float64 and rounds
        # to float32 before whole pixels are made of it, which decides some halves.
        first, second = (pixels[each[row]].astype(np.float32) for each in (starts, ends))
        made[row] = np.rint((first + steps[row] * (second - first)).astype(np.float32))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(make, range(len(made))):
            pass
    return made
