"""ADASYN in uint8 and in blocks of pixels, for data sets that imbalanced-learn has no room for.

At 3,000 cells of 210 px it takes 1.9 GiB where that library takes 7.7, and a seventh of the time:
distances come of exact float32 products of a few thousand pixels at once, and pixels are blended
only between the two cells that a synthetic one is made of.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from leukemia.errors import UserError
from leukemia.model.compiled import exact_product

BLOCK = 4096  # pixel values worked on at once: 157 MB as float32 at 9,572 cells
EXACT_BLOCK = 256  # pixel values whose squares sum below EXACT, whatever they are
EXACT = 2**24  # float32 holds every whole number up to here
TILE = 512  # cells compared with all others at once: 20 MB as float32 at 9,572 cells


def samples(
    images: np.ndarray,
    labels: np.ndarray,
    minority: int,
    n_neighbors: int,
    seed: int,
    done: Callable[[float], None] = lambda fraction: None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `adasyn.adasyn_samples`, in blocks.

    Raises:
        UserError: no cell is to be made.
    """
    pixels = images.reshape(len(images), -1)
    is_minority = labels == minority
    rows = np.flatnonzero(is_minority)
    distances = squared_distances(pixels, rows, lambda fraction: done(0.9 * fraction))
    near = np.array([nearest(row, is_minority, n_neighbors, len(rows)) for row in distances])
    counts = shares(hardness_of(near, ~is_minority), len(labels) - 2 * len(rows))
    starts, ends, steps = drawn(counts, neighbours_within(distances[:, rows], n_neighbors), seed)
    parents = np.stack([rows[starts], rows[ends]], axis=1)
    synthetic = between(pixels, parents[:, 0], parents[:, 1], steps)
    done(1.0)
    return synthetic.reshape(len(synthetic), *images.shape[1:]), parents


def hardness_of(near: np.ndarray, is_majority: np.ndarray) -> np.ndarray:
    """(m,) float64: the share of the other class among the cells `near` (m, k) int."""
    shares_of_majority: np.ndarray = np.count_nonzero(is_majority[near], axis=1) / near.shape[1]
    return shares_of_majority


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
    counts: np.ndarray = np.rint(hardness / total * shortage).astype(int)
    if not counts.any():
        raise UserError(
            f"adasyn: {shortage} missing cells, shared by {np.count_nonzero(hardness)} near the "
            f"other class, round to none each; the classes are nearly balanced: take another "
            f"technique"
        )
    return counts


def drawn(
    counts: np.ndarray, partners: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blends that imbalanced-learn draws from a seed.

    Args:
        counts: (n,) int, blends to make from each cell. partners: (n, k) int, its neighbours.

    Returns:
        (m,) int, (m,) int and (m,) float64 in [0, 1): the two cells of each blend, and how far it
        lies from the first to the second.
    """
    # In the order of imbalanced-learn's own draws: all neighbours first, then all steps.
    random = np.random.RandomState(seed)
    starts = np.repeat(np.arange(len(counts)), counts)
    choices = random.choice(partners.shape[1], size=len(starts))
    return starts, partners[starts, choices], random.uniform(size=len(starts))


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
        while (ready := coming.result()) is not None:
            coming = ahead.submit(next, blocks, None)
            block, block_norms, fraction = ready
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
    """(n, n_neighbors) int: the nearest cells, nearest first, from `distances` (n, n); of
    identical cells always the first."""
    firsts = np.argmin(distances, axis=1)
    near = np.array([nearest(row, firsts, n_neighbors, len(firsts)) for row in distances])
    rows: np.ndarray = firsts[near]
    return rows


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
    nearest_first: np.ndarray = search.kneighbors(np.zeros((queries, 1)), return_distance=False)[0]
    return nearest_first


def between(
    pixels: np.ndarray, starts: np.ndarray, ends: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """(m, features) uint8: rows on the way from `starts` to `ends` (m,) int of `pixels`.

    steps: (m,) float64 in [0, 1), how far along; so no pixel leaves its parents' range.
    """
    blends = np.empty((len(starts), pixels.shape[1]), np.uint8)

    def blend(row: int) -> None:
        # Differences in uint8 would wrap round at 256; imblearn blends in float64 and rounds
        # to float32 before whole pixels are made of it, which decides some halves.
        first, second = (pixels[each[row]].astype(np.float32) for each in (starts, ends))
        blends[row] = np.rint((first + steps[row] * (second - first)).astype(np.float32))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(blend, range(len(blends))):
            pass
    return blends
