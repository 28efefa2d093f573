"""Cells that are taken out of others stay where they lie, and are used as an array is."""

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from leukemia.cells import Cells
from leukemia.contract import with_synthetic

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
KEYS = {
    "a row": 3,
    "the last": -1,
    "a slice": slice(2, 50),
    "every other, backwards": slice(None, None, -2),
    "rows": np.array([3, 3, 1]),
    "no row": np.array([], int),
    "mirrored": (slice(None), slice(None), slice(None, None, -1)),
    "a corner of one": (2, slice(0, 3), 0),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_what_is_taken_and_added_is_indexed_as_an_array(pixels: np.ndarray, key: object) -> None:
    made = RNG.integers(0, 256, (4, *SHAPE[1:]), np.uint8)
    found = (
        with_synthetic(cells_of(pixels).take(ROWS), made, "mirror").cells.take(np.arange(8)).images
    )
    expected = np.concatenate([pixels[ROWS], made])[:8]
    np.testing.assert_array_equal(found[key], expected[key])
    assert isinstance(found[key], np.ndarray)


def test_it_goes_for_an_array(pixels: np.ndarray) -> None:
    few = cells_of(pixels).take(np.arange(90) % 2 == 0)
    expected = np.array(pixels[::2])
    assert (few.images.shape, few.images.dtype, few.images.ndim) == (expected.shape, np.uint8, 4)
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
