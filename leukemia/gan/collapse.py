"""Detectors of a GAN training that has gone wrong: no number, no contest, no diversity."""

import numpy as np

PINNED = 0.99  # share of real and of made images that a discriminator with no contest tells
LEAST_SPREAD = 0.1  # of the real images' spread, below which the made ones are one image
BEFORE = 0.1  # share of the epochs in which diversity is not asked for yet: grey comes first


def first_bad_step(losses: np.ndarray) -> int | None:
    """The row of the first loss that is no finite number; losses: (steps, k)."""
    bad = np.flatnonzero(~np.isfinite(losses).all(1))
    return int(bad[0]) if len(bad) else None


def spread(images: np.ndarray) -> float:
    """How far images differ from each other: the standard deviation of a pixel over the images,
    root mean square over all pixels, in grey levels; images: (n, S, S, 3) uint8."""
    total = squares = np.zeros(images.shape[1:])
    for image in images:  # all at once would take eight times their memory
        pixels = image.astype(np.float64)
        total = total + pixels
        squares = squares + pixels**2
    variance = squares / len(images) - (total / len(images)) ** 2
    return float(np.sqrt(max(variance.mean(), 0)))


def patience(epochs: int) -> int:
    """For how many epochs on end a discriminator may win every time: a tenth, 10 at least."""
    return max(10, epochs // 10)


def pinned(on_real: list[float], on_made: list[float], epochs: int) -> bool:
    """Whether the discriminator has told 99 % of both kinds for too long: the generator then
    learns nothing any more.

    on_real, on_made: its accuracies by epoch. epochs: of the whole training.
    """
    last = patience(epochs)
    both = np.minimum(on_real[-last:], on_made[-last:])
    return len(both) == last and bool((both > PINNED).all())


def uniform(relative_spread: float, epoch: int, epochs: int) -> bool:
    """Whether made images are all but one image, where that is no longer the beginning.

    relative_spread: their `spread` as a share of the real images'.
    """
    return epoch > BEFORE * epochs and relative_spread < LEAST_SPREAD
