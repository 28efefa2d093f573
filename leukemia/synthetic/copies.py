"""Are synthetic cells copies of the cells that they were made or learned from?

A copy shows the structure of another cell: turned, mirrored, moved by up to a ninth of the side,
lighter or darker, a little blurred or noisy, it correlates with it. Structure is what is left
without broad shades and single pixels, so that light and stain do not count and the outlines of two
round cells do not make them alike. A coarse look at all pairs leaves few for a close one.

How alike two cells of different people can be depends on the data, so that the limit is measured on
them: training cells of other subjects are searched in the same way. Sources: Meehan et al. 2020
(arXiv 2004.05675; a copy is nearer than genuine cells are to each other); rates of what is seen and
of false alarms: `python -m benchmarks.copies`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from PIL import Image
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest

from leukemia.data.near_duplicates import TURNS
from leukemia.images import Images

THUMB, WINDOW = 32, 24  # px of the coarse look, of what is compared in it: the rest is for moving
BROAD = 1 / 8  # of the side, standard deviation of what the coarse look takes away
CLOSE = 96  # px of the close look, at most
STRUCTURE, GRAIN = 1 / 24, 1 / 64  # of the side, between which structure is seen closely
REACH = 0.115  # of the side, how far two pictures of a cell may be moved
LOOKED_AT = 4  # candidates that are looked at closely: 1 ms each
LEAST = 0.9  # correlation of a copy, wherever genuine cells are less alike than that
ALARMS = 0.01  # share of genuine cells of others that may be called copies
SEARCHED = 500  # genuine cells whose likes are searched for the limit and for the alarms
PAIRS_AT_ONCE = 2**24  # correlations held in memory: 64 MB


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The images that may be the same as some, most alike first.

    row, turn: (m, k) int, which image, after which of TURNS. correlation: (m, k), the coarse one.
    """

    row: np.ndarray
    turn: np.ndarray
    correlation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """For each of some images the one that is most alike, closely looked at.

    row, turn: (m,) int, which image, after which of TURNS. correlation: (m,) in [-1, 1].
    """

    row: np.ndarray
    turn: np.ndarray
    correlation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Copies among synthetic cells.

    copies: (m,) bool. made: what each is most alike. genuine: of training cells, the correlation
    with the cell of another subject that is most alike; empty where there is one subject. limit:
    the correlation from which a cell is a copy. rate, low, high: share of copies with its exact
    95 % interval. alarms: (called copies, searched) of unseen genuine cells, None without any.
    """

    copies: np.ndarray
    made: Likeness
    genuine: np.ndarray
    limit: float
    rate: float
    low: float
    high: float
    alarms: tuple[int, int] | None

    def refusal(self, most: float | None) -> str:
        """Why so many copies are refused, "" where `most` or any are allowed."""
        return "" if most is None or self.low <= most else self.text

    @property
    def text(self) -> str:
        """The finding in a sentence or two."""
        alarms = ""
        if self.alarms:
            called, searched = self.alarms
            alarms = f"; so does {called} of {searched} genuine cells of unseen subjects"
        return (
            f"{int(self.copies.sum())} of {len(self.copies)} synthetic cells ({self.rate:.1%}, "
            f"95 % interval {self.low:.1%} to {self.high:.1%}) are copies: the structure of each, "
            f"turned and moved as fits best, correlates by {self.limit:.2f} or more with that of a "
            f"training cell{alarms}."
        )


def examine(
    made: Images, training: Images, training_of: np.ndarray, unseen: Images | None
) -> Copies:
    """Look for copies of training cells (n, S, S, 3) uint8 among synthetic ones (m, S, S, 3).

    training_of: (n,) str, the subjects of the training cells. unseen: genuine cells of others, on
    which false alarms are counted. 2,000 cells against 2,000 take a minute on one core.
    """
    trained = Looks(training)
    genuine = _of_others(trained, training_of)
    limit = limit_of(genuine)
    of_made = likeness(Looks(made), trained)
    copies = of_made.correlation >= limit
    share = binomtest(int(copies.sum()), len(copies))
    exact = share.proportion_ci(0.95, "exact")
    alarms = None
    if unseen is not None:
        searched = likeness(Looks(unseen[_spread(len(unseen))]), trained).correlation
        alarms = int((searched >= limit).sum()), len(searched)
    return Copies(
        copies=copies, made=of_made, genuine=genuine, limit=limit,
        rate=share.statistic, low=exact.low, high=exact.high, alarms=alarms,
    )  # fmt: skip


def limit_of(genuine: np.ndarray) -> float:
    """The correlation that at most ALARMS of genuine cells reach with a cell of another person.

    With 95 % confidence, from (n,) such correlations: the order statistic that lies above that
    quantile. Fewer than 299 cells have none; then it is the largest, and LEAST holds in any case.
    """
    ordered = np.sort(genuine)[::-1]
    above = 0
    while above < len(ordered) and _surely_above(above + 1, len(ordered)):
        above += 1
    bound = ordered[max(above - 1, 0)] if len(ordered) else 0.0
    return float(max(LEAST, np.nextafter(bound, 2)))


def metrics(copies: Copies) -> dict[str, float]:
    """The figures by metric name."""
    told = {
        "synth_copies": float(copies.copies.sum()),
        "synth_copy_rate": copies.rate,
        "synth_copy_rate_lo": copies.low,
        "synth_copy_rate_hi": copies.high,
        "synth_copy_limit": copies.limit,
    }
    if copies.alarms:
        told["floor_copy_rate"] = copies.alarms[0] / copies.alarms[1]
    return told


def likeness(
    looks: "Looks", among: "Looks", apart: tuple[np.ndarray, np.ndarray] | None = None
) -> Likeness:
    """What each image is most alike. apart: the subjects of both; one's own are left out."""
    some = _candidates(looks.thumbs, among.thumbs, apart, LOOKED_AT)
    closely = np.array(
        [
            [looks.correlation(n, among, int(r), int(t)) for r, t in zip(*each, strict=True)]
            for n, each in enumerate(zip(some.row, some.turn, strict=True))
        ]
    ).reshape(some.row.shape)
    closely = np.where(np.isfinite(some.correlation), closely, -1.0)  # none but one's own
    best = closely.argmax(1)[:, None]
    return Likeness(
        row=np.take_along_axis(some.row, best, 1)[:, 0],
        turn=np.take_along_axis(some.turn, best, 1)[:, 0],
        correlation=np.take_along_axis(closely, best, 1)[:, 0],
    )


