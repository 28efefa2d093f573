"""Cells that are taken out of others stay where they lie, and are used as an array is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from leukemia.cells import Cells
from leukemia.contract import with_synthetic
from leukemia.images import Images, LazyImages, lazy

RNG = np.random.default_rng(0)
SHAPE = (90, 6, 7, 3)


def cells_of(images: np.ndarray) -> Cells:
    labels = (np.arange(len(images)) % 3 == 0).astype(np.int8)
    names = np.array([f"c{row}" for row in range(len(images))])
    return Cells(images=images, labels=labels, subjects=names, cell_id=names)


@pytest.fixture(params=["in memory", "in a mapped file"])
def pixels(request: pytest.FixtureRequest, tmp_path: Path) -> np.ndarray:
    drawn = RNG.integers(0, 256, SHAPE, np.uint8)
    if request.param == "in memory":
        return drawn
    np.save(tmp_path / "cells.npy", drawn)
    return np.load(tmp_path / "cells.npy", mmap_mode="r")


EVEN = np.arange(0, 90, 2)
ROWS = np.array([5, 80, 5, 0, 33])
DARK = RNG.random((8, *SHAPE[1:])) < 0.3
KEYS = {
    "a row": 3,
    "the last": -1,
    "a slice": slice(2, 50),
    "every other, backwards": slice(None, None, -2),
    "rows": np.array([3, 3, 1]),
    "no row": np.array([], int),
    "mirrored": (slice(None), slice(None), slice(None, None, -1)),
    "a corner of one": (2, slice(0, 3), 0),
    "the red channel": (..., 0),
    "the red channel of one": (2, ..., 0),
    "all": ...,
    "all, without an index": (),
    "a new axis behind the rows": (slice(None), None),
    "a new axis before the rows": None,
    "a new axis at the end": (..., None),
    "backwards from the fifth": slice(5, None, -1),
    "backwards on every axis": (slice(None, None, -2),) * 4,
    "a list of rows": [0, -1, 2],
    "a mask of the rows": np.arange(8) % 3 == 0,
    "a mask and a channel": (np.arange(8) % 3 == 0, ..., 1),
    "a mask of no row": np.zeros(8, bool),
    "rows, and one line of each": (np.array([1, 4]), 2),
    "rows, and one channel of each": (np.array([1, 4]), slice(None), 0),
    "rows, a new axis and a line": (np.array([1, 4]), None, 2),
    "rows with lines": (np.array([1, 4]), np.array([0, 2])),
    "an open mesh": np.ix_([0, 5], [1, 2], [3], [0, 2]),
    "an open mesh of rows and lines": np.ix_([True] * 4 + [False] * 4, [4, 0]),
    "rows in two dimensions": np.array([[0, 1], [6, 7]]),
    "a row in an array without axes": np.array(3),
    "channels in another order": (slice(None), slice(None), slice(None), [2, 0, 1]),
    "a mask of the lines": (slice(0, 4), np.arange(6) > 3),
    "a mask of the pixels": DARK,
    "a mask without axes": True,
    "no image, by a mask without axes": (slice(None), False),
    "one value": (1, 2, 3, 0),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_what_is_taken_and_added_is_indexed_as_an_array(pixels: np.ndarray, key: Any) -> None:
    images, expected = lazy_and_plain(pixels)
    chosen = images[key]
    np.testing.assert_array_equal(chosen, expected[key], strict=True)
    assert type(chosen) is type(expected[key])


@pytest.mark.parametrize(
    "key",
    [8, -9, [0, 8], (0, 6), (0, 0, 0, 0, 0), (..., ...), np.ones(7, bool), 1.5, "red"],
    ids=str,
)
def test_an_index_that_an_array_refuses_is_refused(pixels: np.ndarray, key: Any) -> None:
    images, expected = lazy_and_plain(pixels)
    for each in (expected, images):
        with pytest.raises(IndexError):
            each[key]


def lazy_and_plain(pixels: np.ndarray) -> tuple[LazyImages, np.ndarray]:
    """Eight images in two parts, unread and as an array."""
    synthetic = RNG.integers(0, 256, (4, *SHAPE[1:]), np.uint8)
    cells = with_synthetic(cells_of(pixels).take(ROWS), synthetic, "mirror").cells
    images = cells.take(np.arange(8)).images
    assert isinstance(images, LazyImages)
    return images, np.concatenate([pixels[ROWS], synthetic])[:8]


USES = {
    "divided": lambda images: images / 255,
    "divided by": lambda images: 255 / (1.0 + images),
    "whole halves": lambda images: images // 2,
    "less another": lambda images: images.astype(np.int16) - images[::-1],
    "less itself": lambda images: images - images,
    "negated": lambda images: ~images,
    "brighter": lambda images: images > 127,
    "equal": lambda images: images == images[0],
    "not equal": lambda images: images != 0,
    "mean image": lambda images: images.mean(axis=0),
    "brightest": lambda images: images.max(axis=(1, 2), initial=0),
    "as another type": lambda images: images.astype(np.float32),
    "reshaped": lambda images: images.reshape(len(images), -1),
    "transposed": lambda images: images.T,
    "mean by NumPy": lambda images: np.mean(images, axis=0, dtype=np.float64),
    "added by NumPy": lambda images: np.add.reduce(images, axis=0, dtype=np.int64),
    "joined": lambda images: np.concatenate([images, images[:2]]),
    "stacked": lambda images: np.stack([images, images]),
    "repeated": lambda images: np.repeat(images, 2, axis=0),
    "mirrored": lambda images: np.flip(images, 2),
    "where dark": lambda images: np.where(images < 50, 0, images),
    "clipped": lambda images: np.clip(images, 10, 20),
    "copied": lambda images: np.array(images, copy=True),
    "one by one": lambda images: np.stack([image[::-1] for image in images]),
    "last first": lambda images: np.stack(list(reversed(images))),
    "size": lambda images: np.array([images.size, images.nbytes, len(images), *images.shape]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_is_computed_of_it_equals_what_is_computed_of_an_array(
    pixels: np.ndarray, use: Callable[[Images], np.ndarray]
) -> None:
    images, expected = lazy_and_plain(pixels)
    computed = use(images)
    assert type(computed) is np.ndarray
    np.testing.assert_array_equal(computed, use(expected), strict=True)


def test_what_does_not_need_pixels_does_not_read_them() -> None:
    class Unread(np.ndarray):
        def take(self, *args: Any, **options: Any) -> Any:
            raise AssertionError("read")

        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("read")

    images = lazy(np.zeros(SHAPE, np.uint8).view(Unread))
    chosen = images.chosen(ROWS).followed_by(images)
    assert (chosen.size, chosen.nbytes, chosen.shape) == (95 * 126, 95 * 126, (95, 6, 7, 3))
    with pytest.raises(AssertionError, match="read"):
        chosen[0]


def test_nothing_is_written_to_it(pixels: np.ndarray) -> None:
    images: Any  # types would refuse all of this already
    images, expected = lazy_and_plain(pixels)
    with pytest.raises(TypeError, match="does not support item assignment"):
        images[0] = 0
    with pytest.raises(TypeError, match="unread images cannot be written to"):
        images += 1
    with pytest.raises(TypeError, match="unread images cannot be written to"):
        np.add(expected, 1, out=images)
    with pytest.raises(TypeError, match="unread images cannot be written to"):
        np.add.at(images, 0, 1)
    for change in (lambda: images.fill(0), lambda: images.sort(axis=0)):
        with pytest.raises(ValueError, match="read-only"):
            change()
    np.testing.assert_array_equal(images, expected)


def test_it_is_never_an_array_without_a_copy(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="without a copy"):
        np.array(lazy_and_plain(pixels)[0], copy=False)


def test_images_of_other_types_and_shapes_are_not_squeezed_in(pixels: np.ndarray) -> None:
    images, expected = lazy_and_plain(pixels)
    halves = np.full((2, *SHAPE[1:]), 0.5)
    both = images.followed_by(lazy(halves))
    np.testing.assert_array_equal(np.asarray(both), np.concatenate([expected, halves]), strict=True)
    np.testing.assert_array_equal(both[[0, 9]], np.stack([expected[0], halves[1]]), strict=True)
    with pytest.raises(ValueError, match=r"\(90, 6, 7, 3\) .*\(2, 8, 8, 3\) cannot follow"):
        images.followed_by(lazy(np.zeros((2, 8, 8, 3), np.uint8)))


def test_an_attribute_that_arrays_do_not_have_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(AttributeError, match="LazyImages has no attribute 'colour'"):
        _ = lazy_and_plain(pixels)[0].colour


def test_it_goes_for_an_array(pixels: np.ndarray) -> None:
    few = cells_of(pixels).take(np.arange(90) % 2 == 0)
    expected = np.array(pixels[::2])
    assert (few.images.shape, few.images.ndim) == (expected.shape, 4)
    assert few.images.dtype == np.uint8
    assert len(few.images) == 45
    np.testing.assert_array_equal(np.asarray(few.images), expected)
    np.testing.assert_array_equal(np.stack(list(few.images)), expected)
    np.testing.assert_array_equal(np.asarray(few.images, np.float32), expected.astype(np.float32))
    assert few.digest() == few.loaded().digest() == cells_of(pixels).take(EVEN).digest()


def test_what_is_loaded_is_an_array_of_its_own(pixels: np.ndarray) -> None:
    loaded = cells_of(pixels).take(ROWS).loaded()
    assert type(loaded.images) is np.ndarray
    loaded.images[:] = 0
    assert np.array(pixels).any()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages a process holds")
def test_cells_of_a_mapped_file_are_not_held(tmp_path: Path) -> None:
    drawn = RNG.integers(0, 256, (2000, 100, 100, 3), np.uint8)
    np.save(tmp_path / "cells.npy", drawn)
    cells = cells_of(np.load(tmp_path / "cells.npy", mmap_mode="r"))
    before = psutil.Process().memory_info().rss
    balanced = with_synthetic(cells.take(np.arange(2000)), drawn[:10], "mirror").cells
    seen = sum(int(balanced.images[start : start + 50].sum()) for start in range(0, 2010, 50))
    assert seen == int(drawn.sum()) + int(drawn[:10].sum())
    assert psutil.Process().memory_info().rss - before < drawn.nbytes / 3
