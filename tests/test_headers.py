"""Files that ask for more than a picture of a cell are refused before a pixel is decoded."""

import io
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leukemia.data import headers
from leukemia.data.decoding import decode_image
from leukemia.data.geometry import Geometry
from leukemia.errors import UserError
from tests import hostile

SAID = {
    "a huge tile": "a tile of 4292870400 pixels: too large",
    "60,000 directories": "several frames",
    "60,000 entries": r"a directory of \d+ entries",
    "10,000 passes": r"\d+ passes",
    "a million parts": "more than 65536 parts",
    "many frames": "several frames",
    "a picture of 100 megapixels": "10000x10000 px: too large",
    "a BMP of 2 gigapixels": "46000x46000 px: too large",
}


@pytest.mark.parametrize("case", hostile.IMAGES)
def test_what_costs_too_much_is_refused_at_once_and_for_nothing(case: str) -> None:
    content = io.BytesIO(hostile.IMAGES[case]())
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(UserError, match=SAID[case]) as error:
        decode_image(content, "cell.tif", Geometry(crop=32))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.perf_counter() - start < 5  # it took 14 and 26 s, or gigabytes
    assert most < 2 * len(content.getvalue()) + 2**20
    assert str(error.value).startswith("cell.tif: ")
    assert "\n" not in str(error.value)


def saved(kind: str, side: int = 40, **more: Any) -> io.BytesIO:
    content = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8))
    image.save(content, kind, **more)
    return content


@pytest.mark.parametrize(
    ("kind", "more"),
    [("bmp", {}), ("png", {}), ("jpeg", {}), ("jpeg", {"progressive": True}), ("tiff", {}),
     ("tiff", {"compression": "tiff_lzw"}), ("tiff", {"compression": "tiff_adobe_deflate"})],
)  # fmt: skip
def test_what_cameras_write_passes(kind: str, more: dict[str, Any]) -> None:
    content = saved(kind, **more)
    content.seek(9)
    headers.check(content, "cell")
    assert content.tell() == 0
    assert decode_image(content, "cell", Geometry(crop=32)).shape == (32, 32, 3)


def test_a_tile_larger_than_a_small_image_passes() -> None:
    headers.check(io.BytesIO(hostile.tiff(side=32, tile=(512, 512))), "cell")


def test_an_old_bmp_s_short_head_is_understood() -> None:
    content = hostile.bmp(40, 40)
    old = content[:14] + (12).to_bytes(4, "little") + b"\x28\0\x28\0\1\0\x18\0" + bytes(40 * 120)
    headers.check(io.BytesIO(old), "cell")


@pytest.mark.parametrize("make", [saved], ids=["cut"])
@pytest.mark.parametrize("kind", ["bmp", "png", "jpeg", "tiff"])
def test_every_cut_of_a_file_is_refused_in_a_line(
    make: Callable[[str], io.BytesIO], kind: str
) -> None:
    whole = make(kind).getvalue()
    for length in [*range(64), *range(64, len(whole) - 80, 211)]:
        with pytest.raises(UserError) as error:
            decode_image(io.BytesIO(whole[:length]), "cell", Geometry(crop=32))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_file_gives_a_cell_or_a_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ["bmp", "png", "jpeg", "tiff"][seed % 4]
    content = bytearray(saved(kind).getvalue())
    for place in rng.integers(0, min(len(content), 400), 6):
        content[int(place)] = int(rng.integers(256))
    try:
        cell = decode_image(io.BytesIO(content), "cell", Geometry(crop=32))
    except UserError:
        return
    assert cell.shape == (32, 32, 3)
    assert cell.dtype == np.uint8