def candidates(
    images: Images, among: Images, apart: tuple[np.ndarray, np.ndarray] | None, count: int
) -> Candidates:
    """The `count` images that are most alike in the coarse look; -inf where there are fewer."""
    return _candidates(Looks(images).thumbs, Looks(among).thumbs, apart, count)


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """An image (S, S, 3) after one of TURNS."""
    return np.moveaxis(TURNS[turn].of(np.moveaxis(image, -1, 0)), 0, -1)


def _of_others(trained: "Looks", subjects: np.ndarray) -> np.ndarray:
    """(c,) for some training cells the correlation with the most alike cell of another subject."""
    if len(set(subjects.tolist())) < 2:
        return np.zeros(0)
    rows = _spread(len(subjects))
    some = Looks(trained.images[rows])
    return likeness(some, trained, (subjects[rows], subjects)).correlation


def _spread(count: int) -> np.ndarray:
    """SEARCHED rows at even distances, all where there are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, SEARCHED)).round().astype(int))


def _surely_above(rank: int, count: int) -> bool:
    """Whether the value of this rank from the top is, with 95 % confidence, beyond what ALARMS of
    all genuine cells reach."""
    return bool(binomtest(rank - 1, count, ALARMS, "less").pvalue <= 0.05)


def _candidates(
    thumbs: np.ndarray, among: np.ndarray, apart: tuple[np.ndarray, np.ndarray] | None, count: int
) -> Candidates:
    """Blocks of thumbs against all others in every turn and at every place."""
    middle = _windows(thumbs, (THUMB - WINDOW) // 2, (THUMB - WINDOW) // 2)
    count, block = min(count, len(among)), max(1, PAIRS_AT_ONCE // len(among))
    parts = []
    for start in range(0, len(thumbs), block):
        some = slice(start, start + block)
        best = np.full((len(middle[some]), len(among)), -np.inf, np.float32)
        turns = np.zeros(best.shape, np.int8)
        for turn, windows in _moved(among):
            correlation = middle[some] @ windows.T
            turns[correlation > best] = turn
            np.maximum(best, correlation, out=best)
        if apart is not None:
            best[apart[0][some, None] == apart[1]] = -np.inf
        row = np.argsort(-best, axis=1, kind="stable")[:, :count]
        parts.append([row, *(np.take_along_axis(each, row, 1) for each in (turns, best))])
    rows, of_turn, correlations = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Candidates(row=rows, turn=of_turn, correlation=correlations)


def _moved(thumbs: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(turn, (n, w) float32 of unit length) for each turn and place of the window."""
    for number, turn in enumerate(TURNS):
        there = turn.of(thumbs)
        for down in range(THUMB - WINDOW + 1):
            for right in range(THUMB - WINDOW + 1):
                yield number, _windows(there, down, right)


