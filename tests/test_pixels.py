"""Pixels are what the file says, or the file is refused: never silently dark, grey or turned."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from leukemia.cells import Cells
from leukemia.data import stain
from leukemia.data.decoding import decode_image
from leukemia.data.geometry import Geometry
from leukemia.data.index import open_index
from leukemia.data.options import DataOptions
from leukemia.data.store import load_cells
from leukemia.errors import UserError
from leukemia.images import Pixels

RNG = np.random.default_rng(5)
WHOLE = Geometry(crop=0, size=40)


def decoded(content: bytes, geometry: Geometry = WHOLE) -> Pixels:
    return decode_image(io.BytesIO(content), "cell", geometry)


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png16(values: np.ndarray) -> bytes:
    """A 16-bit PNG of (H, W), (H, W, 3) or (H, W, 4)."""
    height, width = values.shape[:2]
    colour = {1: 0, 3: 2, 4: 6}[values.reshape(height, width, -1).shape[-1]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff16(values: np.ndarray, order: str = "<", deflated: bool = False) -> bytes:
    """A 16-bit TIFF of (H, W, 3) in either byte order."""
    height, width, _ = values.shape
    content = values.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if deflated else content
    start, after = 8, 8 + len(content)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, after), (259, 3, 1, 8 if deflated
            else 1), (262, 3, 1, 2), (273, 4, 1, start), (277, 3, 1, 3), (278, 3, 1, height),
            (279, 4, 1, len(content))]  # fmt: skip
    packed = b""
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        packed += struct.pack(f"{order}HHI", tag, kind, count)
        packed += struct.pack(
            f"{order}HH" if short else f"{order}I", *([value, 0] if short else [value])
        )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", after + 6)
    bits = struct.pack(f"{order}HHH", 16, 16, 16)
    return head + content + bits + struct.pack(f"{order}H", len(tags)) + packed + bytes(4)


DEEP = RNG.integers(0, 2**16, (40, 40, 3)).astype(np.uint16)
FILES = {
    "png": png16,
    "tiff": tiff16,
    "tiff, big-endian": lambda values: tiff16(values, ">"),
    "tiff, deflated": lambda values: tiff16(values, deflated=True),
}


@pytest.mark.parametrize("kind", FILES)
def test_sixteen_bits_are_read_at_full_depth(kind: str) -> None:
    seen = decoded(FILES[kind](DEEP))
    np.testing.assert_array_equal(seen, np.rint(DEEP * (255 / 65535)).astype(np.uint8))


@pytest.mark.parametrize("kind", FILES)
def test_a_camera_s_twelve_bits_are_never_dark_without_a_word(kind: str) -> None:
    content = FILES[kind](DEEP >> 4)
    with pytest.raises(UserError, match=r"of which none is above .* give depth=12"):
        decoded(content)
    seen = decoded(content, Geometry(crop=0, size=40, depth=12))
    np.testing.assert_array_equal(seen, np.rint((DEEP >> 4) * (255 / 4095)).astype(np.uint8))
    assert decoded(content, Geometry(crop=0, size=40, depth=16)).max() <= 16
    with pytest.raises(UserError, match="where depth=10 allows 1023; give a larger depth"):
        decoded(content, Geometry(crop=0, size=40, depth=10))


def test_sixteen_bits_of_grey_and_of_transparency() -> None:
    grey = decoded(png16(DEEP[..., 0]))
    np.testing.assert_array_equal(grey[..., 0], np.rint(DEEP[..., 0] * (255 / 65535)))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    opaque = np.concatenate([DEEP, np.full((40, 40, 1), 65535, np.uint16)], axis=-1)
    np.testing.assert_array_equal(decoded(png16(opaque)), decoded(png16(DEEP)))


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **more)
    return content.getvalue()


COLOUR = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), np.uint8))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "png"), ("1", "tiff"), ("P", "bmp"), ("LA", "png"), ("RGBA", "tiff"), ("CMYK", "tiff"),
     ("CMYK", "jpeg"), ("L", "jpeg"), ("RGBA", "png")],
)  # fmt: skip
def test_every_mode_is_read_by_its_rule(mode: str, kind: str) -> None:
    content = saved(COLOUR.convert(mode), kind)
    with Image.open(io.BytesIO(content)) as again:
        expected = np.asarray(again.convert("RGB"))
    np.testing.assert_array_equal(decoded(content), expected)


def test_what_is_transparent_lies_over_the_background() -> None:
    clear = COLOUR.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.array([0, 255], np.uint8), (40, 20))))
    content = saved(clear, "png")
    for background, level in (("black", 0), ("white", 255)):
        seen = decoded(content, Geometry(crop=0, size=40, background=background))
        assert (seen[:, 0::2] == level).all()
        np.testing.assert_array_equal(seen[:, 1::2], np.asarray(COLOUR)[:, 1::2])


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_the_orientation_tag_is_obeyed_in_every_format(kind: str, tag: int) -> None:
    corner = np.zeros((40, 40, 3), np.uint8)
    corner[:20, :20] = 255
    corner[:20, 20:] = 120
    exif = Image.Exif()
    exif[0x0112] = tag
    more = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    seen = decoded(saved(Image.fromarray(corner), kind, exif=exif, **more))
    quarters = [[round(float(seen[y, x, 0]) / 60) for x in (10, 30)] for y in (10, 30)]
    usual = np.array([[4, 2], [0, 0]])
    turned = {1: usual, 2: usual[:, ::-1], 3: usual[::-1, ::-1], 4: usual[::-1], 5: usual.T,
              6: np.rot90(usual, -1), 7: np.rot90(usual.T, 2), 8: np.rot90(usual)}  # fmt: skip
    assert quarters == turned[tag].tolist()


# --- damage


def damaged(content: bytes) -> dict[str, bytes]:
    half = len(content) // 2
    flipped = bytearray(content)
    flipped[half] ^= 0x10
    return {
        "cut at a third, with an end": content[: len(content) // 3] + b"\xff\xd9",
        "zeros from the middle": content[:half] + bytes(len(content) - half - 2) + b"\xff\xd9",
        "cut": content[:half],
        "a bit": bytes(flipped),
    }


PHOTO = Image.fromarray(
    np.clip(RNG.normal(0, 12, (80, 80, 3)).cumsum(0).cumsum(1) / 8 + 128, 0, 255).astype(np.uint8)
)


@pytest.mark.parametrize("case", ["cut at a third, with an end", "zeros from the middle", "cut"])
@pytest.mark.parametrize("more", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_that_decoders_fill_with_grey_is_refused(case: str, more: dict[str, Any]) -> None:
    whole = saved(PHOTO, "jpeg", quality=90, **more)
    assert decoded(whole).shape == (40, 40, 3)
    with pytest.raises(UserError, match=r"cell: not a whole image \(.*\); copy the file anew"):
        decoded(damaged(whole)[case])


@pytest.mark.parametrize("case", ["cut", "a bit"])
def test_a_png_with_one_wrong_bit_is_refused(case: str) -> None:
    whole = saved(PHOTO, "png")
    with pytest.raises(UserError, match="cell: not a whole image"):
        decoded(damaged(whole)[case])


def test_jpeg_inside_tiff_is_refused_since_its_damage_cannot_be_told() -> None:
    with pytest.raises(UserError, match="JPEG inside a TIFF file"):
        decoded(saved(PHOTO, "tiff", compression="jpeg"))


def test_all_bad_files_of_a_data_set_are_counted(tmp_path: Path, cells: Cells) -> None:
    for number in range(6):
        folder = tmp_path / "cells" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        content = saved(PHOTO, "jpeg")
        (folder / f"{number}.jpg").write_bytes(content if number < 4 else content[:900])
    index = open_index(tmp_path / "cells", DataOptions(positive="a", subjects="unknown"))
    with pytest.raises(UserError, match=r"2 of 6 images cannot be used; the first: .*4\.jpg"):
        load_cells(index, WHOLE, tmp_path / "cache")
    assert not list((tmp_path / "cache/pixels").glob("*.npy"))


# --- what is not square, or too small


def test_what_is_not_square_becomes_so_as_asked() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200
    content = saved(Image.fromarray(wide), "png")
    assert (decoded(content) == 200).all()
    padded = decoded(content, Geometry(crop=0, size=80, fit="pad", background="white"))
    assert (padded[:20] == 255).all()
    np.testing.assert_array_equal(padded[20:60], wide)
    stretched = decoded(content, Geometry(crop=0, size=80, fit="resize"))
    assert (stretched[:, 30:50] == 200).all()
    assert (stretched[:, :10] == 0).all()


def test_what_is_smaller_than_the_crop_is_refused_padded_or_made_larger() -> None:
    content = saved(COLOUR, "png")
    with pytest.raises(UserError, match=r"smaller than the crop of 60 px; .* fit=pad"):
        decoded(content, Geometry(crop=60))
    padded = decoded(content, Geometry(crop=60, fit="pad"))
    np.testing.assert_array_equal(padded[10:50, 10:50], np.asarray(COLOUR))
    assert not padded[:10].any()
    larger = decoded(content, Geometry(crop=60, fit="resize"))
    expected = COLOUR.resize((60, 60), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(larger, np.asarray(expected))


# --- stain


def cell_of(stains: np.ndarray, amounts: np.ndarray) -> Pixels:
    """A drawn picture of two stains: (H, W, 3) uint8."""
    density = amounts @ stains.T
    return np.clip(np.rint(stain.LIGHT * np.exp(-density) - 1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_one_cell_stained_in_two_ways_comes_together(method: str) -> None:
    rng = np.random.default_rng(1)
    amounts = rng.uniform(0.2, 1.2, (60, 60, 2)) * (rng.random((60, 60, 1)) > [0.3, 0.5])
    amounts[..., 0] += 0.15
    one = cell_of(np.array([[0.56, 0.22], [0.72, 0.80], [0.41, 0.56]]), amounts)
    other = cell_of(np.array([[0.62, 0.28], [0.66, 0.82], [0.43, 0.50]]), 0.8 * amounts)
    apart = np.abs(one.astype(float) - other).mean()
    together = [stain.normalised(image, method).astype(float) for image in (one, other)]
    assert np.abs(together[0] - together[1]).mean() < apart / 3


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_a_normalised_image_stays_and_a_blank_one_too(method: str) -> None:
    once = stain.normalised(np.asarray(PHOTO), method)
    again = stain.normalised(once, method)
    assert np.abs(once.astype(float) - again).mean() < 3
    for level in (0, 90, 255):
        blank = np.full((40, 40, 3), level, np.uint8)
        np.testing.assert_array_equal(stain.normalised(blank, method), blank)
    cut_out = np.asarray(PHOTO).copy()
    cut_out[:40] = 0
    assert not stain.normalised(cut_out, method)[:40].any()


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_genuine_cells_keep_their_black_ground(method: str, shared: Path) -> None:
    file = sorted((shared / "data/cnmc").rglob("*.bmp"))[0]
    plain, changed = (
        decode_image(io.BytesIO(file.read_bytes()), "cell", Geometry(crop=300, stain=each))
        for each in ("none", method)
    )
    assert (changed != plain).any()
    assert not changed[plain.max(-1) == 0].any()
