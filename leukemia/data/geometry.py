"""How an image becomes a square of pixels: which part of it, how large, in which colours."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from leukemia.data.options import CROP, DEPTHS, FITS, GROUNDS, PAD, RESIZE, STAINS
from leukemia.data.stain import normalised
from leukemia.errors import UserError
from leukemia.images import Pixels

SMALLEST_SIZE = 32  # pixels: what ResNet-50 needs


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How an image becomes a square of pixels.

    crop: side in pixels of the centred window that is kept; 0 keeps the whole image.
    size: side in pixels to which the window is then resized; 0 leaves it as it is.
    fit: what is done with an image that is smaller than the window, or, as a whole, not square.
        crop: too small a one is refused, of another the largest centred square is kept. pad: it is
        centred on the background. resize: it is made larger until the window fits, or stretched.
    background: black or white, under what is transparent and beside what is padded.
    depth: bits that the values of 16-bit files use; 0 refuses those that may use fewer than 16.
    stain: none, or a way of `stain.normalised`.
    """

    crop: int = 210
    size: int = 0
    fit: str = CROP
    background: str = GROUNDS[0]
    depth: int = 0
    stain: str = STAINS[0]

    def __post_init__(self) -> None:
        if self.crop < 0 or self.size < 0:
            raise UserError(f"crop {self.crop} and image size {self.size} must not be negative")
        if not self.side:
            raise UserError("without a crop the image size must be given: set image_size=210")
        if self.side < SMALLEST_SIZE:
            raise UserError(
                f"cells of {self.side} px are too small; use {SMALLEST_SIZE} px or more"
            )
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                choices = ", ".join(map(str, known))
                raise UserError(f"{name} {getattr(self, name)!r}: choose from {choices}")

    @property
    def side(self) -> int:
        """Width and height of the result in pixels."""
        return self.size or self.crop

    @property
    def plain(self) -> bool:
        """Whether a window of an image is all that is wanted, as it is."""
        return bool(self.crop) and self.stain == STAINS[0]

    @property
    def unusual(self) -> dict[str, Any]:
        """What of it is not as usual, beside crop and size: name -> value."""
        given = asdict(self)
        return {name: given[name] for name in CHOICES if given[name] != getattr(Geometry, name)}

    def corner(self, size: tuple[int, int]) -> tuple[int, int]:
        """Left and top of the window in a picture of (width, height) pixels."""
        return (size[0] - self.crop) // 2, (size[1] - self.crop) // 2

    def refused(self, size: tuple[int, int]) -> str:
        """Why an image of (width, height) pixels gives no window; "" where it does."""
        if min(size) >= self.crop or self.fit != CROP:
            return ""
        return (
            f"smaller than the crop of {self.crop} px; use a smaller crop, fit=pad or fit=resize, "
            f"or crop=0 with an image size"
        )

    def apply(self, image: Image.Image) -> Pixels:
        """(side, side, 3) uint8 of an RGB image: the window, resized by area-aware bilinear
        filtering, in its colours or those of the stain's reference."""
        return self.resize(np.asarray(self._window(image)))

    def resize(self, window: np.ndarray) -> Pixels:
        """(side, side, 3) uint8 of a window that has been cut out."""
        if window.shape[:2] != (self.side, self.side):
            image = Image.fromarray(window)
            window = np.asarray(image.resize((self.side, self.side), Image.Resampling.BILINEAR))
        return normalised(window, self.stain)

    def _window(self, image: Image.Image) -> Image.Image:
        if not self.crop:
            return self._square(image)
        short = min(image.size)
        if short < self.crop and self.fit == RESIZE:
            scale = self.crop / short
            size = (round(image.width * scale), round(image.height * scale))
            image = image.resize(size, Image.Resampling.BILINEAR)
        if short < self.crop and self.fit == PAD:
            width, height = (max(side, self.crop) for side in image.size)
            image = self._on_ground(image, width, height)
        left, top = self.corner(image.size)
        return image.crop((left, top, left + self.crop, top + self.crop))

    def _square(self, image: Image.Image) -> Image.Image:
        """The whole image as a square, stretched later where that is wanted."""
        width, height = image.size
        if width == height or self.fit == RESIZE:
            return image
        if self.fit == PAD:
            return self._on_ground(image, max(image.size), max(image.size))
        side = min(image.size)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))

    def _on_ground(self, image: Image.Image, width: int, height: int) -> Image.Image:
        ground = Image.new("RGB", (width, height), self.background)
        ground.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return ground


CHOICES = {"fit": FITS, "background": GROUNDS, "depth": DEPTHS, "stain": STAINS}
