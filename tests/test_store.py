"""Cells are decoded once, rightly, and whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leukemia.cells import Cells
from leukemia.data.decoding import read_image
from leukemia.data.geometry import Geometry
from leukemia.data.index import open_index
from leukemia.data.options import DataOptions
from leukemia.data.store import load_cells
from leukemia.errors import UserError
from tests.conftest import ROOT

WHOLE = Geometry(crop=0, size=32)


def test_pixels_are_those_of_the_files(table: Path, cells: Cells, tmp_path: Path) -> None:
    loaded = load_cells(open_index(table, DataOptions(positive="blast")), WHOLE, tmp_path)
    np.testing.assert_array_equal(loaded.images, cells.images)
    np.testing.assert_array_equal(loaded.labels, cells.labels)
    assert isinstance(loaded.images, np.memmap)


def test_a_second_run_decodes_nothing(table: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(2):
        index = open_index(table, DataOptions(positive="blast"))
        load_cells(index, WHOLE, tmp_path, lambda done, total: seen.append(done))
    assert seen == list(range(1, 91))


def test_the_crop_is_centred() -> None:
    pixels = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    cropped = Geometry(crop=33).apply(
        Image.fromarray(np.pad(pixels, ((20,) * 2, (20,) * 2, (0,) * 2)))
    )
    np.testing.assert_array_equal(cropped[13:20, 12:21], pixels)


def test_the_resize_weighs_areas_and_does_not_alias() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = Geometry(crop=64, size=32).apply(Image.fromarray(stripes))
    assert abs(small[:, 4:-4].astype(int) - 100).max() <= 1


def test_two_runs_at_once_build_the_pixels_once(table: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from leukemia.data.index import open_index;"
        "from leukemia.data.options import DataOptions;"
        "from leukemia.data.decoding import Geometry\n"
        "from leukemia.data.store import load_cells\n"
        "news = []; index = open_index(Path(sys.argv[1]), DataOptions(positive='blast'))\n"
        "tell = lambda done, total: news.append(done)\n"
        "cells = load_cells(index, Geometry(crop=0, size=48), Path(sys.argv[2]), tell)\n"
        "print(len(news), cells.digest())"
    )
    command = [sys.executable, "-c", script, str(table), str(tmp_path / "store")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in "ab"]
    said = sorted(process.communicate()[0].split() for process in both)
    assert [built for built, _ in said] == ["0", "90"]
    assert said[0][1] == said[1][1]
    assert not list(tmp_path.glob("store/pixels/building-*"))


def save(path: Path, mode: str, size: tuple[int, int]) -> Path:
    Image.new(mode, size).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        (
            "cut.bmp",
            lambda p: p.write_bytes(save(p, "RGB", (64, 64)).read_bytes()[:3000]),
            "not a whole",
        ),
        ("text.bmp", lambda p: p.write_text("not an image"), "not a whole image"),
        ("empty.bmp", lambda p: p.touch(), "not a whole image"),
        ("small.bmp", lambda p: save(p, "RGB", (40, 40)), "smaller than the crop of 50"),
        ("real.tif", lambda p: save(p, "F", (64, 64)), "pixels of mode F; expected 8 or 16 bits"),
        ("deep.png", lambda p: save(p, "I;16", (64, 64)), "none is above 0: give depth=12"),
        ("huge.png", lambda p: save(p, "RGB", (9000, 9000)), "too large for one cell"),
    ],
)
def test_a_file_that_is_no_cell_is_named(tmp_path: Path, name: str, make, message: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        read_image(path, Geometry(crop=50))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_size_unlike_the_data_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 450x450"):
        read_image(save(tmp_path / "a.bmp", "RGB", (451, 450)), Geometry(), 450)


def test_a_bad_file_leaves_nothing_behind(table: Path, tmp_path: Path) -> None:
    (table / "cell_050.png").write_text("broken")
    with pytest.raises(UserError, match=r"cell_050.png: not a whole image"):
        load_cells(open_index(table, DataOptions(positive="blast")), WHOLE, tmp_path / "store")
    assert not [path for path in tmp_path.glob("store/pixels/*") if path.suffix != ".lock"]


@pytest.mark.parametrize(("crop", "size"), [(0, 0), (16, 0), (210, 16), (-1, 64)])
def test_an_impossible_geometry_is_refused(crop: int, size: int) -> None:
    with pytest.raises(UserError):
        Geometry(crop=crop, size=size)


def test_genuine_cells_decode(shared: Path, tmp_path: Path) -> None:
    cells = load_cells(open_index(shared / "data/cnmc"), Geometry(), tmp_path)
    assert cells.images.shape == (37, 210, 210, 3)
    assert cells.images.mean(axis=(1, 2, 3)).min() > 10  # a cell is in the centre of each


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (66, 70), (67, 65)])
@pytest.mark.parametrize(
    "geometry",
    [Geometry(crop=50), Geometry(crop=33, size=40), Geometry(crop=63), Geometry(crop=0, size=48)],
)
def test_a_bmp_of_which_only_rows_are_read_gives_the_pixels_of_a_png(
    tmp_path: Path, size: tuple[int, int], geometry: Geometry
) -> None:
    if not geometry.crop:
        size = (size[0], size[0])
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    for ending in ("bmp", "png"):
        Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.bmp", geometry), read_image(tmp_path / "a.png", geometry)
    )


def test_a_bmp_written_from_the_top_is_not_turned_over(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    file = bytearray((tmp_path / "a.bmp").read_bytes())
    file[22:26] = (-64).to_bytes(4, "little", signed=True)  # height below 0: top row first
    (tmp_path / "down.bmp").write_bytes(file)
    np.testing.assert_array_equal(
        read_image(tmp_path / "down.bmp", Geometry(crop=50)), pixels[::-1][7:57, 7:57]
    )


@pytest.mark.parametrize("missing", [1, 3000, 12_000])
def test_a_bmp_cut_anywhere_is_refused(tmp_path: Path, missing: int) -> None:
    whole = save(tmp_path / "a.bmp", "RGB", (64, 64)).read_bytes()
    (tmp_path / "a.bmp").write_bytes(whole[:-missing])
    with pytest.raises(UserError, match="not a whole image"):
        read_image(tmp_path / "a.bmp", Geometry(crop=33))
