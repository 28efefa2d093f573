"""The kernel distance (KID) of two sets of images that come in clusters, with its interval.

Cells of one subject resemble each other, so a pair of them says little of the distance of two laws.
Each subject is therefore one point here, the mean of its cells in the kernel's space, and pairs
within a subject are left out: the estimate is the unbiased U-statistic over pairs of different
subjects. Every subject counts alike. That is the distance of the laws of a cell of a subject drawn
by lot; with cells counted alike instead, a subject of 757 cells among some of 9 would decide the
figure alone, and no interval could allow for another in its place.

Sources: Binkowski et al. 2018 (arXiv 1801.01401; KID), Gretton et al. 2012 (JMLR 13, 723; the
U-statistic), Efron & Stein 1981 (what a jackknife's variance exceeds), Szekely & Rizzo 2014 (the
centring that makes the second-order part unbiased).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.special import chdtri, stdtrit

from leukemia.errors import UserError

TAIL = 0.975
LEAST_WEIGHT = 1e-9  # of pairs: less is rounding
FEWEST = 4  # subjects a side for an interval: the second-order part needs them


@dataclass(frozen=True, kw_only=True)
class Kid:
    """The squared distance with its 95 % interval.

    low and high are NaN where a side has fewer than FEWEST subjects, and value too where all images
    of a side share subjects, so that there is no pair. subjects: of the side that has
    fewer.
    """

    value: float
    low: float
    high: float
    subjects: int


def kid(
    real: np.ndarray, made: np.ndarray, real_of: np.ndarray, made_of: np.ndarray | None = None
) -> Kid:
    """The unbiased squared maximum mean discrepancy under the kernel (x y / d + 1)^3; it can be a
    little below 0. 500 by 500 images of 2,048 features take 0.1 s.

    Args:
        real, made: (n, d) and (m, d) float32, a row an image.
        real_of: (n,) str, the subject of each real image.
        made_of: (m,) or (m, k) str, the subjects that each made image comes from; images that share
            one are no pair. None: each is independent of the others, as a generator's draws are.

    Raises:
        UserError: fewer than two images of a kind.
    """
    check(real, made)
    x, y = real.astype(np.float64), made.astype(np.float64)
    of_x = _memberships(real_of)
    of_y = _memberships(np.arange(len(y)) if made_of is None else made_of)
    across = _averaged(_kernel(x, y), of_x, of_y, np.ones((len(x), len(y))))
    return _estimate(_within(x, of_x), _within(y, of_y), across)


def check(real: np.ndarray, made: np.ndarray) -> None:
    """Raise a UserError where there are fewer than two of a kind."""
    if min(len(real), len(made)) < 2:
        raise UserError(
            f"{len(real)} real and {len(made)} made images cannot be compared: two of each are "
            f"the least"
        )


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    cubes: np.ndarray = base * base * base  # a tenth of the time of ** 3
    return cubes


def _memberships(names: np.ndarray) -> csr_array:
    """(subjects, n): the share of each image that is a subject's."""
    of = np.asarray(names).reshape(len(names), -1)
    subjects, place = np.unique(of, return_inverse=True)
    rows, columns = place.ravel(), np.repeat(np.arange(len(of)), of.shape[1])
    shares = np.full(of.size, 1 / of.shape[1])
    return csr_array((shares, (rows, columns)), (len(subjects), len(of)))


def _within(x: np.ndarray, shares: csr_array) -> np.ndarray:
    """(s, s) mean kernel of each two subjects' images that share no subject; in the diagonal of all
    of a subject's. Of a single subject its images stand for subjects."""
    if shares.shape[0] == 1:
        shares = _memberships(np.arange(len(x)))
    kernel = _kernel(x, x)
    apart = ((shares.T @ shares).toarray() == 0).astype(np.float64)
    means: np.ndarray = _averaged(kernel, shares, shares, apart)
    own = shares.multiply(shares @ kernel).sum(1) / shares.sum(1) ** 2
    np.fill_diagonal(means, own)
    return means


