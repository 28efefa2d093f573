"""How near made images are to real ones, from features of both.

KID (`leukemia.synthetic.kid`) is the primary measure: FID is too large with few images, by more the
fewer there are, KID is not. Precision and density say whether made images look real, recall and
coverage whether they are as varied as the real ones. Features are (n, d) float32, one row an image.

Sources: Heusel et al. 2017 (arXiv 1706.08500; FID), Kynkaanniemi et al. 2019 (arXiv 1904.06991;
precision and recall), Naeem et al. 2020 (arXiv 2002.09797; density and coverage).
"""

import numpy as np
from scipy.spatial.distance import cdist

from leukemia.synthetic.kid import check, kid

NEIGHBOURS = 5  # of density and coverage
NEIGHBOURS_PR = 3  # of precision and recall


def measure(
    real: np.ndarray, made: np.ndarray, real_of: np.ndarray, made_of: np.ndarray | None = None
) -> dict[str, float]:
    """All the measures by name: kid, kid_lo, kid_hi, fid, precision, recall, density, coverage.

    real_of, made_of: whom the images are of, as `kid` takes them.

    Raises:
        UserError: fewer than two images of a kind.
    """
    distance = kid(real, made, real_of, made_of)
    precision, recall = precision_recall(real, made)
    density, coverage = density_coverage(real, made)
    return {
        "kid": distance.value,
        "kid_lo": distance.low,
        "kid_hi": distance.high,
        "fid": fid(real, made),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def fid(real: np.ndarray, made: np.ndarray) -> float:
    """The Fréchet distance of two Gaussians with the images' means and covariances.

    The trace of the square root of two covariances' product is the nuclear norm of the product of
    their factors, which is as small as there are images: no square root of a matrix is needed.
    """
    check(real, made)
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
    check(real, made)
    apart = cdist(made, real)
    precision = (apart <= _reach(real, k)).any(1).mean()
    recall = (apart <= _reach(made, k)[:, None]).any(0).mean()
    return float(precision), float(recall)


def density_coverage(
    real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """How many real images' reaches a made image lies in, divided by k, and the share of real
    images with a made one in reach. Perfect images have a density of about 1."""
    check(real, made)
    k = min(k, len(real) - 1)
    inside = cdist(made, real) <= _reach(real, k)
    return float(inside.sum(1).mean() / k), float(inside.any(0).mean())


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
