"""Subjects dealt into parts at random, each part with as many cells of every class as can be.

scikit-learn's StratifiedGroupKFold deals the subjects largest first and shuffles ties alone: on
C-NMC's sizes nearly all of them keep their part whatever the seed. Here chance deals, and single
subjects then change places while that makes the parts more even.
"""

from itertools import cycle

import numpy as np

from leukemia.cells import Indices

TRIES = 20  # deals, until one can be made as even as dealing largest first
EVEN = 0.001  # imbalance that need not be bettered
DIGITS = 9  # that sums are compared in: what follows may differ from processor to processor


def draw(cells: Indices, parts: int, seed: int) -> Indices:
    """(n,) int: the part of each subject, 0 to parts - 1, drawn at random.

    With two classes, and as many subjects of each as parts, every part has cells of both.

    Args:
        cells: (n, k) int, how many cells of each class a subject has; every class has some.
        seed: below 2**32. It and the order of the subjects decide the parts.
    """
    rng = np.random.RandomState(seed)  # no version of NumPy changes what it draws
    enough = max(EVEN, imbalance(cells, _largest_first(cells, parts), parts))
    drawn = []
    for _ in range(TRIES):
        part = _evened(cells, _dealt(cells > 0, parts, rng), parts, rng)
        drawn.append((imbalance(cells, part, parts), part))
        if drawn[-1][0] <= enough:
            break
    return min(drawn, key=lambda each: each[0])[1]


def imbalance(cells: Indices, part: Indices, parts: int) -> float:
    """How far the parts are from having as many cells of a class, as a share of their mean.

    The root of the mean square over classes and parts: 0 where all parts have as many.

    Args:
        cells: (n, k) int, how many cells of each class a subject has. part: (n,) int, its part.
    """
    return _size(_summed(_shares(cells, parts), part, parts) - 1)


def _size(over: np.ndarray) -> float:
    return float(np.round(np.sqrt(np.mean(over**2)), DIGITS))


def _shares(cells: Indices, parts: int) -> np.ndarray:
    """(n, k): a subject's cells of each class, in units of a part's mean."""
    shares: np.ndarray = parts * cells / cells.sum(axis=0)
    return shares


def _summed(values: np.ndarray, part: Indices, parts: int) -> np.ndarray:
    """(parts, k): the sums of values (n, k) by part."""
    sums = np.zeros((parts, values.shape[1]), values.dtype)
    np.add.at(sums, part, values)
    return sums


def _largest_first(cells: Indices, parts: int) -> Indices:
    """(n,) int: parts where each subject, the largest first, goes to where it is needed most."""
    shares = _shares(cells, parts)
    held, part = np.zeros((parts, cells.shape[1])), np.zeros(len(cells), int)
    for row in np.argsort(-np.round(shares.max(axis=1), DIGITS), kind="stable"):
        part[row] = np.argmin(np.round((held * shares[row]).sum(axis=1), DIGITS))
        held[part[row]] += shares[row]
    return part


def _dealt(has: np.ndarray, parts: int, rng: np.random.RandomState) -> Indices:
    """(n,) int: parts where each subject, in an order of chance, goes to where fewest of its
    classes are; those of several classes first, so that in the end no part lacks one.

    has: (n, k) bool, the classes that a subject has cells of.
    """
    order, ties = rng.permutation(len(has)), rng.random_sample((len(has), parts))
    order = order[np.argsort(-has[order].sum(axis=1), kind="stable")]
    there, part = np.zeros((parts, has.shape[1]), int), np.zeros(len(has), int)
    for row in order:
        part[row] = np.argmin((there * has[row]).sum(axis=1) + ties[row])
        there[part[row]] += has[row]
    return part


def _evened(cells: Indices, part: Indices, parts: int, rng: np.random.RandomState) -> Indices:
    """(n,) int: the parts once subjects have changed places until no change makes them more even,
    or they are even enough.

    Subjects are looked at in an order of chance, again and again. Each part has an empty place
    besides: to change with that one is to move.
    """
    count, idle = len(cells), 0
    places = np.concatenate([cells, np.zeros((parts, cells.shape[1]), int)])
    where = np.concatenate([part, np.arange(parts)])
    shares, has = parts * places / cells.sum(axis=0), (places > 0).astype(int)
    over, there = _summed(shares, where, parts) - 1, _summed(has, where, parts)
    for row in cycle(rng.permutation(count)):
        if _size(over) <= EVEN or idle == count:
            break
        other, idle = _partner(row, shares, has, where, over, there), idle + 1
        if other is not None:
            where[[row, other]] = where[[other, row]]
            where[count:] = np.arange(parts)
            over, there = _summed(shares, where, parts) - 1, _summed(has, where, parts)
            idle = 0
    return where[:count]


def _partner(
    row: int,
    shares: np.ndarray,
    has: np.ndarray,
    where: Indices,
    over: np.ndarray,
    there: np.ndarray,
) -> int | None:
    """The place to change with that betters the balance most, None where no change betters it or
    all that do would take the last cells of a class from a part.

    shares, has: (m, k) of all places. where: (m,) their parts. over, there: (parts, k), by how much
        a part's shares exceed 1, and how many of its places have cells of a class.
    """
    here, change, gained = where[row], shares - shares[row], has - has[row]
    worse = np.round((change * (over[here] - over[where] + change)).sum(axis=1), DIGITS)
    lost = (there[here] + gained < np.minimum(there[here], 1)) | (
        there[where] - gained < np.minimum(there[where], 1)
    )
    worse[lost.any(axis=1) | (where == here)] = 0
    other = int(np.argmin(worse))
    return other if worse[other] < 0 else None
