"""How near made images are to real ones, from features of both.

KID is the primary measure: FID is too large with few images, by more the fewer there are, KID is
not. Precision and density say whether made images look real, recall and coverage whether they
are as varied as the real ones. Features are (n, d) float32, one row an image.

Sources: Binkowski et al. 2018 (arXiv 1801.01401; KID), Heusel et al. 2017 (arXiv 1706.08500;
FID), Kynkaanniemi et al. 2019 (arXiv 1904.06991; precision and recall), Naeem et al. 2020
(arXiv 2002.09797; density and coverage).
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import stdtrit

from leukemia.errors import UserError

NEIGHBOURS = 5  # of density and coverage
NEIGHBOURS_PR = 3  # of precision and recall
TAIL = 0.975


@dataclass(frozen=True, kw_only=True)
class Kid:
    """The squared distance with its 95 % interval; groups: number of them among the real ones.

    low and high are NaN where the real images are all of one group.
    """

    value: float
    low: float
    high: float
    groups: int


def measure(real: np.ndarray, made: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """All the measures by name: kid, kid_low, kid_high, fid, precision, recall, density, coverage.

    groups: (n,) str, whom each real image is of.

    Raises:
        UserError: fewer than two images of a kind.
    """
    distance = kid(real, made, groups)
    precision, recall = precision_recall(real, made)
    density, coverage = density_coverage(real, made)
    return {
        "kid": distance.value,
        "kid_low": distance.low,
        "kid_high": distance.high,
        "fid": fid(real, made),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def kid(real: np.ndarray, made: np.ndarray, groups: np.ndarray) -> Kid:
    """The unbiased squared maximum mean discrepancy under the kernel (x y / d + 1)^3, over all
    pairs; it can be a little below 0.

    The interval leaves out each group of real images in turn, since images of one subject are
    not independent, and each made image. 3,000 by 3,000 images of 2,048 features take 2 s.
    """
    _check(real, made)
    x, y = real.astype(np.float64), made.astype(np.float64)
    within_real, within_made, across = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    np.fill_diagonal(within_real, 0)
    np.fill_diagonal(within_made, 0)
    member = (np.unique(groups)[:, None] == groups).astype(np.float64)
    less_real = _without(within_real, within_made, across, member)
    less_made = _without(within_made, within_real, across.T, np.eye(len(y)))
    value = float(_discrepancy(within_real.sum(), within_made.sum(), across.sum(), len(x), len(y)))
    count = len(member)
    if count < 2:
        return Kid(value=value, low=float("nan"), high=float("nan"), groups=count)
    variance = _variance(less_real) + _variance(less_made)
    reach = float(stdtrit(count - 1, TAIL)) * variance**0.5
    return Kid(value=value, low=value - reach, high=value + reach, groups=count)


def fid(real: np.ndarray, made: np.ndarray) -> float:
    """The Fréchet distance of two Gaussians with the images' means and covariances.

    The trace of the square root of two covariances' product is the nuclear norm of the product of
    their factors, which is as small as there are images: no square root of a matrix is needed.
    """
    _check(real, made)
    x, y = real.astype(np.float64), made.astype(np.float64)
    first, second = _factor(x), _factor(y)
    root = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    apart = np.sum((x.mean(0) - y.mean(0)) ** 2)
    return float(apart + np.sum(first**2) + np.sum(second**2) - 2 * root)


def precision_recall(
    real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS_PR
) -> tuple[float, float]:
    """The shares of made images within a real one's reach, and of real within a made one's.

    An image reaches as far as its k-th nearest neighbour of its own kind.
    """
    _check(real, made)
    apart = cdist(made, real)
    precision = (apart <= _reach(real, k)).any(1).mean()
    recall = (apart <= _reach(made, k)[:, None]).any(0).mean()
    return float(precision), float(recall)


def density_coverage(
    real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """How many real images' reaches a made image lies in, divided by k, and the share of real
    images with a made one in reach. Perfect images have a density of about 1."""
    _check(real, made)
    k = min(k, len(real) - 1)
    inside = cdist(made, real) <= _reach(real, k)
    return float(inside.sum(1).mean() / k), float(inside.any(0).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    products: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return products


def _discrepancy(
    own: np.ndarray, other: np.ndarray, across: np.ndarray, n: np.ndarray | int, m: int
) -> np.ndarray:
    """From sums of the kernel; those within a kind are without the diagonal."""
    return own / (n * (n - 1)) + other / (m * (m - 1)) - 2 * across / (n * m)


def _without(
    own: np.ndarray, other: np.ndarray, across: np.ndarray, member: np.ndarray
) -> np.ndarray:
    """(g,) the discrepancy without each group of one kind; member: (g, n) of 0 and 1."""
    left = len(own) - member.sum(1)
    within = np.einsum("gi,gi->g", member @ own, member)
    sums = own.sum() - 2 * (member @ own.sum(1)) + within
    crossing = across.sum() - member @ across.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a single group, or one image left
        return _discrepancy(sums, other.sum(), crossing, left, len(other))


def _variance(without: np.ndarray) -> float:
    """Of a figure, from its values without each of its parts: the jackknife's."""
    n, known = len(without), without[np.isfinite(without)]
    return float((n - 1) / n * np.sum((known - known.mean()) ** 2)) if len(known) > 1 else 0.0


def _factor(x: np.ndarray) -> np.ndarray:
    """(n, d) whose product with itself is the covariance of (n, d) features."""
    factor: np.ndarray = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return factor


def _reach(features: np.ndarray, k: int) -> np.ndarray:
    """(n,) the distance to the k-th nearest other, or to the farthest where there are fewer."""
    apart = cdist(features, features)
    np.fill_diagonal(apart, np.inf)
    k = min(k, len(features) - 1)
    return np.partition(apart, k - 1, axis=1)[:, k - 1]


def _check(real: np.ndarray, made: np.ndarray) -> None:
    if min(len(real), len(made)) < 2:
        raise UserError(
            f"{len(real)} real and {len(made)} made images cannot be compared: two of each are "
            f"the least"
        )
