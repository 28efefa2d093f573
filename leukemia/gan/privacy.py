"""Does a generator hand out copies of the images it learned from?

Two looks. Copies: a made image that lies nearer to a training image than training images lie to
each other. Membership: whether one who has the generator's images, or its discriminator, can tell
which images it was trained on. Sources: Meehan et al. 2020 (arXiv 2004.05675; data copying), Chen
et al. 2020 (arXiv 1909.03935; membership by distance), Hayes et al. 2019 (arXiv 1705.07663; by
discriminator).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.stats import binomtest, rankdata

from leukemia.data.near_duplicates import TURNS
from leukemia.evaluation.intervals import Interval, interval
from leukemia.evaluation.predictions import Predictions

THUMB = 32  # px, side at which images are compared
QUIETEST = 0.01  # share of real images that lie as near to another as what is called a copy
BLOCK = 256  # images compared with all others at once
Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest image of another set for each of some, in whichever of the eight turns.

    row: (m,) int. turn: (m,) int, the place in TURNS that makes the other like this one.
    pixels: (m,) root mean square difference, in grey levels. features: (m,) Euclidean distance
    of the features of both, so turned.
    """

    row: np.ndarray
    turn: np.ndarray
    pixels: np.ndarray
    features: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Copies among the synthetic images, and attacks on membership.

    copies: (m,) bool. made: each made image's neighbour among the training images; real: each
    training image's among the other ones. limits: (pixels, features) below both of which a made
    image is a copy. rate, low, high: share of copies with its exact 95 % interval.
    by_distance, by_discriminator: area under the ROC curve of an attack on membership, None where
    it was not tried.
    """

    copies: np.ndarray
    made: Neighbours
    real: Neighbours
    limits: tuple[float, float]
    rate: float
    low: float
    high: float
    by_distance: Interval | None
    by_discriminator: Interval | None

    def acceptable(self, limit: float) -> bool:
        """Whether the share of copies may be `limit` or less."""
        return self.low <= limit

    @property
    def text(self) -> str:
        """The finding in a sentence or two."""
        return (
            f"{int(self.copies.sum())} of {len(self.copies)} made cells "
            f"({self.rate:.1%}, 95 % interval {self.low:.1%} to {self.high:.1%}) are copies: "
            f"nearer to a training cell than {1 - QUIETEST:.0%} of these are to each other, "
            f"in pixels and in features. Membership shows with an area under the curve of "
            f"{_as_text(self.by_distance)} by distance and "
            f"{_as_text(self.by_discriminator)} by the discriminator (0.5: not at all)."
        )


def examine(
    made: np.ndarray,
    training: np.ndarray,
    features: Features,
    membership: dict[str, Interval] | None = None,
) -> Privacy:
    """Look for copies of training images (n, S, S, 3) uint8 among made ones (m, S, S, 3).

    A made image is a copy if its nearest training image, turned and mirrored as fits best, is
    nearer than all but 1 % of the training images are to their own nearest, both in pixels and
    in features. New genuine images of the same subjects would be called copies in at most 1 % of
    cases. Pixels alone would not do: a blurred image is near to everything.
    """
    real = nearest(training, training, features, others=True)
    of_made = nearest(made, training, features)
    limits = tuple(float(np.quantile(each, QUIETEST)) for each in (real.pixels, real.features))
    copies = (of_made.pixels <= limits[0]) & (of_made.features <= limits[1])
    share = binomtest(int(copies.sum()), len(copies))
    exact = share.proportion_ci(0.95, "exact")
    told = membership or {}
    return Privacy(
        copies=copies, made=of_made, real=real, limits=(limits[0], limits[1]),
        rate=share.statistic, low=exact.low, high=exact.high,
        by_distance=told.get("distance"), by_discriminator=told.get("discriminator"),
    )  # fmt: skip


def attack(
    members: np.ndarray, others: np.ndarray, member_of: np.ndarray, other_of: np.ndarray
) -> Interval:
    """The area under the ROC curve of telling members from others by a score, the higher the
    more like a member, with its interval over the subjects `member_of` and `other_of`.

    If the others are of other subjects than the members, it can leave 0.5 without any
    memorising: subjects differ.
    """
    scores = rankdata(np.concatenate([members, others]))
    names = np.concatenate([member_of, other_of]).astype(str)
    labels = np.repeat(np.array([1, 0], np.int8), [len(members), len(others)])
    scaled = (scores / (len(scores) + 1)).astype(np.float32)
    return interval(
        [
            [
                Predictions(
                    labels=labels,
                    scores=scaled,
                    subjects=names,
                    cell_id=np.arange(len(names)).astype(str),
                )
            ]
        ],
        "auroc",
    )


def nearness(images: np.ndarray, made: np.ndarray) -> np.ndarray:
    """(n,) less the distance in grey levels to the nearest made image: an attack's score."""
    return -_nearest_thumbs(_thumbs(images), _thumbs(made), False)[2]


