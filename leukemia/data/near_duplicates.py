"""Near-duplicates: pictures of one cell, copied, compressed, turned, mirrored, photographed again.

Fine structure decides, not shape: cells are blobs on one ground, and the outlines of different
cells agree well. So each picture is freed of its broad shades by a high pass, which also makes
brightness and stain matter little, and then two pictures are correlated. A coarse look at all
pairs, under the eight symmetries of the square, leaves few for a close one.

Not detected: a cell turned by other angles, zoomed, or moved by more than REACH of its side, and
one that was compressed hard after it had been made small (JPEG of a 32 px picture).
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from leukemia.cells import Names
from leukemia.data.files import write_atomically
from leukemia.images import Images

VERSION = 3  # raise it when the same images would give other pairs
Progress = Callable[[int, int], None]

THUMB = 32  # pixels a side of the coarse look
CLOSE = 256  # pixels a side, at most, of the close one: 1 ms a pair at 210 px
REACH = 0.03  # of the side, how far two pictures of a cell may be shifted: 6 of 210 px
STRUCTURE = 1 / 16  # of the side, standard deviation of what the high pass takes away
FADING = 0.1  # of the side, the rim of the circle in which structure counts less and less
FAINT = 0.4  # grey levels of structure, root mean square: with less a picture is blank
BLOCK = 512  # cells compared with all others at once: 26 MB at 12,528 cells

# Correlations in the coarse look, at half of THUMB and at THUMB: a cell photographed again and
# 6 of 210 px away falls to 0.64 in the first, a copy shifted by 2 px to 0.80 in the second.
COARSE, THUMBS = 0.6, 0.78
# Correlation of two pictures of one cell in the close look. Measured at 210 px: copies turned,
# mirrored, brighter, shifted by up to 2 px or of JPEG quality 75 reach 0.88 to 1.00; the
# nearest of 12,528 different drawn cells 0.82, of 1,409 of BCCD 0.78, of 37 of C-NMC 0.50.
# Thirteen BCCD cells occur twice, in other light and focus: 11 reach 0.85 and more, of
# which the coarse look lets 10 through. In small pictures different cells come nearer: 12,528
# drawn ones 0.90 at 64 px and 0.93 at 32 px.
ALIKE, ALIKE_SMALL, SMALL = 0.85, 0.95, 160


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two rows that show one cell.

    first, second: row numbers, first < second.
    turn: what makes the second look like the first: `as is`, `turned 90` (degrees, counter-
        clockwise), `mirrored` (left to right), `mirrored, turned 90` (in this order), ...
    difference: mean absolute difference in grey levels (of 255) after that turn and shift.
    """

    first: int
    second: int
    turn: str
    difference: float


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One of the eight symmetries of the square: mirrored or not, then quarter turns."""

    mirrored: bool
    quarters: int

    def __str__(self) -> str:
        words = ["mirrored"] if self.mirrored else []
        words += [f"turned {90 * self.quarters}"] if self.quarters else []
        return ", ".join(words) or "as is"

    def of(self, pictures: np.ndarray) -> np.ndarray:
        """(..., S, S) turned, without a copy."""
        pictures = pictures[..., ::-1] if self.mirrored else pictures
        return np.rot90(pictures, self.quarters, (-2, -1))


TURNS = tuple(
    Turn(mirrored=mirrored, quarters=quarters)
    for mirrored in (False, True)
    for quarters in range(4)
)


# Pairs


def alike(images: Images, progress: Progress = lambda done, total: None) -> tuple[Pair, ...]:
    """Every pair of near-identical cells, once, under the turn that fits best.

    Args:
        images: (n, S, S, 3) uint8, S 32 or more; a memory map is read once, then cell by cell.

    12,528 cells of 210 px take 40 s on one core and half a gigabyte.
    """
    close = _Close(images)
    best: dict[tuple[int, int], tuple[float, Turn]] = {}
    for first, second, turn in _candidates(_thumbs(images), progress):
        correlation = close.correlation(first, second, turn)
        if correlation > max(close.alike, best.get((first, second), (0.0,))[0]):
            best[first, second] = correlation, turn
    return tuple(
        Pair(
            first=first,
            second=second,
            turn=str(turn),
            difference=close.difference(first, second, turn),
        )
        for (first, second), (_, turn) in sorted(best.items(), key=lambda item: item[0])
    )


def remembered(
    images: Images, key: str, cache: Path, progress: Progress = lambda done, total: None
) -> tuple[Pair, ...]:
    """`alike`, computed once: kept as JSON in `cache`/near_duplicates.

    key: a digest of the images in this order, fit for a file's name.
    """
    memory = cache / "near_duplicates" / f"{key}-{VERSION}.json"
    with suppress(FileNotFoundError, ValueError, TypeError):  # not there, or damaged
        return tuple(Pair(**row) for row in json.loads(memory.read_text()))
    pairs = alike(images, progress)
    write_atomically(memory, json.dumps([asdict(pair) for pair in pairs]).encode())
    return pairs


# Subjects


def joined_subjects(subjects: Names, digests: Names, pairs: tuple[Pair, ...]) -> Names:
    """(n,) str: subjects that share a file or a near-identical cell under one name, as `20+21`.

    subjects, digests: (n,) str, the subject of each cell and the SHA-256 of its file. A subject
    "" is unknown and is never joined.
    """
    names, number = np.unique(subjects, return_inverse=True)
    file = len(names) + np.unique(digests, return_inverse=True)[1]
    linked = np.array([(pair.first, pair.second) for pair in pairs], int).reshape(-1, 2)
    known = names[number] != ""
    edges = np.concatenate(
        [
            np.stack([number[known], file[known]], axis=1),
            number[linked[known[linked].all(axis=1)]],
        ]
    )
    nodes = len(names) + len(digests)
    graph = coo_array((np.ones(len(edges)), edges.T), (nodes, nodes))
    _, component = connected_components(graph, directed=False)
    members: dict[int, list[str]] = {}
    for group, name in zip(component[: len(names)], names, strict=True):
        members.setdefault(group, []).append(str(name))
    joined = {group: "+".join(sorted(those, key=in_order)) for group, those in members.items()}
    return np.array([joined[group] for group in component[number]], str)


def in_order(name: str) -> list[tuple[int, str]]:
    """A key for sorting names with their numbers as numbers: H2 before H10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


