"""Images that stay where they lie until some of them are asked for.

The pixels of a data set are a mapped file of gigabytes. A side of a split, or a balanced set, is a
choice of them with made ones behind: as an array of its own it would hold every cell once more.
"""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

AT_ONCE = 64  # that are read together where all are gone through


class LazyImages:
    """Stands for an array (n, H, W, 3) uint8 of rows of other arrays.

    It is counted, indexed, gone through and given to numpy as that array would be; what comes of an
    index is an array of its own, and `np.asarray` puts all of them into one.
    """

    def __init__(self, parts: "tuple[np.ndarray, ...]", rows: np.ndarray):
        """parts: (m, H, W, 3) uint8 each. rows: (n,) int, counted through all the parts."""
        self._parts, self._rows = parts, rows
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (len(rows), *parts[0].shape[1:])
        self.dtype, self.ndim = parts[0].dtype, parts[0].ndim

    def chosen(self, which: np.ndarray) -> "LazyImages":
        """Those at `which` ((m,) int or (n,) bool), where they lie."""
        return LazyImages(self._parts, self._rows[which])

    def followed_by(self, others: "LazyImages") -> "LazyImages":
        """These and then the others, where they lie."""
        rows = np.concatenate([self._rows, others._rows + self._starts[-1]])
        return LazyImages(self._parts + others._parts, rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *others = key if isinstance(key, tuple) else (key,)
        rows = self._rows[first]
        if rows.ndim == 0:
            return self._read(rows[None])[(0, *others)]
        return self._read(rows)[(slice(None), *others)]

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._read(self._rows).astype(dtype or self.dtype, copy=False)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part, start in zip(self._parts, self._starts, strict=False):
            here = (rows >= start) & (rows < start + len(part))
            if here.all():  # straight to its place, not by way of a copy
                np.take(part, rows - start, 0, found, "clip")
            elif here.any():
                found[here] = part[rows[here] - start]
            _let_go(part)
        return found


def lazy(images: np.ndarray) -> LazyImages:
    """The same images, where they lie."""
    if isinstance(images, LazyImages):
        return images
    return LazyImages((images,), np.arange(len(images)))


def _let_go(images: np.ndarray) -> None:
    """Let the system have the pages of a mapped file that were read into this process."""
    if isinstance(images, np.memmap) and images.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        images._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
