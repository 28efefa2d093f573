"""The variance of a metric, as the sum of a part from networks and a part from subjects.

Each part comes with the degrees of freedom of its estimate, which decide how far an interval goes.
What a network adds is estimated from all of them, seeds times folds: between the seeds alone there
are so few degrees of freedom that equal techniques are called different in every fifth study
(docs/verdicts.md).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from leukemia.evaluation.jackknife import Jackknife
from leukemia.evaluation.metrics import ratio

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


def over_subjects_and_networks(jackknife: Jackknife) -> VarianceComponents:
    """Of the mean over seeds, for other subjects and for networks trained anew.

    With one seed it is for other subjects alone, of these very networks. With several the part
    from networks (seed x fold) holds all that differs between them, the subjects that they tested
    included; the part from subjects is what a subject adds in every seed alike. With one fold a
    seed it is the other way round: seeds are too few to carry what differs by seed on single
    subjects, so that stays in the part from subjects.

    Source: Cameron, Gelbach & Miller 2011 (two ways of clustering); Owen 2007.
    """
    if len(jackknife.whole) < 2:
        return VarianceComponents(parts=(of_subjects(jackknife),))
    networks, subjects = of_networks(jackknife), of_subjects(jackknife)
    by_seed = within_seeds(jackknife)
    if jackknife.shares.shape[1] > 1:
        return VarianceComponents(parts=(networks, _less(subjects, by_seed)))
    crossed = (by_seed - subjects[0] / len(jackknife.whole)) / (1 - 1 / len(jackknife.whole))
    return VarianceComponents(parts=(subjects, _less(networks, crossed)))


def of_subjects(jackknife: Jackknife) -> tuple[float, float]:
    """(variance, degrees of freedom) of the mean over seeds from the choice of subjects.

    Subjects of each kind (with positive cells, negative ones, both) are drawn separately. Where
    some have many more cells than others, the degrees of freedom are of as many as decide.

    Source: Efron & Stein 1981 (jackknife); Satterthwaite 1946 (degrees of freedom of a sum);
        Kish 1965 (clusters of unequal sizes).
    """
    effects, groups = _effects(jackknife).mean(axis=0), _groups(jackknife.kinds)
    parts = [
        (
            float(np.sum(effects[groups == group] ** 2)),
            max(effective(jackknife.sizes[groups == group]) - 1, 1.0),
        )
        for group in np.unique(groups)
    ]
    total = sum(variance for variance, _ in parts)
    squares = sum(variance**2 / freedom for variance, freedom in parts)
    return total, total**2 / squares if squares else 1.0


def within_seeds(jackknife: Jackknife) -> float:
    """The variance of the mean over seeds if subjects had an effect in single seeds only."""
    return float(np.sum(_effects(jackknife) ** 2)) / len(jackknife.whole) ** 2


def of_networks(jackknife: Jackknife) -> tuple[float, float]:
    """(variance, degrees of freedom) of the mean over seeds from training each network anew.

    The folds of a seed differ from each other as seeds do between them: each gives an estimate
    of the same variance, and they are pooled by their degrees of freedom.
    """
    seeds = len(jackknife.whole)
    known = ~np.isnan(jackknife.without_fold)
    folds, without = known.sum(axis=1), np.where(known, jackknife.without_fold, 0.0)
    between, within = seeds - 1, int(np.maximum(folds - 1, 0).sum())
    apart = np.where(known, without - ratio(without.sum(axis=1), folds)[:, None], 0.0)
    of_folds = float(np.sum(np.sum(apart**2, axis=1) * (1 - ratio(np.ones(1), folds)))) / seeds**2
    of_seeds = float(jackknife.whole.var(ddof=1)) / seeds if between else 0.0
    freedom = between + within
    weighted = between * of_seeds + within * of_folds
    if not freedom:
        return 0.0, 1.0
    even = effective(jackknife.shares.ravel()) / np.count_nonzero(jackknife.shares)
    return weighted / freedom, max(even * (freedom + 1) - 1, 1.0)


def effective(sizes: np.ndarray) -> float:
    """How many clusters of equal size decide as much as clusters of these sizes do.

    Source: Kish 1965 (section 8.2). Carter, Schnepel & Steigerwald's (2017) number for clusters
    whose cells are all alike is smaller, and gave 95 % intervals that held 99 % in simulations.
    """
    squares = float(np.sum(sizes**2))
    return float(sizes.sum() ** 2 / squares) if squares else float(len(sizes))


def _less(part: tuple[float, float], variance: float) -> tuple[float, float]:
    return max(part[0] - variance, 0.0), part[1]


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
