"""Images of made cells: from a generator, at another size, side by side, moving."""

import io
from collections.abc import Iterable

import keras
import numpy as np
from PIL import Image

from leukemia.gan.config import canvas

GRID = (4, 8)  # rows and columns of a picture of samples


def generate(
    generator: keras.Model, n: int, seed: int, side: int | tuple[int, int] | None = None
) -> np.ndarray:
    """New images (n, S, S, 3) uint8, as large as `side` says where that is given."""
    made = paint(generator, latent(n, generator.input_shape[1], seed))
    return made if side is None else taken_off(made, side)


def put_on(images: np.ndarray, size: int) -> np.ndarray:
    """Images (n, H, W, 3) uint8 as a GAN of `size` px sees them.

    On the smallest canvas that holds them they are mirrored at their edges and not resampled;
    on any other they are.
    """
    if not _held(images.shape[1:3], size):
        return resize(images, size)
    before = (size - images.shape[1]) // 2
    after = size - images.shape[1] - before
    return np.pad(images, ((0, 0), (before, after), (before, after), (0, 0)), "symmetric")


def taken_off(images: np.ndarray, side: int | tuple[int, int]) -> np.ndarray:
    """The way back: made images (n, size, size, 3) uint8 at the size of the real ones."""
    size = images.shape[1]
    height, width = np.broadcast_to(side, 2).tolist()
    if not _held((height, width), size):
        return resize(images, side)
    before = (size - height) // 2
    return images[:, before : before + height, before : before + width]


def resize(images: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Images (n, H, W, 3) uint8 at another side in pixels, or another (height, width).

    Pillow's bicubic filter, which widens when it shrinks and so does not alias; real cells go
    down and made cells go up through this one function. Source: Parmar, Zhang & Zhu 2022.
    """
    height, width = np.broadcast_to(size, 2).tolist()
    resized = np.empty((len(images), height, width, 3), np.uint8)
    for row, image in enumerate(images):
        resized[row] = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return resized


def latent(n: int, length: int, seed: int) -> np.ndarray:
    """Standard normal vectors (n, length) float32."""
    return np.random.default_rng(seed).standard_normal((n, length), np.float32)


def paint(generator: keras.Model, vectors: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Images (n, S, S, 3) uint8 from latent vectors (n, length)."""
    made = np.empty((len(vectors), *generator.output_shape[1:]), np.uint8)
    for start in range(0, len(vectors), batch_size):
        batch = slice(start, start + batch_size)
        painted = keras.ops.convert_to_numpy(generator(vectors[batch], training=False))
        made[batch] = np.clip(np.rint((painted + 1) * 127.5), 0, 255)
    return made


def grid(images: np.ndarray) -> np.ndarray:
    """(rows * columns, S, S, 3) side by side as one picture (rows * S, columns * S, 3)."""
    rows, columns = GRID
    side = images.shape[1]
    tiles = images.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    return tiles.reshape(rows * side, columns * side, 3)


def animation(grids: Iterable[np.ndarray], milliseconds: int = 700) -> bytes:
    """Pictures (H, W, 3) uint8 of one size as a GIF that shows them one after another, for ever."""
    first, *others = [Image.fromarray(each) for each in grids]
    content = io.BytesIO()
    first.save(content, "gif", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return content.getvalue()


def _held(shape: tuple[int, ...], size: int) -> bool:
    """Whether images of this (height, width) lie unchanged on a canvas of `size` px."""
    return shape[0] == shape[1] and canvas(shape[0]) == size
