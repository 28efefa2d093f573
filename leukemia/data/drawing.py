"""How one white blood cell is drawn: its outline, chromatin, nucleoli, stain and light.

Modelled on the 37 genuine cells of C-NMC 2019 that it was held against: dark purple nuclei on
black, a bluish membrane, a thin rim of cytoplasm. The classes differ only in `draw_traits`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

GENERATOR_VERSION = 1  # raise it whenever the same seed would draw other bytes
CANVAS = 450  # px, side of a C-NMC 2019 image
WINDOW = 320  # px, the central part that a cell may cover; the rest stays black


@dataclass(frozen=True, kw_only=True)
class Style:
    """What all cells of one subject share: the nuisance that a classifier must not learn.

    stain: (3,) colour of the nucleus, 0 to 255.
    rim: (3,) colour of the cytoplasm, 0 to 255.
    light: (2,) relative change of brightness from the centre to the edge of the window.
    size: factor on the radius.
    contrast: factor on the chromatin.
    grain: factor on the smallest granules: a sharper lens shows more of them.
    softness: px, how wide the nucleus blurs into the cytoplasm.
    blueness: how dark and blue the nucleus turns towards its membrane.
    noise: standard deviation of the camera noise, in grey levels.
    """

    stain: np.ndarray
    rim: np.ndarray
    light: np.ndarray
    size: float
    contrast: float
    grain: float
    softness: float
    blueness: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What tells one cell from the next, drawn round its class and its subject.

    radius: px.
    roughness: relative size of the waves of the contour.
    indentation: relative depth of the notch in the nucleus, 0 for none.
    clumping: 0 for fine open chromatin, 1 for coarse clumps.
    nucleoli: how many of them show.
    rim: px, mean width of the cytoplasm.
    """

    radius: float
    roughness: float
    indentation: float
    clumping: float
    nucleoli: int
    rim: float


def draw_style(rng: np.random.Generator) -> Style:
    """The style of a subject. It does not depend on the label; each subject has but one."""
    tint = np.exp(rng.normal(0, 0.065) + rng.normal(0, [0.04, 0.055, 0.03]))
    direction = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0, 0.16) * np.array([np.cos(direction), np.sin(direction)])
    return Style(
        stain=(np.array([61, 23, 74]) * tint).astype(np.float32),
        rim=(np.array([104, 73, 108]) * tint * _spread(rng, 0.1)).astype(np.float32),
        light=light.astype(np.float32),
        size=_spread(rng, 0.055),
        contrast=_spread(rng, 0.16),
        grain=_spread(rng, 0.35),
        softness=rng.uniform(1.5, 4),
        blueness=rng.uniform(0.2, 1.4),
        noise=rng.uniform(0.5, 1.1),
    )


def _spread(rng: np.random.Generator, deviation: float) -> float:
    """A random factor round 1; `deviation` is that of its logarithm."""
    return float(np.exp(rng.normal(0, deviation)))


def draw_traits(rng: np.random.Generator, positive: bool, style: Style) -> Traits:
    """The traits of one cell: the only place where the two classes differ."""
    radius = (111 if positive else 92) * style.size * _spread(rng, 0.09)
    indented = rng.random() < (0.45 if positive else 0.15)
    clumping = rng.normal(0.28 if positive else 0.72, 0.2)
    return Traits(
        radius=float(np.clip(radius, 60, 134)),
        roughness=(0.05 if positive else 0.036) * _spread(rng, 0.3),
        indentation=indented * rng.uniform(0.08, 0.28),
        clumping=float(np.clip(clumping, 0, 1)),
        nucleoli=int(1 + rng.binomial(3, 0.4) if positive else rng.binomial(2, 0.35)),
        rim=rng.gamma(4, 0.7 if positive else 1.1),
    )


def draw_cell(
    rng: np.random.Generator, positive: bool, subject_style: Style, size: int = CANVAS
) -> np.ndarray:
    """One segmented cell in the centre of a black image, (size, size, 3) uint8, RGB.

    A smaller `size` gives the central part of the same cell, in less time.
    """
    traits = draw_traits(rng, positive, subject_style)
    nucleus, cell = _contours(rng, traits)
    side = min(size, 2 * int(cell.max()) + 8)
    nucleus, cell = _depths(rng, nucleus, cell, side)
    chromatin = _chromatin(rng, traits, subject_style, nucleus)
    colours = _coloured(rng, subject_style, nucleus, chromatin)
    colours[cell <= 0] = 0
    image = np.zeros((size, size, 3), np.uint8)
    start = (size - side) // 2
    image[start : start + side, start : start + side] = colours
    return image