# The coarse look


def _thumbs(images: Images) -> np.ndarray:
    """(n, THUMB, THUMB) float32: the structure of each picture, 0 all over in a blank one."""
    thumbs = np.empty((len(images), THUMB, THUMB), np.float32)
    for row, image in enumerate(images):
        thumb = _structure(_grey(image, THUMB))
        thumbs[row] = thumb if thumb.std() > FAINT else 0
    return thumbs


def _candidates(thumbs: np.ndarray, progress: Progress) -> Iterator[tuple[int, int, Turn]]:
    """Rows (first, second) and the turn of the second under which their thumbs agree."""
    halves = thumbs.reshape(len(thumbs), THUMB // 2, 2, THUMB // 2, 2).mean(axis=(2, 4))
    coarse, fine = _unit(halves), _unit(thumbs)
    spectra = rfft2(fine)
    starts = range(0, len(thumbs), BLOCK)
    for number, turn in enumerate(TURNS):
        turned, turned_spectra = _flat(turn.of(coarse)), rfft2(turn.of(fine)).conj()
        for place, start in enumerate(starts, 1):
            near = _flat(coarse[start : start + BLOCK]) @ turned[start:].T > COARSE
            rows = np.argwhere(np.triu(near, 1)) + start
            for some in np.split(rows, range(BLOCK, len(rows), BLOCK)):
                kept = _fit(spectra[some[:, 0]] * turned_spectra[some[:, 1]]) > THUMBS
                yield from ((int(first), int(second), turn) for first, second in some[kept])
            progress(number * len(starts) + place, len(TURNS) * len(starts))


def _fit(products: np.ndarray) -> np.ndarray:
    """(m,) the best correlation within one pixel's shift, from m products of spectra."""
    correlation = irfft2(products, (THUMB, THUMB))
    near = correlation[:, [-1, -1, -1, 0, 0, 0, 1, 1, 1], [-1, 0, 1] * 3]
    best: np.ndarray = near.max(axis=1)
    return best


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Each picture with mean 0 and length 1; blank ones stay 0 all over."""
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    lengths = np.linalg.norm(pictures, axis=(1, 2), keepdims=True)
    return pictures / np.where(lengths > 0, lengths, 1)


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1)


def _grey(image: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32 grey levels of (S, S, 3) uint8, each the mean of what it covers."""
    grey = Image.fromarray(np.asarray(image)).convert("L").convert("F")
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX))


