"""What an image file says of itself, read before any library decodes a pixel of it.

A file of a few hundred bytes can ask for gigabytes of memory or minutes of work: one huge tile,
thousands of directories, a picture sent in thousands of passes. What is counted here is what each
format's structure asks for; what is refused is far beyond any picture of a single cell. Where a
format carries sums over its parts (PNG), they are checked, since decoders pass over them.

Source: TIFF 6.0; ITU T.81 annex B (JPEG); W3C PNG, third edition.
"""

import os
import struct
import zlib
from typing import BinaryIO

from leukemia.errors import UserError

MOST_PIXELS = 50_000_000  # of an image that is still a picture of one cell
MOST_BYTES = 256 * 2**20  # of its file
MOST_ENTRIES = 256  # of a TIFF directory
TILE_PIXELS = 2**20  # of a tile, however small the image
MOST_PASSES = 64  # of a progressive JPEG; encoders write about ten
MOST_CHUNKS = 65_536  # of a PNG

HEAD = 16  # bytes that tell the formats apart
TOO_LARGE = "too large for one cell; cut the cell out of the slide"
FRAMES = "several frames; save one of them as a file of its own"
DAMAGED = "not a whole image ({}); copy the file anew or take it out"
COMPRESSION, JPEG_IN_TIFF = 259, (6, 7)  # a tag, and its values
WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT = 256, 257, 322, 323  # tags of a TIFF directory


def check(file: BinaryIO, name: str, most_pixels: int = MOST_PIXELS) -> None:
    """Refuse a file that would cost more than a picture of a cell; it is left at its start.

    name: what the file is called in messages.

    Raises:
        UserError: it asks for too many bytes, pixels, frames, tiles, passes or parts, or its
            structure is broken. What is none of the four formats passes: it is not decoded either.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    try:
        if size > MOST_BYTES:
            raise UserError(f"{size} bytes: {TOO_LARGE}")
        if head[:4] in (b"II*\0", b"MM\0*"):
            _tiff(file, size, most_pixels)
        elif head[:3] == b"\xff\xd8\xff":
            _jpeg(file)
        elif head[:8] == b"\x89PNG\r\n\x1a\n":
            _png(file, most_pixels)
        elif head[:2] == b"BM":
            _bmp(file, most_pixels)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except struct.error:
        raise UserError(f"{name}: {DAMAGED.format('it is cut off')}") from None
    finally:
        file.seek(0)


def _pixels(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise UserError(f"{width}x{height} px: {TOO_LARGE}")


def _tiff(file: BinaryIO, size: int, most_pixels: int) -> None:
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    file.seek(4)
    (start,) = struct.unpack(f"{order}I", file.read(4))
    file.seek(start)
    (entries,) = struct.unpack(f"{order}H", file.read(2))
    if entries > MOST_ENTRIES:
        raise UserError(
            f"a directory of {entries} entries: {DAMAGED.format('no camera writes it')}"
        )
    tags = {}
    for _ in range(entries):
        tag, kind, count, *_ = struct.unpack(f"{order}HHII", entry := file.read(12))
        form = {1: "B", 3: "H", 4: "I"}.get(kind)
        if form and count == 1:
            (tags[tag],) = struct.unpack_from(f"{order}{form}", entry, 8)
    (following,) = struct.unpack(f"{order}I", file.read(4))
    if following:
        raise UserError(FRAMES)
    width, height = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)
    _pixels(width, height, most_pixels)
    if tags.get(COMPRESSION) in JPEG_IN_TIFF:
        raise UserError(
            "JPEG inside a TIFF file, of which damage cannot be told; save it as PNG or as TIFF "
            "with another compression"
        )
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0)
    if tile > max(TILE_PIXELS, 4 * width * height):
        raise UserError(f"a tile of {tile} pixels: {TOO_LARGE}")


def _jpeg(file: BinaryIO) -> None:
    """Between two markers of a scan no byte 0xFF stands but before 0 and the restart markers."""
    file.seek(0)
    passes = file.read().count(b"\xff\xda")
    if passes > MOST_PASSES:
        raise UserError(f"{passes} passes: {DAMAGED.format('no camera writes it')}")


def _png(file: BinaryIO, most_pixels: int) -> None:
    file.seek(16)
    width, height = struct.unpack(">II", file.read(8))
    _pixels(width, height, most_pixels)
    file.seek(8)
    for _ in range(MOST_CHUNKS):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"acTL":
            raise UserError(FRAMES)
        if kind == b"IEND":
            return
        content = file.read(length)
        (told,) = struct.unpack(">I", file.read(4))
        if len(content) < length or zlib.crc32(content, zlib.crc32(kind)) != told:
            raise UserError(DAMAGED.format(f"its part {kind.decode('latin-1')!r} is damaged"))
    raise UserError(f"more than {MOST_CHUNKS} parts: {DAMAGED.format('no camera writes it')}")


def _bmp(file: BinaryIO, most_pixels: int) -> None:
    file.seek(14)
    (head,) = struct.unpack("<I", file.read(4))
    # The oldest kind of header, of 12 bytes, has short numbers.
    form = "<HH" if head == 12 else "<ii"
    width, height = struct.unpack(form, file.read(struct.calcsize(form)))
    _pixels(abs(width), abs(height), most_pixels)
