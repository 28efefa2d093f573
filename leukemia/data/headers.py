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
from collections.abc import Callable, Mapping
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
COMPRESSION, PLAIN, JPEG_IN_TIFF = 259, 1, (6, 7)  # a tag, and its values
STRIPS, STRIP_BYTES, ROWS, BITS, SAMPLES, PLANES = 273, 279, 278, 258, 277, 284
COLOURS, YCBCR = 262, 6  # a tag, and its value that comes with JPEG
MOST_STRIPS = 65_536
MOST_COLOURS = 256  # of a palette
WIDTH, HEIGHT, TILE_WIDTH, TILE_HEIGHT = 256, 257, 322, 323  # tags of a TIFF directory
DECISIVE = {WIDTH, HEIGHT, COMPRESSION, STRIPS, STRIP_BYTES, ROWS, BITS, SAMPLES, PLANES}


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
            _bmp(file, size, most_pixels)
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
    tags: dict[int, tuple[int, ...]] = {}
    for _ in range(entries):
        tag, kind, count, *_ = struct.unpack(f"{order}HHII", entry := file.read(12))
        values = _values(file, entry, order, kind, count)
        if tag in DECISIVE and (kind not in (3, 4) or not values):
            raise UserError(DAMAGED.format(f"its entry {tag} is no whole number"))
        if values:
            tags[tag] = values
    (following,) = struct.unpack(f"{order}I", file.read(4))
    if following:
        raise UserError(FRAMES)
    width, height = _one(tags, WIDTH, 0), _one(tags, HEIGHT, 0)
    _pixels(width, height, most_pixels)
    if _one(tags, COMPRESSION, PLAIN) in JPEG_IN_TIFF:
        raise UserError(
            "JPEG inside a TIFF file, of which damage cannot be told; save it as PNG or as TIFF "
            "with another compression"
        )
    if _one(tags, COLOURS, 2) == YCBCR:
        raise UserError("colours of JPEG without its compression; save it as RGB")
    tile = _one(tags, TILE_WIDTH, 0) * _one(tags, TILE_HEIGHT, 0)
    if tile > max(TILE_PIXELS, 4 * width * height):
        raise UserError(f"a tile of {tile} pixels: {TOO_LARGE}")
    if STRIPS in tags and not tile:
        _strips(file, tags, width, height)


def _values(file: BinaryIO, entry: bytes, order: str, kind: int, count: int) -> tuple[int, ...]:
    """The whole numbers of an entry of a TIFF directory; none of other kinds, or of too many."""
    letter = {1: "B", 3: "H", 4: "I"}.get(kind)
    if letter is None or not 0 < count <= MOST_STRIPS:
        return ()
    form = f"{order}{count}{letter}"
    if struct.calcsize(form) <= 4:
        return struct.unpack_from(form, entry, 8)
    here = file.tell()
    file.seek(struct.unpack_from(f"{order}I", entry, 8)[0])
    values = struct.unpack(form, file.read(struct.calcsize(form)))
    file.seek(here)
    return values


def _one(tags: Mapping[int, tuple[int, ...]], tag: int, default: int) -> int:
    return tags.get(tag, (default,))[0]


def _strips(file: BinaryIO, tags: Mapping[int, tuple[int, ...]], width: int, height: int) -> None:
    """Refuse strips that do not hold just the rows that the directory speaks of: decoders take what
    they need of one that is too long, and so show a part of the picture as the whole."""
    starts, counts = tags[STRIPS], tags.get(STRIP_BYTES, ())
    each = min(_one(tags, ROWS, height) or height, height)
    if _one(tags, PLANES, 1) not in (1, 2):
        raise UserError(DAMAGED.format("its colours lie in no known order"))
    planes = _one(tags, SAMPLES, 1) if _one(tags, PLANES, 1) == 2 else 1
    needed = planes * -(-height // each) if each else 0
    if not len(starts) == len(counts) == needed:
        raise UserError(DAMAGED.format(f"{len(starts)} strips, where {needed} are needed"))
    if BITS in tags and len(tags[BITS]) != _one(tags, SAMPLES, 1):
        raise UserError(DAMAGED.format("it says two things of its colours"))
    bits = tags.get(BITS, (1,)) * (1 if planes > 1 or BITS in tags else _one(tags, SAMPLES, 1))
    row = -(-width * (bits[0] if planes > 1 else sum(bits)) // 8)
    unpack = UNPACKED.get(_one(tags, COMPRESSION, PLAIN))
    for number, (start, count) in enumerate(zip(starts, counts, strict=True)):
        rows = min(each, height - each * (number % (needed // planes)))
        file.seek(start)
        held = file.read(count)
        if start < HEAD // 2 or len(held) < count or (unpack and unpack(held) != rows * row):
            raise UserError(DAMAGED.format("a strip does not hold the rows that it should"))


def _deflated(content: bytes) -> int:
    """How many bytes a deflated strip holds; -1 of a damaged one."""
    try:
        inflate = zlib.decompressobj()
        held = len(inflate.decompress(content, MOST_BYTES)) + len(inflate.flush())
    except zlib.error:
        return -1
    return held if inflate.eof else -1


def _packed(content: bytes) -> int:
    """How many bytes a strip of PackBits holds; -1 of one that is cut."""
    held = at = 0
    while at < len(content):
        length = content[at]
        if length < 128:
            held, at = held + length + 1, at + length + 2
        else:
            held, at = held + (257 - length) * (length > 128), at + 1 + (length > 128)
    return held if at == len(content) else -1


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


def _bmp(file: BinaryIO, size: int, most_pixels: int) -> None:
    file.seek(2)
    whole, _, start, head = struct.unpack("<IIII", file.read(16))
    if whole > size:
        raise UserError(DAMAGED.format(f"{size} of its {whole} bytes are there"))
    # The oldest kind of header, of 12 bytes, has short numbers.
    form = "<HH" if head == 12 else "<ii"
    width, height = struct.unpack(form, file.read(struct.calcsize(form)))
    _pixels(abs(width), abs(height), most_pixels)
    if head >= 40:
        _, bits, _, pixels, _, _, colours = struct.unpack("<HHIIIII", file.read(24))
        if start + pixels > size:
            raise UserError(DAMAGED.format("its pixels are cut off"))
        least = 14 + head + 4 * (colours or (1 << bits if bits <= 8 else 0))
        if colours > MOST_COLOURS or start < least:
            raise UserError(DAMAGED.format("its palette is damaged"))
        # Pillow takes palettes of two greys for one bit a pixel, and others for eight.
        if bits in (2, 4) or (bits == 8 and 0 < colours < 3):
            raise UserError(f"{bits} bits for {colours or 1 << bits} colours; save it as PNG")


# How many bytes a strip holds, by its compression; of LZW its decoder alone can tell.
UNPACKED: Mapping[int, Callable[[bytes], int]] = {
    PLAIN: len,
    8: _deflated,
    32946: _deflated,
    32773: _packed,
}
