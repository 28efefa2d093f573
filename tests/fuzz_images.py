"""Damaged images: refused, or read as a strict second decoder reads them.

    python -m tests.fuzz_images 3600 fuzz

Bits flipped, bytes cut, repeated and put in, odd heads; BMP, PNG, JPEG and TIFF of 8 and 16 bits.
A fault is any error but one line, and pixels that the second decoder (libpng, libjpeg-turbo and
tifffile by imagecodecs) gives otherwise, or refuses though they are no longer those of the whole
file. What goes wrong is kept in the folder.
"""

import io
import logging
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from leukemia.data.decoding import decode_image
from leukemia.data.geometry import Geometry
from leukemia.errors import UserError
from tests.fuzz import damaged, in_a_line
from tests.test_pixels import DEEP, PHOTO, png16, saved, tiff16

GEOMETRY = Geometry(crop=0, size=40, fit="resize", depth=16)
MOST_PIXELS = 4_000_000  # of a damaged head's size that is compared
SEEDS: dict[str, list[bytes]] = {
    "bmp": [saved(PHOTO, "bmp"), saved(PHOTO.convert("L"), "bmp")],
    "png": [
        saved(PHOTO, "png"),
        saved(PHOTO.convert("L"), "png"),
        png16(DEEP),
        png16(DEEP[..., 0]),
    ],
    "jpeg": [
        saved(PHOTO, "jpeg", quality=90),
        saved(PHOTO, "jpeg", quality=60, progressive=True),
        saved(PHOTO.convert("L"), "jpeg"),
        saved(PHOTO, "jpeg", quality=95, subsampling=0, restart_marker_blocks=4),
    ],
    "tiff": [
        saved(PHOTO, "tiff"),
        saved(PHOTO, "tiff", compression="tiff_lzw"),
        saved(PHOTO, "tiff", compression="tiff_adobe_deflate"),
        saved(PHOTO, "tiff", compression="packbits"),
        tiff16(DEEP),
        tiff16(DEEP, ">"),
        tiff16(DEEP, deflated=True),
    ],
}
SECOND: dict[str, Callable[[bytes], Any]] = {
    "bmp": imagecodecs.bmp_decode,
    "png": imagecodecs.png_decode,
    "jpeg": imagecodecs.jpeg8_decode,
    "tiff": lambda content: tifffile.imread(io.BytesIO(content)),
}


def second(kind: str, content: bytes) -> np.ndarray:
    """What the other decoder makes of a file, as pixels by the same rules.

    Raises:
        Exception: it refuses it, in a way of its own.
    """
    pixels = np.asarray(SECOND[kind](content))
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels * (255 / 65535)).astype(np.uint8)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return GEOMETRY.apply(Image.fromarray(pixels).convert("RGB"))


def tried(content: bytes, whole: np.ndarray) -> str:
    """What became of a damaged file: refused, the same, or unharmed (other bytes than those of
    pixels were hit, of which the second decoder alone makes much).

    whole: the pixels before.

    Raises:
        AssertionError: neither.
    """
    try:
        ours = decode_image(io.BytesIO(content), "cell", GEOMETRY, most_pixels=MOST_PIXELS)
    except UserError as error:
        in_a_line(error)
        return "refused"
    of_format = next(each for each, head in HEADS.items() if content.startswith(head))
    try:
        other = second(of_format, content)
    except Exception as error:
        if np.array_equal(ours, whole):
            return "unharmed"
        raise AssertionError(f"read, where {of_format}'s other decoder says {error!r}") from error
    apart = np.abs(ours.astype(int) - other)
    assert apart.max() <= 1, f"{(apart.max(-1) > 1).mean():.1%} of the pixels are others"
    return "the same"


HEADS: dict[str, bytes | tuple[bytes, ...]] = {
    "bmp": b"BM", "png": b"\x89PNG", "jpeg": b"\xff\xd8", "tiff": (b"II*\0", b"MM\0*"),
}  # fmt: skip


def main(seconds: float, folder: Path, seed: int = 0) -> int:
    """The number of faults; a line for each format."""
    warnings.simplefilter("ignore")  # of the second decoder
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    folder.mkdir(parents=True, exist_ok=True)
    faults = 0
    for kind, seeds in SEEDS.items():
        rng = np.random.default_rng([seed, len(kind), seeds[0][0]])
        counts, wrong, end = Counter[str](), 0, time.monotonic() + seconds / len(SEEDS)
        pixels = [decode_image(io.BytesIO(each), "whole", GEOMETRY) for each in seeds]
        while time.monotonic() < end:
            chosen = int(rng.integers(len(seeds)))
            content = damaged(seeds[chosen], rng)
            try:
                counts[tried(content, pixels[chosen])] += 1
            except Exception as error:
                wrong += 1
                if wrong <= 50:
                    (folder / f"pixels_{kind}_{wrong}").write_bytes(content)
                    said = traceback.format_exc() if not isinstance(error, AssertionError) else ""
                    (folder / f"pixels_{kind}_{wrong}.txt").write_text(f"{error}\n{said}")
        told = ", ".join(f"{n:,} {what}" for what, n in sorted(counts.items()))
        print(f"{kind}: {counts.total() + wrong:,} inputs ({told}): {wrong} faults", flush=True)
        faults += wrong
    return faults


if __name__ == "__main__":
    sys.exit(1 if main(float(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4])) else 0)
