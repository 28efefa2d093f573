"""How far a figure would stray for other subjects, and for networks trained anew."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from leukemia.evaluation.jackknife import Jackknife

COVERAGE = 0.95
TAIL = (1 - COVERAGE) / 2
NOTHING = 1e-24  # a variance below is rounding: figures lie between 0 and 17
LEAST_P = 1e-100  # what is told of anything smaller


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Independent (variance, degrees of freedom of its estimate) that add up."""

    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """Of all the parts."""
        return sum(variance for variance, _ in self.parts)

    def reach(self, tail: float = TAIL) -> float:
        """How far an interval with `tail` on each side goes, by Student's t of each part.

        One t for the sum (Satterthwaite's) is too short with three seeds: of 95 % it held 88
        to 95 in draws. Source: Zou & Donner 2008.
        """
        squares = sum(v * float(stdtrit(freedom, tail)) ** 2 for v, freedom in self.parts)
        return float(np.sqrt(squares))

    def p(self, value: float) -> float:
        """Twice the tail at which the interval about `value` just touches 0; never 0 itself."""

        def spare(log_p: float) -> float:
            return self.reach(float(np.exp(log_p)) / 2) - abs(value)

        if spare(0.0) >= 0:
            return 1.0
        least = float(np.log(LEAST_P))
        return float(np.exp(brentq(spare, least, 0.0))) if spare(least) > 0 else LEAST_P


def of_subjects(left: Jackknife) -> tuple[float, float]:
    """(variance, degrees of freedom) of the mean over seeds, from other subjects of these kinds.

    Source: Efron & Stein 1981 (jackknife); Satterthwaite 1946 (degrees of freedom of a sum).
    """
    effects, groups = _effects(left).mean(axis=0), _groups(left.kinds)
    parts = [
        (float(np.sum(effects[groups == group] ** 2)), int(np.sum(groups == group)) - 1)
        for group in np.unique(groups)
    ]
    total = sum(variance for variance, _ in parts)
    squares = sum(variance**2 / freedom for variance, freedom in parts if freedom)
    return total, total**2 / squares if squares else 1.0


def of_seeds(left: Jackknife) -> list[tuple[float, float]]:
    """(variance, degrees of freedom) from training anew; none where there is one seed.

    What shows on some subjects in some seeds is in the subjects' part already and taken off.

    Source: Owen 2007 (subjects crossed with seeds).
    """
    seeds = len(left.whole)
    if seeds < 2:
        return []
    effects = _effects(left)
    crossed = np.sum((effects - effects.mean(axis=0)) ** 2) / (seeds * (seeds - 1))
    return [(max(float(left.whole.var(ddof=1) / seeds - crossed), 0.0), seeds - 1)]


def _effects(left: Jackknife) -> np.ndarray:
    """(seeds, n): what each subject moves; squares over a kind sum to its jackknife variance."""
    effects = np.zeros_like(left.without)
    groups = _groups(left.kinds)
    for group in np.unique(groups):
        without = left.without[:, groups == group]
        centred = without - without.mean(axis=1, keepdims=True)
        effects[:, groups == group] = centred * np.sqrt(1 - 1 / without.shape[1])
    return effects


def _groups(kinds: np.ndarray) -> np.ndarray:
    """(n,): the kinds, where a kind with one subject joins the most frequent."""
    found, counts = np.unique(kinds, return_counts=True)
    lone = np.isin(kinds, found[counts == 1])
    return np.where(lone, found[counts.argmax()], kinds)
