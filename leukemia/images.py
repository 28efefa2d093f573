"""Images that stay in their file until some of them are asked for.

The pixels of a data set are a mapped file of gigabytes. A split, or a balanced training set, is a
choice of its rows with synthetic cells after them: a copy would hold every cell once more.
"""

import math
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (n, H, W, 3), or (H, W, 3) of one image

AT_ONCE = 64  # images read together where all are gone through


class LazyImages(NDArrayOperatorsMixin):
    """Rows of other arrays as one array (n, H, W, 3) uint8 that is read piece by piece.

    Length, shape, iteration and every index work as on that array, and an index of rows gives an
    array of its own. Arithmetic, NumPy functions and array methods (`images / 255`,
    `images.mean(axis=0)`), and an index that leaves the rows open (`images[..., 0]`) or mixes the
    axes, read all images into memory first: 132 kB a cell of 210 px. Nothing can be written here.
    """

    def __init__(self, parts: tuple[Pixels, ...], rows: NDArray[np.int64]):
        """parts: (m, H, W, 3) uint8 each. rows: (n,) int, counted through all the parts.

        Raises:
            ValueError: the parts differ in height, width or channels.
        """
        if len({part.shape[1:] for part in parts}) > 1:
            shapes = " and ".join(str(part.shape) for part in parts)
            raise ValueError(f"images of shapes {shapes} cannot follow one another")
        self._parts, self._rows = parts, rows
        self._starts = np.cumsum([0, *map(len, parts)])
        self.shape = (len(rows), *parts[0].shape[1:])
        self.dtype, self.ndim = np.result_type(*(part.dtype for part in parts)), parts[0].ndim

    def chosen(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> "LazyImages":
        """The images at `which` ((m,) int or (n,) bool), still unread."""
        return LazyImages(self._parts, self._rows[which])

    def followed_by(self, others: "LazyImages") -> "LazyImages":
        """These images and then the others, still unread."""
        rows = np.concatenate([self._rows, others._rows + self._starts[-1]])
        return LazyImages(self._parts + others._parts, rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Pixels:
        first, *others = _expanded(key, self.ndim)
        if not _picks_rows(first) or not all(_is_basic(each) for each in others):
            mixed: Pixels = np.asarray(self)[key]  # such an index mixes the axes
            return mixed
        rows = self._rows[first]
        if rows.ndim == 0:
            one: Pixels = self._read(rows[None])[(0, *others)]
            return one
        return self._read(rows)[(slice(None), *others)]

    def __iter__(self) -> Iterator[Pixels]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("unread images cannot become an array without a copy")
        return self._read(self._rows).astype(dtype or self.dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "at" or any(isinstance(each, LazyImages) for each in options.get("out", ())):
            raise TypeError("unread images cannot be written to; change np.asarray(images)")
        arrays = [np.asarray(each) if isinstance(each, LazyImages) else each for each in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"LazyImages has no attribute '{name}'")
        array = np.asarray(self)
        array.flags.writeable = False  # `sort` and `fill` would change what nobody sees
        return getattr(array, name)

    @property
    def size(self) -> int:
        """How many values the images have."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes the images would take in memory."""
        return self.size * self.dtype.itemsize

    def _read(self, rows: NDArray[np.int64]) -> Pixels:
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part, start in zip(self._parts, self._starts, strict=False):
            here = (rows >= start) & (rows < start + len(part))
            if (
                here.all() and part.dtype == self.dtype
            ):  # straight to its place, not by way of a copy
                np.take(part, rows - start, 0, images, "clip")
            elif here.any():
                images[here] = part[rows[here] - start]
            _let_go(part)
        return images


Images = Pixels | LazyImages


def lazy(images: Images) -> LazyImages:
    """The same images, unread."""
    if isinstance(images, LazyImages):
        return images
    return LazyImages((images,), np.arange(len(images)))


def _expanded(key: Any, axes: int) -> tuple[Any, ...]:
    """An index with its ellipsis, if it has one, written as slices."""
    parts = key if isinstance(key, tuple) else (key,)
    places = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(places) != 1:
        return parts or (slice(None),)
    used = sum(part is not None for part in parts) - 1
    whole = (slice(None),) * (axes - used)
    return (*parts[: places[0]], *whole, *parts[places[0] + 1 :]) or (slice(None),)


def _picks_rows(part: Any) -> bool:
    """Whether an index of the first axis gives rows: a number, a slice, (m,) int or (n,) bool."""
    if part is None or isinstance(part, bool | np.bool_):
        return False
    return isinstance(part, int | np.integer | slice) or np.ndim(part) == 1


def _is_basic(part: Any) -> bool:
    """Whether an index of another axis is a number, a slice or a new axis."""
    is_whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
    return part is None or is_whole or isinstance(part, slice)


def _let_go(images: np.ndarray) -> None:
    """Let the system have the pages of a mapped file that were read into this process."""
    if isinstance(images, np.memmap) and images.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        images._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
