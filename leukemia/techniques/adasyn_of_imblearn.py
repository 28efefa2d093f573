"""ADASYN by imbalanced-learn's own sampler, with the parents of each cell, which it does not tell.

The sampler asks a nearest-neighbour search twice. What that answered is kept, and the sampler's
draws are repeated from the same seed: together they are the parents.
"""

import numpy as np
from imblearn.over_sampling import ADASYN
from sklearn.neighbors import NearestNeighbors

from leukemia.techniques.adasyn_in_blocks import drawn, hardness_of, shares


class _Remembering(NearestNeighbors):
    """A nearest-neighbour search that keeps its answers, in `answers_`."""

    def fit(self, X: np.ndarray, y: None = None) -> "_Remembering":
        """Keep the answers of searches before this one."""
        self.answers_ = getattr(self, "answers_", [])
        super().fit(X, y)
        return self

    def kneighbors(self, X: np.ndarray, return_distance: bool) -> np.ndarray:
        """(m, k + 1) int, the very nearest first."""
        rows: np.ndarray = super().kneighbors(X, return_distance=return_distance)
        self.answers_.append(rows[:, 1:])
        return rows


def samples(
    images: np.ndarray, labels: np.ndarray, minority: int, n_neighbors: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `adasyn.adasyn_samples`, by imbalanced-learn on float32 pixels: on uint8 it wraps round.

    Raises:
        UserError: no cell is to be made.
    """
    search = _Remembering(n_neighbors=n_neighbors + 1)
    sampler = ADASYN(n_neighbors=search, random_state=seed)
    rows = np.flatnonzero(labels == minority)
    shortage = len(labels) - 2 * len(rows)
    pixels = images.reshape(len(images), -1).astype(np.float32)
    try:
        added = sampler.fit_resample(pixels, labels)[0][len(images) :]
    except (RuntimeError, ValueError):
        for near in sampler.nn_.answers_[:1]:  # no cell is to be made: `shares` tells why
            shares(hardness_of(near, labels != minority), shortage)
        raise
    near, partners = sampler.nn_.answers_
    counts = shares(hardness_of(near, labels != minority), shortage)
    starts, ends, _ = drawn(counts, _firsts(images[rows])[partners], seed)
    synthetic = np.clip(np.rint(added), 0, 255).astype(np.uint8)
    return synthetic.reshape(-1, *images.shape[1:]), np.stack([rows[starts], rows[ends]], axis=1)


def _firsts(images: np.ndarray) -> np.ndarray:
    """(n,) int: for each image the first that is identical to it."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(each.tobytes(), row) for row, each in enumerate(images)])
