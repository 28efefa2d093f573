"""Whatever an image's mode is, it becomes 8-bit red, green and blue by one rule for each.

Grey is repeated in each colour; a palette is looked up; CMYK and YCbCr are converted by Pillow's
plain formulas; transparency is laid over a ground of black or white. Embedded colour profiles are
not applied: the pixels count as they are stored. Of 16-bit files the values are divided by the
largest that so many bits hold, the same for every image.
"""

import sys
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from leukemia.errors import UserError
from leukemia.images import Pixels

PLAIN = ("RGB", "L", "1", "P", "PA", "LA", "RGBA", "CMYK", "YCbCr")
SHALLOW = 12  # bits: an image without a value beyond may come from a camera of so many
# Pillow's names of 16-bit colours as they lie in a file, the low or the high byte first (N: as this
# machine has them) -> with the other one first.
OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
SWAPPED = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in OTHER.items()
}


def rgb(image: Image.Image, file: BinaryIO, name: str, background: str, depth: int) -> Image.Image:
    """An image as 8-bit RGB.

    Args:
        image: opened and not yet loaded. file: that it was opened from.
        name: what the file is called in messages.
        background: black or white, under what is transparent.
        depth: bits that the values of a 16-bit file use, 0 where nobody has said.

    Raises:
        UserError: there is no rule for such pixels, or 16 bits hold fewer and nobody says so.
    """
    deep = _deep(image, file, name)
    if deep is not None:
        return _shallow(deep, name, depth, background)
    if image.mode not in PLAIN:
        raise UserError(
            f"{name}: pixels of mode {image.mode}; expected 8 or 16 bits of grey, RGB, RGBA, CMYK "
            f"or a palette: save the image as one of them"
        )
    if image.mode == "P" and image.palette is not None:
        colours = len(image.palette.getdata()[1]) // len(image.palette.mode)
        if int(np.asarray(image).max()) >= colours:
            raise UserError(
                f"{name}: not a whole image (its palette has {colours} colours, its pixels ask "
                f"for more); copy the file anew or take it out"
            )
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, background)
        return Image.alpha_composite(ground, over).convert("RGB")
    return image.convert("RGB")


def has_profile(image: Image.Image) -> bool:
    """Whether a colour profile is embedded, which is not applied."""
    return bool(image.info.get("icc_profile"))


def _deep(image: Image.Image, file: BinaryIO, name: str) -> np.ndarray | None:
    """(H, W) or (H, W, channels) uint16 of an image with 16 bits a value, None of another one.

    Pillow keeps the high byte of each colour alone; read again with the bytes exchanged it gives
    the low ones.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if not isinstance(image, ImageFile.ImageFile):
        return None
    kinds = {_kind(tile) for tile in image.tile}
    if not any(";16" in kind for kind in kinds):
        return None
    if not kinds <= set(SWAPPED):
        raise UserError(
            f"{name}: 16 bits a value of a kind that is not read ({', '.join(sorted(kinds))}); "
            f"save the image as 16-bit grey or RGB"
        )
    high = np.asarray(image).astype(np.uint16)
    file.seek(0)
    with Image.open(file) as again:
        assert isinstance(again, ImageFile.ImageFile)
        again.tile = [_swapped(tile) for tile in again.tile]
        low = np.asarray(again)
    deep: np.ndarray = high << 8 | low
    return deep


def _kind(tile: Any) -> str:
    """How Pillow calls the pixels of a tile."""
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _swapped(tile: Any) -> Any:
    kind = SWAPPED[_kind(tile)]
    return tile._replace(args=kind if isinstance(tile.args, str) else (kind, *tile.args[1:]))


def _shallow(deep: np.ndarray, name: str, depth: int, background: str) -> Image.Image:
    """16-bit values in 8 bits a colour."""
    brightest = int(deep.max())
    if not depth and brightest < 2**SHALLOW:
        raise UserError(
            f"{name}: 16 bits a value, of which none is above {brightest}: give depth={SHALLOW} "
            f"where the camera has so many bits (10, 12 or 14), or depth=16 where it is so dark"
        )
    most = 2 ** (depth or 16) - 1
    if brightest > most:
        raise UserError(
            f"{name}: a value of {brightest}, where depth={depth} allows {most}; give a larger "
            f"depth"
        )
    eight: Pixels = np.rint(deep * (255 / most)).astype(np.uint8)
    image = Image.fromarray(eight)
    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(ground, image).convert("RGB")