def _averaged(
    kernel: np.ndarray, of_x: csr_array, of_y: csr_array, counted: np.ndarray
) -> np.ndarray:
    """(s, t) mean of the kernel over the counted pairs of each two subjects; where two have none,
    the mean of those that have; NaN where none has."""
    sums, weights = ((of_y @ (of_x @ each).T).T for each in (kernel * counted, counted))
    known = weights > LEAST_WEIGHT
    means: np.ndarray = np.divide(sums, weights, out=np.zeros_like(sums), where=known)
    means[~known] = means[known].mean() if known.any() else np.nan
    return means


def _estimate(x: np.ndarray, y: np.ndarray, across: np.ndarray) -> Kid:
    """The statistic of subjects' mean kernels and its interval."""
    value = float(_mean_apart(x) + _mean_apart(y) - 2 * across.mean())
    fewest = min(across.shape)
    if fewest < FEWEST or np.isnan(value):
        return Kid(value=value, low=np.nan, high=np.nan, subjects=fewest)
    chance = _Chance.of(x, y, across)
    jackknife = _jackknife(x, across) + _jackknife(y, across.T)
    # The jackknife counts the part of pairs twice; what is left is the part of single subjects.
    single = max(jackknife - 2 * chance.variance, 0.0)
    scale = max(value, float(np.sqrt(chance.variance)))
    growth = single / scale * float(stdtrit(fewest - 1, TAIL)) ** 2
    return Kid(
        value=value,
        low=_end(value, growth, chance.quantile(TAIL), -1),
        high=_end(value, growth, chance.quantile(1 - TAIL), +1),
        subjects=fewest,
    )


def _end(value: float, growth: float, chance: float, side: int) -> float:
    """The true distance d at which (value - d)^2 = growth * d + chance^2, below or above."""
    at = max(value, 0.0)
    middle = at + growth / 2
    root = float(np.sqrt(max(middle**2 - at**2 + chance**2, 0.0)))
    return middle + side * root - (at - value)


@dataclass(frozen=True, kw_only=True)
class _Chance:
    """The statistic's law where both kinds are alike, as a (C - freedom) with C of chi-squared law.

    mean: that of its squares, which the statistic leaves out. variance: its own.
    """

    mean: float
    variance: float

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, across: np.ndarray) -> "_Chance":
        """From the pairs of subjects, each less what its two subjects bring alone."""
        mean = sum((np.diag(own).mean() - _mean_apart(own)) / len(own) for own in (x, y))
        variance = _of_pairs(x) + _of_pairs(y) + _of_crossed_pairs(across)
        return cls(mean=max(float(mean), 1e-300), variance=max(variance, 1e-300))

    def quantile(self, share: float) -> float:
        """The value below which the statistic is in that share of draws."""
        freedom = 2 * self.mean**2 / self.variance
        scale = self.mean / freedom
        return scale * (float(chdtri(freedom, 1 - share)) - freedom)


def _mean_apart(own: np.ndarray) -> float:
    """The mean over pairs of different subjects."""
    n = len(own)
    return float((own.sum() - np.trace(own)) / (n * (n - 1)))


def _jackknife(own: np.ndarray, across: np.ndarray) -> float:
    """The variance of the statistic from leaving out each subject of one side."""
    n = len(own)
    apart = own - np.diag(np.diag(own))
    within = (apart.sum() - 2 * apart.sum(1)) / ((n - 1) * (n - 2))
    crossing = (across.sum() - across.sum(1)) / ((n - 1) * across.shape[1])
    without = within - 2 * crossing
    return float((n - 1) / n * np.sum((without - without.mean()) ** 2))


def _of_pairs(own: np.ndarray) -> float:
    """The part of the variance that pairs of one side bring, and no subject alone."""
    n = len(own)
    apart = own - np.diag(np.diag(own))
    rows = apart.sum(1) / (n - 2)
    centred = apart - rows[:, None] - rows + apart.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return float(2 * np.sum(centred**2) / (n * (n - 3)) / (n * (n - 1)))


def _of_crossed_pairs(across: np.ndarray) -> float:
    """The part that pairs of a real and a made subject bring, and none of them alone."""
    n, m = across.shape
    centred = across - across.mean(0) - across.mean(1)[:, None] + across.mean()
    return float(4 * np.sum(centred**2) / ((n - 1) * (m - 1)) / (n * m))
