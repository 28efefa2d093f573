"""Fixed features: what a cell looks like in 51 numbers that no training has chosen.

Where no pretrained network is at hand, distances of cells are measured in these and never in a
network that has learned nothing: such a network's features change with its seed, and what they
answer to is anybody's guess. These have a known meaning, the shades and the grain of a cell, and
are the same on every machine. They see no shape beyond that: two nuclei of other outlines but equal
shades and grain are alike to them.
"""

import itertools
from functools import cache

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from leukemia.images import Images

NAME = "fixed features"
SIDE = 64  # px at which cells are looked at
ZONES = (0.25, 0.5, 0.75)  # of the half side: outer radius of the disc and of two rings round it
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles of each channel
GRAINS = (1, 2, 4, 8, 16)  # px, widths of the blurs between which structure is taken
MIDDLE, STEP = 128.0, 64.0  # grey levels: what is 0 and what is 1
LEAST = 0.25  # grey levels of structure: less is called none


def fixed_features(images: Images) -> np.ndarray:
    """(n, 51) float32 of images (n, S, S, 3) uint8: means and deviations of each channel in the
    middle, two rings and the rim; quantiles of each channel; the logarithm of the structure's power
    by its width, and the share of it in the inner half. 1,000 cells take 2 s."""
    return np.array([_of(each) for each in images], np.float32).reshape(len(images), -1)


def _of(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)
    levels = (np.asarray(small, np.float32) - MIDDLE) / STEP
    zones = [levels[each] for each in _zones()]
    shades = [[zone.mean(0), zone.std(0)] for zone in zones]
    shares = np.quantile(levels.reshape(-1, 3), SHARES, axis=0)
    return np.concatenate([np.ravel(shades), shares.ravel(), _grain(levels.mean(2) * STEP)])


def _grain(grey: np.ndarray) -> np.ndarray:
    """Structure of grey levels (S, S) between each two widths: how strong, and how central."""
    blurred = [grey, *(gaussian_filter(grey, width) for width in GRAINS)]
    middle = np.logical_or(*_zones()[:2])
    told = []
    for finer, coarser in itertools.pairwise(blurred):
        power = (finer - coarser) ** 2
        told.append(np.log2(np.sqrt(power.mean()) + LEAST) / 2)
        told.append(power[middle].sum() / (power.sum() + LEAST))
    return np.array([*told, grey.std() / STEP, np.abs(grey - grey[:, ::-1]).mean() / STEP])


@cache
def _zones() -> list[np.ndarray]:
    """(S, S) bool each: a disc, two rings and what lies outside them."""
    across = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    radius = np.hypot(across[:, None], across)
    edges = (0.0, *ZONES, np.inf)
    return [(radius >= a) & (radius < b) for a, b in itertools.pairwise(edges)]
