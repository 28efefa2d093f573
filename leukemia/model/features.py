"""Features of the network that a classifier starts from, computed once for each real cell.

While the backbone is frozen a cell's features are the same in every epoch, technique, seed and
fold. They are kept on disk under a digest of the cell's pixels, of the network's weights and of
all else that could change them, so they can neither be stale nor serve another network.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from leukemia.errors import UserError
from leukemia.images import Images, Pixels
from leukemia.model.classifier import Classifier, feature_model
from leukemia.model.inference import engine, exact, in_batches

AT_ONCE = 512  # cells between two writes: what a kill loses at most
WAIT_S = 60.0  # for another run that is writing


class Features:
    """Images (n, S, S, 3) uint8 to pooled features (n, c) float32.

    The same numbers as the network gives in float32, to 1e-5, and the very same whether they were
    kept or are computed now: it is always given whole batches, and what another run has kept came
    from as many threads.
    """

    def __init__(self, classifier: Classifier, threads: int, cache: Path | None = None):
        """cache: the folder where features are kept; None, or a network from scratch, which is
        another one each time: they are not."""
        self._model, self._threads = feature_model(classifier), threads
        self._path = None
        if cache and classifier.pretrained:
            self._path = cache / "features" / f"{_mark(classifier, threads)}.sqlite"

    def __call__(
        self, images: Images, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        """Those that are kept, and the rest computed."""
        names = _names(images) if self._path and self._path.exists() else []
        kept = self._read(names) if names else {}
        missing = np.flatnonzero([name not in kept for name in names]) if names else None
        if missing is None or len(missing) == len(images):
            return in_batches(self._network, images, progress)
        values = np.empty((len(images), self._model.output_shape[-1]), np.float32)
        for row, name in enumerate(names):
            if name in kept:
                values[row] = np.frombuffer(kept[name], np.float32)
        if len(missing):
            values[missing] = in_batches(self._network, images[missing], progress)
        return values

    @cached_property
    def _network(self) -> Callable[[Pixels], NDArray[np.float32]]:
        return exact(self._model, self._threads)

    def keep(self, images: Images, progress: Callable[[float], None] | None = None) -> None:
        """Compute and keep what is not there yet; killed, it goes on where it was.

        Raises:
            UserError: it cannot be written or read.
        """
        if not self._path:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")):  # else two runs compute the same
            self._keep(images, progress)

    def _keep(self, images: Images, progress: Callable[[float], None] | None) -> None:
        names = _names(images)
        kept = self._read(names)
        missing = np.flatnonzero([name not in kept for name in names])
        for start in range(0, len(missing), AT_ONCE):
            rows = missing[start : start + AT_ONCE]
            values = in_batches(self._network, images[rows])
            with self._opened() as base:
                base.executemany(
                    "INSERT OR IGNORE INTO features VALUES (?, ?)",
                    [(names[row], each.tobytes()) for row, each in zip(rows, values, strict=True)],
                )
            if progress:
                progress(min(1.0, (start + AT_ONCE) / len(missing)))

    def _read(self, names: list[bytes]) -> dict[bytes, bytes]:
        with self._opened() as base:
            kept = {}
            for name in set(names):
                row = base.execute("SELECT value FROM features WHERE name = ?", (name,)).fetchone()
                if row:
                    kept[name] = row[0]
        return kept

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        assert self._path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as base, base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS features (name BLOB PRIMARY KEY, value BLOB)"
                )
                yield base
        except sqlite3.Error as error:
            raise UserError(
                f"{self._path}: {error}; make room there, or remove the file: features are then "
                f"computed anew"
            ) from error


def _names(images: Images) -> list[bytes]:
    """A digest of each image's pixels."""
    return [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in images]


def _mark(classifier: Classifier, threads: int) -> str:
    """Equal for networks that give the same numbers."""
    config = classifier.config
    told = [
        version("tensorflow"),
        keras.__version__,
        engine(),
        threads,
        config.backbone,
        config.scaling,
        config.size,
    ]
    sha = hashlib.blake2b(repr(told).encode(), digest_size=16)
    for weights in feature_model(classifier).get_weights():
        sha.update(weights.tobytes())
    return sha.hexdigest()