def _windows(thumbs: np.ndarray, down: int, right: int) -> np.ndarray:
    """(n, w) float32: a window of each, with mean 0 and length 1; 0 all over in a blank one."""
    flat = thumbs[:, down : down + WINDOW, right : right + WINDOW].reshape(len(thumbs), -1)
    flat = flat - flat.mean(1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: np.ndarray = flat / np.where(lengths > 0, lengths, np.inf)
    return unit


class Looks:
    """Images as both looks see them, each worked out when it is first asked for."""

    def __init__(self, images: Images):
        self.images = images
        self._side = min(CLOSE, images.shape[1])
        self._reach = np.arange(-round(REACH * self._side), round(REACH * self._side) + 1)
        fast = next_fast_len(self._side + len(self._reach) // 2, real=True)
        self._shape = fast, fast
        self._look = lru_cache(4096)(self._look_at)  # 150 MB
        self._spectrum = lru_cache(1024)(
            lambda row, turn: rfft2(self._turned(row, turn), self._shape)
        )

    @cached_property
    def thumbs(self) -> np.ndarray:
        """(n, THUMB, THUMB) float32, without broad shades."""
        thumbs = np.empty((len(self.images), THUMB, THUMB), np.float32)
        for row, image in enumerate(self.images):
            grey = _grey(image, THUMB)
            thumbs[row] = grey - gaussian_filter(grey, BROAD * THUMB)
        return thumbs

    def correlation(self, row: int, others: "Looks", other: int, turn: int) -> float:
        """The correlation of an image's structure with another's after a turn, where they overlap,
        at the best place, also between two pixels."""
        products = self._spectrum(row, 0) * others._spectrum(other, turn).conj()
        near = irfft2(products, self._shape)[np.ix_(self._reach, self._reach)]
        place = np.unravel_index(near.argmax(), near.shape)
        down, right = (int(self._reach[each]) for each in place)
        one, two = self._look(row), others._turned(other, turn)
        here = _overlap(one, two, down, right)
        beside = [
            [_overlap(one, two, down + step * a, right + step * b) for step in (-1, 1)]
            for a, b in ((1, 0), (0, 1))
        ]
        return min(1.0, here + sum(_risen(here, before, after) for before, after in beside))

    def _turned(self, row: int, turn: int) -> np.ndarray:
        return TURNS[turn].of(self._look(row))

    def _look_at(self, row: int) -> np.ndarray:
        grey = _grey(self.images[row], self._side)
        fine, broad = (gaussian_filter(grey, width * self._side) for width in (GRAIN, STRUCTURE))
        structure: np.ndarray = fine - broad
        return structure


def _grey(image: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float32 grey levels of (S, S, 3) uint8."""
    grey = Image.fromarray(np.asarray(image)).convert("L").convert("F")
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX))


def _overlap(one: np.ndarray, two: np.ndarray, down: int, right: int) -> float:
    """The correlation where `two`, moved down and to the right, lies on `one`; 0 of blank ones."""
    side = len(one)
    (rows, columns), (back_rows, back_columns) = (
        [slice(max(each, 0), side + min(each, 0)) for each in move]
        for move in ((down, right), (-down, -right))
    )
    a, b = one[rows, columns].ravel(), two[back_rows, back_columns].ravel()
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 0 else 0.0


def _risen(here: float, before: float, after: float) -> float:
    """How much higher the parabola through three values is than the middle one, their highest."""
    bent = 2 * here - before - after
    return (after - before) ** 2 / (8 * bent) if min(here - before, here - after) > 0 else 0.0