def _contours(rng: np.random.Generator, traits: Traits) -> tuple[np.ndarray, np.ndarray]:
    """Radius of the nucleus and of the whole cell at each angle, (TURNS,) float32, px."""
    nucleus = _nucleus_contour(rng, traits)
    cell = _cell_contour(rng, traits, nucleus)
    return nucleus.astype(np.float32), np.minimum(cell, WINDOW / 2 - 4).astype(np.float32)


def _depths(
    rng: np.random.Generator, nucleus: np.ndarray, cell: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """How deep each pixel lies in the nucleus and in the cell: (side, side) float32, px."""
    start = (WINDOW - side) // 2
    centre = slice(start, start + side)
    distance, turn = (whole[centre, centre] for whole in _polar())
    # The segmentation that cut the genuine cells out leaves a slightly ragged edge.
    ragged = 0.6 * _texture(rng, 3.0, side) - distance
    return nucleus[turn] + ragged, cell[turn] + ragged


def _nucleus_contour(rng: np.random.Generator, traits: Traits) -> np.ndarray:
    """(TURNS,) float64, px: a wavy circle, with a notch where the nucleus is indented."""
    waves = np.arange(2, 14)
    strength = traits.roughness * rng.normal(0, 1, len(waves)) * (2 / waves) ** 1.5
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    contour = 1 + strength @ np.cos(waves[:, None] * ANGLES + phases[:, None])
    contour -= traits.indentation * _bump(rng, rng.uniform(0.2, 0.5))
    return traits.radius * contour


def _cell_contour(rng: np.random.Generator, traits: Traits, nucleus: np.ndarray) -> np.ndarray:
    """(TURNS,) float64, px: the nucleus and its rim, and what cutting out did to them."""
    cell = nucleus + traits.rim * (1 + 0.5 * np.cos(ANGLES + rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.3:  # cytoplasm, or a neighbour's, that shows on one side
        cell += rng.uniform(6, 32) * _bump(rng, rng.uniform(0.12, 0.5))
    for _ in range(rng.integers(0, 4)):  # spurs and bites
        cell += rng.uniform(-7, 7) * _bump(rng, rng.uniform(0.02, 0.08))
    if rng.random() < 0.3:  # a straight cut where two touching cells were parted
        towards = np.cos(ANGLES - rng.uniform(0, 2 * np.pi))
        cut = traits.radius * rng.uniform(0.84, 0.98)
        cell = np.minimum(cell, cut / np.maximum(towards, 0.05))
    return cell


def _chromatin(
    rng: np.random.Generator, traits: Traits, style: Style, nucleus: np.ndarray
) -> np.ndarray:
    """Brightness of the nucleus round its stain, (side, side) float32: bright granules on dark."""
    side = len(nucleus)
    coarse = traits.clumping
    granules = style.grain * _texture(rng, 3.0, side, skew=0.6)
    clumps = (0.1 + 1.2 * coarse) * _texture(rng, 5.5, side, skew=0.5)
    folds = (0.8 - 0.8 * coarse) * np.abs(_texture(rng, 8.0, side))
    clouds = _texture(rng, 20.0, side)
    field: np.ndarray = style.contrast * (0.35 * granules + clumps - folds + 0.5 * clouds - coarse)
    for _ in range(traits.nucleoli):
        _stamp_nucleolus(rng, field, traits.radius)
    return field


def _stamp_nucleolus(rng: np.random.Generator, field: np.ndarray, radius: float) -> None:
    """Add a pale smooth disc with a dark ring to `field`, in place."""
    distance, angle = radius * 0.62 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    size, paleness, squeeze = rng.uniform([9, 0.8, 0.65], [17, 2.0, 1.5]).tolist()
    axis = np.arange(len(field), dtype=np.float32) - (len(field) - 1) / 2
    x, y = axis - distance * np.cos(angle), axis - distance * np.sin(angle)
    near_x, near_y = np.flatnonzero(abs(x) < 40), np.flatnonzero(abs(y) < 40)
    if not len(near_x) or not len(near_y):
        return
    part = field[near_y[0] : near_y[-1] + 1, near_x[0] : near_x[-1] + 1]
    q = (squeeze * x[near_x] ** 2 + y[near_y][:, None] ** 2 / squeeze) / size**2
    q += 0.25 * part  # the chromatin round it bends its outline
    disc = 1 / (1 + np.maximum(q, 0) ** 2)
    part *= 1 - 0.5 * disc
    part += paleness * (disc - 0.5 * np.exp(-((q - 1.9) ** 2)))


def _coloured(
    rng: np.random.Generator, style: Style, nucleus: np.ndarray, chromatin: np.ndarray
) -> np.ndarray:
    """The stained cell under its light, with noise: (side, side, 3) uint8, without its mask."""
    side = len(nucleus)
    uneven = np.maximum(0.8 + 0.6 * _texture(rng, 20.0, side), 0)
    membrane = style.blueness * uneven * np.exp(-(((nucleus - 8) / 11) ** 2))
    inside = 1 / (1 + np.exp(-np.clip(nucleus / style.softness, -30, 30)))
    light = _light(rng, style, side)
    noise = style.noise * _texture(rng, 0.8, side)
    colours = np.empty((side, side, 3), np.uint8)
    for channel, (gain, blue) in enumerate(zip(CHROMATIN, MEMBRANE, strict=True)):
        stain = style.stain[channel] + gain * chromatin - blue * membrane
        rim = style.rim[channel]
        value = (rim + inside * (stain - rim)) * light + noise
        colours[..., channel] = np.clip(value + 0.5, 1, 255)
    return colours


def _light(rng: np.random.Generator, style: Style, side: int) -> np.ndarray:
    """Brightness of the field of view, (side, side) float32 round 1."""
    across, down = style.light + rng.normal(0, 0.03, 2).astype(np.float32)
    axis = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (WINDOW / 2)
    light: np.ndarray = _spread(rng, 0.03) * (1 + across * axis + down * axis[:, None])
    return light


CHROMATIN = np.array([8.5, 4.0, 3.2], np.float32)  # grey levels a unit of chromatin
MEMBRANE = np.array([11.0, 3.0, 2.0], np.float32)  # grey levels that the membrane takes away


# Shapes and textures that every cell shares

TURNS = 1440
ANGLES = np.linspace(0, 2 * np.pi, TURNS, endpoint=False)
BANK = 1024  # px, side of the noise that cells cut their texture from


def _bump(rng: np.random.Generator, width: float) -> np.ndarray:
    """A bell of height 1 and `width` radians at a random angle, (TURNS,) float64."""
    away = (ANGLES - rng.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi
    return np.exp(-((away / width) ** 2))


@cache
def _polar() -> tuple[np.ndarray, np.ndarray]:
    """Distance from the centre (px, float32) and angle (in turns, int), each (WINDOW, WINDOW)."""
    axis = np.arange(WINDOW, dtype=np.float32) - (WINDOW - 1) / 2
    angle = np.arctan2(axis[:, None], axis)
    turn = np.floor(angle / (2 * np.pi) * TURNS).astype(np.intp) % TURNS
    return np.hypot(axis[:, None], axis), turn


def _texture(rng: np.random.Generator, scale: float, side: int, skew: float = 0) -> np.ndarray:
    """Smooth noise, blurred by `scale` px, (side, side) float32.

    It has mean 0 and variance 1 or, if there is a `skew`, is exp(skew * such noise): spots.
    A piece of a bank that is filtered once: filtering anew would take most of the time.
    """
    row, column = rng.integers(WINDOW // 2, BANK - WINDOW // 2, 2) - side // 2
    piece = _bank(scale, skew)[row : row + side, column : column + side]
    upwards, leftwards = rng.choice([-1, 1], 2)
    return piece[::upwards, ::leftwards]


@cache
def _bank(scale: float, skew: float) -> np.ndarray:
    """The (BANK, BANK) float32 noise that `_texture` cuts its pieces from."""
    rng = np.random.default_rng([GENERATOR_VERSION, round(scale * 10)])
    frequency = np.fft.fftfreq(BANK)
    decay = np.exp(-2 * (np.pi * scale * frequency) ** 2)
    white = np.fft.rfft2(rng.standard_normal((BANK, BANK)))
    noise: np.ndarray = np.fft.irfft2(white * decay[:, None] * decay[: BANK // 2 + 1], (BANK, BANK))
    noise = (noise - noise.mean()) / noise.std()
    return (np.exp(skew * noise) if skew else noise).astype(np.float32)
