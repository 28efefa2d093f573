"""Cells decoded once: uint8 pixels in a file that every run maps into memory.

The file's name is a digest of the images' contents and of the geometry, so it can neither be
stale nor serve another data set. Two runs that want the same pixels at once build them once.
"""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image, ImageFile, UnidentifiedImageError

from leukemia.cells import Cells
from leukemia.data.files import in_threads
from leukemia.data.index import Index
from leukemia.data.names import check
from leukemia.errors import UserError
from leukemia.images import Pixels

VERSION = 1  # of the decoding: raise it when the same file would give other pixels
LARGEST = 50_000_000  # pixels of an image that is still a picture of one cell
FORMATS = ("BMP", "PNG", "JPEG", "TIFF")
ENDINGS = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")  # of files in those formats
SMALLEST_SIZE = 32  # what ResNet-50 needs


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How an image becomes a square of pixels.

    crop: side in pixels of the centred window that is kept; 0 keeps the whole image.
    size: side in pixels to which the window is then resized; 0 leaves it as it is.
    """

    crop: int = 210
    size: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0 or self.size < 0:
            raise UserError(f"crop {self.crop} and image size {self.size} must not be negative")
        if not self.side:
            raise UserError("without a crop the image size must be given: set image_size=210")
        if self.side < SMALLEST_SIZE:
            raise UserError(
                f"cells of {self.side} px are too small; use {SMALLEST_SIZE} px or more"
            )

    @property
    def side(self) -> int:
        """Width and height of the result in pixels."""
        return self.size or self.crop

    def corner(self, size: tuple[int, int]) -> tuple[int, int]:
        """Left and top of the window in a picture of (width, height) pixels."""
        return (size[0] - self.crop) // 2, (size[1] - self.crop) // 2

    def apply(self, image: Image.Image) -> np.ndarray:
        """(side, side, 3) uint8: the centred window, resized by area-aware bilinear filtering."""
        if self.crop:
            left, top = self.corner(image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        return self.resize(np.asarray(image))

    def resize(self, window: np.ndarray) -> np.ndarray:
        """(side, side, 3) uint8 of a window that has been cut out."""
        if len(window) == self.side:
            return window
        image = Image.fromarray(window)
        return np.asarray(image.resize((self.side, self.side), Image.Resampling.BILINEAR))


def load_cells(
    index: Index,
    geometry: Geometry,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cells:
    """All cells of an index; images is a read-only memory map (n, side, side, 3) uint8."""
    return Cells(
        images=decode(index, geometry, cache, progress),
        labels=index.labels,
        subjects=index.frame["subject"].to_numpy(str),
        cell_id=index.frame["path"].to_numpy(str),
    )


def image_files(named: Sequence[Path]) -> list[Path]:
    """The image files that are named, and those below the folders that are named, in order.

    Raises:
        UserError: a name stands for nothing or is not fit to print, or a folder has no images.
    """
    paths: list[Path] = []
    for path in named:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if each.suffix.lower() in ENDINGS]
            if not inside:
                raise UserError(f"{path}: no image files below (looked for {' '.join(ENDINGS)})")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; give images or folders of them")
    check(pd.DataFrame({"path": map(str, paths)}), "images")
    return paths


def decode(
    index: Index, geometry: Geometry, cache: Path, progress: Callable[[int, int], None]
) -> Pixels:
    """The pixels of every file of an index, from the store or, the first time, from the files.

    Raises:
        UserError: a file is truncated, no image, or of the wrong size or mode; or the disk
            has no room. Nothing is left behind then.
    """
    target = cache / "pixels" / f"{_key(index, geometry)}.npy"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.exists():  # another run may have built it while this one waited
                _build(index, geometry, target, progress)
    pixels: Pixels = np.load(target, mmap_mode="r")
    return pixels


def read_image(path: Path, geometry: Geometry, size: int | None = None) -> np.ndarray:
    """One image file as (side, side, 3) uint8.

    size: width and height that the file must have, or None for any that the crop fits.

    Raises:
        UserError: not an image, truncated, or of the wrong size or mode.
    """
    try:
        with path.open("rb") as file:
            return decode_image(file, str(path), geometry, size)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def decode_image(
    file: BinaryIO, name: str, geometry: Geometry, size: int | None = None
) -> np.ndarray:
    """An image file's content as (side, side, 3) uint8; its header is checked before any pixel is
    decoded.

    name: what the file is called in messages. size: as in `read_image`.

    Raises:
        UserError: not an image, truncated, or of the wrong size or mode.
    """
    try:
        with warnings.catch_warnings(), Image.open(file, formats=FORMATS) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _check(image, name, geometry, size)
            window = _bmp_window(image, file, geometry)
            return geometry.apply(image) if window is None else geometry.resize(window)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name}: not a whole image (none of {', '.join(FORMATS)}); copy the file anew or take "
            f"it out"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: too large for one cell; cut the cell out of the slide") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(
            f"{name}: not a whole image ({error}); copy the file anew or take it out"
        ) from error


def _check(image: Image.Image, name: str, geometry: Geometry, size: int | None) -> None:
    width, height = image.size
    came = f"{name}: {width}x{height} px, mode {image.mode}"
    if width * height > LARGEST:
        raise UserError(f"{came}: too large for one cell; cut the cell out of the slide")
    if image.mode != "RGB":
        raise UserError(f"{came}: expected 8-bit RGB; convert the file to RGB")
    if getattr(image, "n_frames", 1) != 1:
        raise UserError(f"{came}: several frames; save one of them as a file of its own")
    if size is not None and (width, height) != (size, size):
        raise UserError(f"{came}: expected {size}x{size} as in this data set; copy the file anew")
    if min(width, height) < geometry.crop:
        raise UserError(
            f"{came}: smaller than the crop of {geometry.crop} px; use a smaller crop, "
            f"or crop=0 with an image size"
        )
    if not geometry.crop and width != height:
        raise UserError(f"{came}: not square; crop to a square first, or give a crop")


def _bmp_window(image: Image.Image, file: BinaryIO, geometry: Geometry) -> np.ndarray | None:
    """The window of a plain BMP file, whose rows lie there as they are: the rest is not read.

    None of any other file, which is to be decoded as a whole.
    """
    if image.format != "BMP" or not geometry.crop:
        return None
    assert isinstance(image, ImageFile.ImageFile)
    match image.tile:
        case [("raw", _, int(start), ("BGR", int(stride), -1))]:
            pass
        case _:
            return None
    left, top = geometry.corner(image.size)
    if file.seek(0, os.SEEK_END) < start + stride * image.height:
        raise OSError("the file is truncated")
    below = image.height - top - geometry.crop  # its rows go from the bottom to the top
    file.seek(start + stride * below)
    rows = np.frombuffer(file.read(stride * geometry.crop), np.uint8).reshape(-1, stride)
    blue_green_red = np.ascontiguousarray(rows[::-1, 3 * left : 3 * (left + geometry.crop)])
    window = np.empty_like(blue_green_red)
    for colour in range(3):  # a fifth of the time of turning all three round at once
        window[:, colour::3] = blue_green_red[:, 2 - colour :: 3]
    return window.reshape(geometry.crop, geometry.crop, 3)


def _key(index: Index, geometry: Geometry) -> str:
    text = "\n".join([f"{VERSION} {geometry.crop} {geometry.size}", *index.frame["sha256"]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(
    index: Index, geometry: Geometry, target: Path, progress: Callable[[int, int], None]
) -> None:
    shape = (len(index.frame), geometry.side, geometry.side, 3)
    _need_room(target.parent, int(np.prod(shape)))
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix="building-"))
    try:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        read = in_threads(lambda path: read_image(path, geometry, index.size), index.paths)
        with (folder / "pixels.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            for row, image in enumerate(read, 1):
                file.write(image.data)  # a map would cost a page fault for each 4 KB
                progress(row, len(index.frame))
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / "pixels.npy", target)
    finally:
        shutil.rmtree(folder)


def _need_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 2**30:.1f} GiB needed for decoded cells, {free / 2**30:.1f} "
            f"free; make room or set LEUKEMIA_CACHE to another disk"
        )
