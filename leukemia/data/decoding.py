"""An image file becomes a square of pixels, after its header was looked at.

Whatever a file asks for beyond a picture of a single cell is refused before a pixel is decoded.
"""

import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

from leukemia.data import headers
from leukemia.data.colour import rgb
from leukemia.data.geometry import Geometry
from leukemia.errors import UserError

FORMATS = ("BMP", "PNG", "JPEG", "TIFF")
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
ENDINGS = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")  # of files in those formats


def read_image(path: Path, geometry: Geometry | None, size: int | None = None) -> np.ndarray:
    """One image file as (side, side, 3) uint8, or as it is, (H, W, 3), where geometry is None.

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
    file: BinaryIO,
    name: str,
    geometry: Geometry | None,
    size: int | None = None,
    most_pixels: int = headers.MOST_PIXELS,
) -> np.ndarray:
    """An image file's content as (side, side, 3) uint8; its header is checked before any pixel is
    decoded.

    name: what the file is called in messages. size: as in `read_image`. most_pixels: that the
    whole image may have.

    Raises:
        UserError: not an image, truncated, or of the wrong size or mode.
    """
    headers.check(file, name, most_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged file is an error or a cell, nothing between
            with Image.open(file, formats=FORMATS) as image:
                _check(image, name, geometry, size, most_pixels)
                _check_stream(image, file)
                if geometry is None:
                    return np.asarray(_upright(image, file, name, Geometry()))
                window = _bmp_window(image, file, geometry)
                if window is not None:
                    return geometry.resize(window)
                return geometry.apply(_upright(image, file, name, geometry))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name}: not a whole image (none of {', '.join(FORMATS)}); copy the file anew or take "
            f"it out"
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: {headers.TOO_LARGE}") from error
    except Exception as error:  # of a damaged file Pillow raises what it happens to meet
        raise UserError(
            f"{name}: not a whole image ({error}); copy the file anew or take it out"
        ) from error


def _check(
    image: Image.Image, name: str, geometry: Geometry | None, size: int | None, most_pixels: int
) -> None:
    width, height = image.size
    came = f"{name}: {width}x{height} px, mode {image.mode}"
    if width * height > most_pixels:
        raise UserError(f"{came}: {headers.TOO_LARGE}")
    if getattr(image, "n_frames", 1) != 1:
        raise UserError(f"{came}: {headers.FRAMES}")
    if size is not None and (width, height) != (size, size):
        raise UserError(f"{came}: expected {size}x{size} as in this data set; copy the file anew")
    if geometry is not None and (why := geometry.refused(image.size)):
        raise UserError(f"{came}: {why}")


def _check_stream(image: Image.Image, file: BinaryIO) -> None:
    """Refuse a JPEG whose coded data are cut or damaged: Pillow fills what is missing with grey.

    Damage that leaves a stream of the right length cannot be told: JPEG has no sums.

    Raises:
        ValueError: what the strict decoder met.
    """
    if image.format != "JPEG":
        return
    file.seek(0)
    space = "CMYK" if image.mode == "CMYK" else "RGB"
    simplejpeg.decode_jpeg(file.read(), space, strict=True)
    file.seek(0)


def _upright(image: Image.Image, file: BinaryIO, name: str, geometry: Geometry) -> Image.Image:
    """The image in 8-bit RGB, turned as its orientation tag says, whatever its format."""
    coloured = rgb(image, file, name, geometry.background, geometry.depth)
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    if turn is None or image.format == "TIFF":  # which Pillow turns by itself
        return coloured
    return coloured.transpose(turn)


def _bmp_window(image: Image.Image, file: BinaryIO, geometry: Geometry) -> np.ndarray | None:
    """The window of a plain BMP file, whose rows lie there as they are: the rest is not read.

    None of any other file, which is to be decoded as a whole.
    """
    if image.format != "BMP" or not geometry.crop or min(image.size) < geometry.crop:
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
