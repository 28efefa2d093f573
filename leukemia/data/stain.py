"""Stain normalisation: an image's colours as if it had been stained and lit like a reference.

Only stained pixels count, those that are neither black (cut out) nor bright (empty), and black ones
stay black, so that cells on a black ground, as in C-NMC, are normalised like others. Libraries for
histology count the black ground as the deepest stain.

Source: Macenko et al., ISBI 2009 (two stains, as directions of optical density); Reinhard et al.,
IEEE Computer Graphics and Applications 21, 2001 (mean and deviation in l-alpha-beta, a colour space
of Ruderman et al., 1998). The reference of the stains is the one that goes with Macenko's method in
histology, that of the moments the median over 1,409 windows of the BCCD blood smears.
"""

import numpy as np
from numpy.typing import NDArray

from leukemia.images import Pixels

BLACK = 15  # grey level: what has no more in any colour is cut out
LIGHT = 240.0  # grey level of light that passes no stain
EMPTY = 0.25  # optical density: what has less in every colour is empty
FEWEST = 50  # stained pixels that statistics can be made of
ENDS = (1.0, 99.0)  # percentiles of the angle between the stains, and of their amount

# Of a reference: two stains as columns (red, green, blue optical density), their 99th percentiles;
# mean and standard deviation in l-alpha-beta.
REFERENCE_STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
REFERENCE_AMOUNTS = np.array([1.9705, 1.0308])
REFERENCE_MEAN = np.array([8.8875, -0.0037, 0.0134])
REFERENCE_DEVIATION = np.array([0.1344, 0.0492, 0.0068])

_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_TO_LAB = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)]) @ np.array(
    [[1, 1, 1], [1, 1, -2], [1, -1, 0]]
)
_FROM_LMS, _FROM_LAB = np.linalg.inv(_TO_LMS), np.linalg.inv(_TO_LAB)

Rows = NDArray[np.float64]  # (n, 3)


def normalised(image: Pixels, method: str) -> Pixels:
    """(H, W, 3) uint8 in the colours of the reference; an image with hardly a stained pixel, or of
    one single colour, is returned as it is.

    method: one of options.STAINS.
    """
    there = image.max(-1) > BLACK
    pixels = image[there].astype(float)
    stained = pixels.min(-1) < LIGHT * np.exp(-EMPTY)
    if method == "none" or stained.sum() < FEWEST:
        return image
    by = _by_stains if method == "macenko" else _by_moments
    changed = by(pixels, pixels[stained])
    if changed is None:
        return image
    result = image.copy()
    result[there] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return result


def stains_of(pixels: Rows) -> tuple[Rows, NDArray[np.float64]] | None:
    """The two stains (3, 2) and the 99th percentiles of their amounts (2,) in stained pixels; None
    of pixels of one colour."""
    density = _density(pixels)
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, [2, 1]]
    plane = plane * np.where(plane.sum(0) < 0, -1, 1)
    along = density @ plane
    angles = np.arctan2(along[:, 1], along[:, 0])
    low, high = np.percentile(angles, ENDS)
    if high - low < 1e-3:
        return None
    ends = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
    # The stain that takes more red light, the blue one of the nucleus, is the first.
    stains = ends[:, ::-1] if ends[0, 0] < ends[0, 1] else ends
    return stains, np.percentile(_amounts(stains, pixels), ENDS[1], axis=1)


def moments_of(pixels: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (3,) of pixels in l-alpha-beta."""
    of_pixels = _lab(pixels)
    return of_pixels.mean(0), of_pixels.std(0)


def _by_stains(pixels: Rows, stained: Rows) -> Rows | None:
    found = stains_of(stained)
    if found is None:
        return None
    stains, most = found
    if most.min() <= 1e-6:
        return None
    amounts = _amounts(stains, pixels) * (REFERENCE_AMOUNTS / most)[:, None]
    changed: Rows = LIGHT * np.exp(-(REFERENCE_STAINS @ amounts)).T - 1
    return changed


def _by_moments(pixels: Rows, stained: Rows) -> Rows | None:
    mean, deviation = moments_of(stained)
    if deviation.min() <= 1e-6:
        return None
    matched = (_lab(pixels) - mean) / deviation * REFERENCE_DEVIATION + REFERENCE_MEAN
    changed: Rows = np.exp(matched @ _FROM_LAB.T) @ _FROM_LMS.T - 1
    return changed


def _amounts(stains: Rows, pixels: Rows) -> Rows:
    """(2, n): how much of each stain is in every pixel."""
    amounts, *_ = np.linalg.lstsq(stains, _density(pixels).T, rcond=None)
    return np.asarray(amounts, float)


def _density(pixels: Rows) -> Rows:
    """Optical density: how much light each colour has lost."""
    density: Rows = -np.log((pixels + 1) / LIGHT)
    return density


def _lab(pixels: Rows) -> Rows:
    lab: Rows = np.log((pixels + 1) @ _TO_LMS.T) @ _TO_LAB.T
    return lab
