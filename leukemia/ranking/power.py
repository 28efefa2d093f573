"""How small a difference a study can find: from the components of variance of a pilot.

A design's variance is net / (seeds x folds) + single / (seeds x subjects) + lasting / subjects:
what networks add, what a subject adds in one seed alone, and what it adds in every seed alike.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from leukemia.evaluation.jackknife import Jackknife, Repeats, leave_out, subject_counts
from leukemia.evaluation.variance_components import (
    VarianceComponents,
    of_networks,
    of_subjects,
    over_subjects_and_networks,
    within_seeds,
)

ASKED = 0.8  # share of studies that are to find the difference
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Components:
    """Of a paired difference: variances of one network, of one subject in one seed, and of one
    subject in every seed."""

    net: float
    single: float
    lasting: float

    @property
    def sds(self) -> tuple[float, float, float]:
        """Standard deviations, in the same order."""
        net, single, lasting = (
            float(np.sqrt(each)) for each in (self.net, self.single, self.lasting)
        )
        return net, single, lasting


def components(a: Repeats, b: Repeats, metric: str) -> Components:
    """Of the difference of two techniques on the same seeds (2 or more) and folds."""
    gap = leave_out(subject_counts(a), metric).less(leave_out(subject_counts(b), metric))
    return components_of(gap)


def components_of(gap: Jackknife) -> Components:
    """Of a difference's jackknife."""
    seeds, subjects = len(gap.whole), int(np.count_nonzero(gap.kinds))
    networks = int(np.count_nonzero(gap.shares))
    of_net, of_subject, single = of_networks(gap)[0], of_subjects(gap)[0], within_seeds(gap)
    return Components(
        net=max(of_net - single, 0.0) * networks,
        single=single * seeds * subjects,
        lasting=max(of_subject - single, 0.0) * subjects,
    )


def detectable(
    parts: Components, *, subjects: int, seeds: int, folds: int, contrasts: int = 1
) -> float:
    """The smallest true difference that such a study calls different in ASKED of cases.

    contrasts: how many share the level; the first of them to be called bears all of it.
    """
    of_networks = parts.net / (seeds * folds) + parts.single / (seeds * subjects)
    whole = VarianceComponents(
        parts=((of_networks, seeds * folds - 1), (parts.lasting / subjects, subjects - 2))
    )
    return _reach(whole, contrasts)


def detectable_with(gap: Jackknife, contrasts: int) -> float:
    """`detectable` of the very study that found this difference."""
    return _reach(over_subjects_and_networks(gap), contrasts)


def _reach(whole: VarianceComponents, contrasts: int) -> float:
    """The critical difference of the corrected level, and what makes ASKED of draws exceed it."""
    error = float(np.sqrt(whole.variance))
    freedom = min(freedom for variance, freedom in whole.parts if variance >= 0)
    return whole.reach(LEVEL / 2 / contrasts) + float(stdtrit(freedom, ASKED)) * error
