"""The variance of a metric, as the sum of a part from subjects and a part from seeds.

Each part comes with the degrees of freedom of its estimate, which decide how far an interval goes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from leukemia.evaluation.jackknife import Jackknife

COVERAGE = 0.95
TAIL = (1 - COVERAGE) / 2
NOTHING = 1e-24  # a smaller variance is rounding: metrics lie between -1 and 17
LEAST_P = 1e-100  # reported in place of anything smaller


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Independent (variance, degrees of freedom of its estimate) that add up."""

    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """The sum of all parts."""
        return sum(variance for variance, _ in self.parts)

    def reach(self, tail: float = TAIL) -> float:
        """Half the length of an interval with `tail` outside on each side.

        Each part has its own Student's t. One t for the sum (Satterthwaite's) gives intervals
        that are too short with three seeds: 95 % intervals held 88 to 95 % in simulations.
        Source: Zou & Donner 2008.
        """
        squares = sum(v * float(stdtrit(freedom, tail)) ** 2 for v, freedom in self.parts)
        return float(np.sqrt(squares))

    def p(self, value: float) -> float:
        """Two-sided p of a value of 0: twice the tail whose interval about `value` ends at 0.

        At least LEAST_P.
        """

        def spare(log_p: float) -> float:
            return self.reach(float(np.exp(log_p)) / 2) - abs(value)

        if spare(0.0) >= 0:
            return 1.0
        least = float(np.log(LEAST_P))
        return float(np.exp(brentq(spare, least, 0.0))) if spare(least) > 0 else LEAST_P


def of_subjects(jackknife: Jackknife) -> tuple[float, float]:
    """(variance, degrees of freedom) of the mean over seeds from the choice of subjects.

    Subjects of each kind (with positive cells, negative ones, both) are drawn separately.

    Source: Efron & Stein 1981 (jackknife); Satterthwaite 1946 (degrees of freedom of a sum).
    """
    effects, groups = _effects(jackknife).mean(axis=0), _groups(jackknife.kinds)
    parts = [
        (float(np.sum(effects[groups == group] ** 2)), int(np.sum(groups == group)) - 1)
        for group in np.unique(groups)
    ]
    total = sum(variance for variance, _ in parts)
    squares = sum(variance**2 / freedom for variance, freedom in parts if freedom)
    return total, total**2 / squares if squares else 1.0


def of_seeds(jackknife: Jackknife) -> list[tuple[float, float]]:
    """[(variance, degrees of freedom)] of the mean over seeds from training anew; [] for one seed.

    The variance between seeds also holds what differs by seed on single subjects. The part from
    subjects contains that already, so it is subtracted here.

    Source: Owen 2007 (subjects crossed with seeds).
    """
    seeds = len(jackknife.whole)
    if seeds < 2:
        return []
    effects = _effects(jackknife)
    crossed = np.sum((effects - effects.mean(axis=0)) ** 2) / (seeds * (seeds - 1))
    return [(max(float(jackknife.whole.var(ddof=1) / seeds - crossed), 0.0), seeds - 1)]


def _effects(jackknife: Jackknife) -> np.ndarray:
    """(seeds, n): each subject's effect; their squares sum to the jackknife variance of a kind."""
    effects = np.zeros_like(jackknife.without)
    groups = _groups(jackknife.kinds)
    for group in np.unique(groups):
        without = jackknife.without[:, groups == group]
        centred = without - without.mean(axis=1, keepdims=True)
        effects[:, groups == group] = centred * np.sqrt(1 - 1 / without.shape[1])
    return effects


def _groups(kinds: np.ndarray) -> np.ndarray:
    """(n,): the kinds, where a kind with a single subject joins the most frequent kind."""
    values, counts = np.unique(kinds, return_counts=True)
    single = np.isin(kinds, values[counts == 1])
    return np.where(single, values[counts.argmax()], kinds)