def metrics(privacy: Privacy) -> dict[str, float]:
    """The figures by metric name."""
    attacks = {"distance": privacy.by_distance, "discriminator": privacy.by_discriminator}
    return {
        "synth_copies": float(privacy.copies.sum()),
        "synth_copy_rate": privacy.rate,
        "synth_copy_rate_low": privacy.low,
        "synth_copy_rate_high": privacy.high,
        **{f"synth_attack_{name}": each.value for name, each in attacks.items() if each},
    }


def nearest(
    images: np.ndarray, among: np.ndarray, features: Features, others: bool = False
) -> Neighbours:
    """The neighbours of images (m, S, S, 3) uint8 among (n, S, S, 3) uint8.

    others: both are the same images, and none is its own neighbour.
    """
    row, turn, pixels = _nearest_thumbs(_thumbs(images), _thumbs(among), others)
    fitted = np.stack([turned(among[r], t) for r, t in zip(row, turn, strict=True)])
    apart = features(images).astype(np.float64) - features(fitted)
    return Neighbours(row=row, turn=turn, pixels=pixels, features=np.linalg.norm(apart, axis=1))


def turned(image: np.ndarray, turn: int) -> np.ndarray:
    """An image (S, S, 3) after one of TURNS."""
    return np.moveaxis(TURNS[turn].of(np.moveaxis(image, -1, 0)), 0, -1)


def _nearest_thumbs(
    thumbs: np.ndarray, among: np.ndarray, others: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, turn, root mean square difference) for each thumb."""
    flat = thumbs.reshape(len(thumbs), -1)
    best = np.full(len(flat), np.inf)
    row, turn = np.zeros(len(flat), int), np.zeros(len(flat), int)
    for number in range(len(TURNS)):
        other = np.stack([turned(each, number) for each in among]).reshape(len(among), -1)
        squares = np.einsum("ij,ij->i", other, other, dtype=np.float64)
        for start in range(0, len(flat), BLOCK):
            some = slice(start, start + BLOCK)
            apart = squares - 2.0 * (flat[some] @ other.T)  # less each one's own square
            if others:
                places = np.arange(start, min(start + BLOCK, len(flat)))
                apart[places - start, places] = np.inf
            least = apart.argmin(1)
            value = np.take_along_axis(apart, least[:, None], 1)[:, 0]
            nearer = value < best[some]
            best[some] = np.where(nearer, value, best[some])
            row[some] = np.where(nearer, least, row[some])
            turn[some] = np.where(nearer, number, turn[some])
    fitted = np.stack([turned(among[r], t) for r, t in zip(row, turn, strict=True)])
    apart = thumbs.astype(np.float64) - fitted
    return row, turn, np.sqrt(np.mean(apart**2, axis=(1, 2, 3)))


def _thumbs(images: np.ndarray) -> np.ndarray:
    """(n, T, T, 3) float32 grey levels, each the mean of what it covers."""
    side = min(THUMB, images.shape[1])
    small = [Image.fromarray(each).resize((side, side), Image.Resampling.BOX) for each in images]
    return np.stack([np.asarray(each) for each in small]).astype(np.float32)


def _as_text(interval: Interval | None) -> str:
    if interval is None:
        return "(not tried)"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