def _structure(grey: np.ndarray) -> np.ndarray:
    """Grey levels (S, S) without their broad shades, fading out towards the inscribed circle.

    Corners that a turn left black, a scale bar or a vignette would make all cells alike.
    """
    shades: np.ndarray = gaussian_filter(grey, STRUCTURE * len(grey))
    structure: np.ndarray = (grey - shades) * _window(len(grey))
    return structure


@lru_cache(4)
def _window(side: int) -> np.ndarray:
    across = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    radius = np.hypot(across[:, None], across)
    return np.clip((0.5 - radius) / FADING, 0, 1)


# The close look


class _Close:
    """Compares two cells at up to CLOSE pixels a side.

    alike: the correlation above which they are one.
    """

    def __init__(self, images: Images):
        self._images, size = images, images.shape[1]
        self.alike = ALIKE if size >= SMALL else ALIKE_SMALL
        self._side = size // -(-size // CLOSE)  # whole pixels are pooled where they can be
        self._reach = np.arange(-round(REACH * self._side), round(REACH * self._side) + 1)
        self._fast = next_fast_len(self._side + len(self._reach) // 2, real=True)
        self._look = lru_cache(1024)(self._look_at)  # 180 MB at 210 px

    def _look_at(self, row: int) -> np.ndarray:
        return _structure(_grey(self._images[row], self._side))

    def correlation(self, first: int, second: int, turn: Turn) -> float:
        """The correlation of their structures where they overlap, at the best shift."""
        one, other = self._look(first), turn.of(self._look(second))
        one, other = _overlap(one, other, *self._shift(one, other))
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

    def difference(self, first: int, second: int, turn: Turn) -> float:
        """Mean absolute difference of their grey levels where they overlap, at full size."""
        size = self._images.shape[1]
        one, other = _grey(self._images[first], size), turn.of(_grey(self._images[second], size))
        shift = self._shift(self._look(first), turn.of(self._look(second)))
        one, other = _overlap(one, other, *(round(each * size / self._side) for each in shift))
        return round(float(np.abs(one - other).mean()), 3)

    def _shift(self, one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
        """How far down and to the right the other has to go."""
        shape = (self._fast, self._fast)
        correlation = irfft2(rfft2(one, shape) * rfft2(other, shape).conj(), shape)
        near = correlation[np.ix_(self._reach, self._reach)]
        down, right = np.unravel_index(near.argmax(), near.shape)
        return int(self._reach[down]), int(self._reach[right])


def _overlap(
    one: np.ndarray, other: np.ndarray, down: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    side = len(one)
    rows, columns = (
        slice(max(down, 0), side + min(down, 0)),
        slice(max(right, 0), side + min(right, 0)),
    )
    back = slice(max(-down, 0), side + min(-down, 0)), slice(max(-right, 0), side + min(-right, 0))
    return one[rows, columns], other[back]
