"""Image files and requests that ask for far more than they bring."""

import io
import json
import struct
import zlib
from base64 import b64encode

import numpy as np
from PIL import Image


def tiff(side: int = 32, tile: tuple[int, int] | None = None, directories: int = 1,
         entries: int = 0) -> bytes:  # fmt: skip
    """An RGB TIFF of a few hundred bytes.

    tile: width and height that its one tile claims. directories: that follow one another.
    entries: more of them in the first directory.
    """
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 2), (277, 3)]
    tags += [(322, tile[0]), (323, tile[1]), (324, 8), (325, 64)] if tile else [
        (273, 8), (278, side), (279, side * side * 3)]  # fmt: skip
    tags += [(40_000 + number % 20_000, 1) for number in range(entries)]
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags
    )
    pixels = bytes(side * side * 3)
    start = 8 + len(pixels)
    parts = [struct.pack("<2sHI", b"II", 42, start), pixels]
    for number in range(directories):
        following = start + (number + 1) * (len(directory) + 4)
        parts += [directory, struct.pack("<I", following if number + 1 < directories else 0)]
    return b"".join(parts)


def jpeg(scans: int, side: int = 1024) -> bytes:
    """A progressive JPEG whose last pass comes again and again."""
    content = io.BytesIO()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(content, "jpeg", progressive=True, quality=30)
    whole = content.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + b"\xff\xd9"


def png(width: int, height: int, chunks: int = 0, animated: bool = False) -> bytes:
    """A black PNG; chunks: parts without meaning before its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(
            ">I", zlib.crc32(kind + body))  # fmt: skip

    rows = zlib.compressobj(9)
    row = bytes(3 * width + 1)
    packed = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            chunk(b"acTL", struct.pack(">II", 2, 0)) if animated else b"",
            chunk(b"teSt", b"") * chunks,
            chunk(b"IDAT", packed),
            chunk(b"IEND", b""),
        ]
    )


def text_bomb() -> bytes:
    """A PNG with a text of 100 MB in 100 kB."""
    plain = png(32, 32)
    body = b"Comment\0\0" + zlib.compress(bytes(100 * 2**20), 9)
    text = struct.pack(">I", len(body)) + b"zTXt" + body
    text += struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return plain[:33] + text + plain[33:]


def bmp(width: int, height: int) -> bytes:
    """A BMP's head without its pixels."""
    return struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0
    )


IMAGES = {
    "a huge tile": lambda: tiff(tile=(65_520, 65_520)),
    "60,000 directories": lambda: tiff(directories=60_000),
    "60,000 entries": lambda: tiff(entries=60_000),
    "10,000 passes": lambda: jpeg(10_000, side=64),
    "a million parts": lambda: png(32, 32, chunks=1_000_000),
    "many frames": lambda: png(32, 32, animated=True),
    "a picture of 100 megapixels": lambda: png(10_000, 10_000),
    "a BMP of 2 gigapixels": lambda: bmp(46_000, 46_000),
}


def as_json(*images: bytes) -> bytes:
    """MLflow's JSON with images."""
    rows = [[b64encode(image).decode()] for image in images]
    return json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()


BODIES: dict[str, tuple[str, bytes]] = {  # content type and body of /invocations
    "parquet": ("application/vnd.apache.parquet", b"PAR1" + bytes(400) + b"PAR1"),
    "CSV": ("text/csv", b"image\n" + b"A" * 1000),
    "distinct keys": (
        "application/json",
        json.dumps({"dataframe_records": [{f"k{n}": 1} for n in range(10_000)]}).encode(),
    ),
    "deep JSON": ("application/json", b"[" * 100_000 + b"]" * 100_000),
    "a long number": ("application/json", b'{"inputs": {"image": [' + b"9" * 5000 + b"]}}"),
    "empty lists": ("application/json", b"[" + b"[]," * 3_000_000 + b"[]]"),
    "not JSON": ("application/json", b"\xff\xfe\x00"),
    "no text": ("application/json", b'{"dataframe_split": {"columns": ["image"], "data": [[1]]}}'),
    "no base64": (
        "application/json", b'{"dataframe_split": {"columns": ["image"], "data": [["*"]]}}'),
    "no type": ("", as_json(b"x")),
}  # fmt: skip
