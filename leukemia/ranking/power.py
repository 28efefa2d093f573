"""How small a difference a study can find: from the components of variance of a pilot.

A design's variance is net / (seeds x folds) + single / (seeds x subjects) + lasting / subjects:
what networks add, what a subject adds in one seed alone, and what it adds in every seed alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from leukemia.evaluation.jackknife import Jackknife
from leukemia.evaluation.variance_components import (
    VarianceComponents,
    of_networks,
    of_subjects,
    over_subjects_and_networks,
    within_seeds,
)

ASKED = 0.8  # share of studies that are to find the difference
LEVEL = 0.05  # two techniques differ significantly where the corrected p is below


@dataclass(frozen=True, kw_only=True)
class Components:
    """Of a paired difference: variances of one network, of one subject in one seed, and of one
    subject in every seed."""

    net: float
    single: float
    lasting: float


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Components of variance, and what they were measured on, in a few words."""

    components: Components
    about: str


def components_of(gap: Jackknife) -> Components:
    """Of the jackknife of a difference over 2 seeds or more."""
    seeds, subjects = len(gap.whole), int(np.count_nonzero(gap.kinds))
    networks = int(np.count_nonzero(gap.shares))
    of_subject, single = of_subjects(gap)[0], within_seeds(gap)
    return Components(
        net=_luck(gap) * networks,
        single=single * seeds * subjects,
        lasting=max(of_subject - single, 0.0) * subjects,
    )


def spread(own: Jackknife, splits: Sequence[int]) -> dict[str, float]:
    """What subjects, splits and networks each add to the standard deviation of a mean over seeds.

    splits: the split of each seed of `own`. Splits are told from networks where several seeds share
    each of several splits, else they are part of the networks; NaN for what is not told apart.
    """
    nan = float("nan")
    parts = {"subjects": float(np.sqrt(of_subjects(own)[0])), "splits": nan, "networks": nan}
    if len(own.whole) < 2 or len(own.whole) != len(splits):
        return parts
    networks = _luck(own)
    groups = [own.whole[np.array(splits) == split] for split in sorted(set(splits))]
    if len(groups) > 1 and min(map(len, groups)) > 1:
        within = float(np.mean([group.var(ddof=1) / len(group) for group in groups]))
        between = float(np.var([group.mean() for group in groups], ddof=1))
        of_splits = max(between - within, 0.0) / len(groups)
        parts["splits"] = float(np.sqrt(of_splits))
        networks = max(networks - of_splits, 0.0)
    parts["networks"] = float(np.sqrt(networks))
    return parts


def of_one_technique(own: Jackknife) -> Components:
    """What equal techniques would differ by, from 2 seeds or more of one technique.

    Two techniques are two networks a seed and fold, so networks count twice. What a technique does
    to a subject in every network alike is not to be seen in one technique: `lasting` is 0.
    """
    seeds, subjects = len(own.whole), int(np.count_nonzero(own.kinds))
    of_net = _luck(own) * np.count_nonzero(own.shares)
    apart = replace(own, whole=np.diff(own.whole), without=np.diff(own.without, axis=0))
    single = within_seeds(apart) * (seeds - 1) * subjects
    return Components(net=2 * of_net, single=single, lasting=0.0)


def _luck(jackknife: Jackknife) -> float:
    """The variance between networks, less what the subjects that each tested add to it."""
    return max(of_networks(jackknife)[0] - within_seeds(jackknife), 0.0)


def mean(several: Sequence[Components]) -> Components:
    """The mean of each variance."""
    net, single, lasting = (
        float(np.mean([getattr(each, name) for each in several]))
        for name in ("net", "single", "lasting")
    )
    return Components(net=net, single=single, lasting=lasting)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Designs that are asked for: every combination of these."""

    subjects: Sequence[int]
    seeds: Sequence[int]
    folds: Sequence[int]
    contrasts: int

    def table(self, parts: Components) -> pd.DataFrame:
        """One row a design: subjects, seeds, folds, networks (an arm's), detectable."""
        rows = [
            {
                "subjects": subjects, "seeds": seeds, "folds": folds, "networks": seeds * folds,
                "detectable": detectable(
                    parts, subjects=subjects, seeds=seeds, folds=folds, contrasts=self.contrasts
                ),
            }
            for subjects, seeds, folds in product(self.subjects, self.seeds, self.folds)
        ]  # fmt: skip
        return pd.DataFrame(rows)


def detectable(
    parts: Components, *, subjects: int, seeds: int, folds: int, contrasts: float = 1
) -> float:
    """The smallest true difference that such a study calls different in ASKED of cases.

    contrasts: how many share the level; the first of them to be called bears all of it.
    """
    of_networks = parts.net / (seeds * folds) + parts.single / (seeds * subjects)
    whole = VarianceComponents(
        parts=((of_networks, seeds * folds - 1), (parts.lasting / subjects, subjects - 2))
    )
    return _reach(whole, contrasts)


def detectable_with(gap: Jackknife, contrasts: float) -> float:
    """`detectable` of the very study that found this difference."""
    return _reach(over_subjects_and_networks(gap), contrasts)


def _reach(whole: VarianceComponents, contrasts: float) -> float:
    """The critical difference of the corrected level, and what makes ASKED of draws exceed it."""
    error = float(np.sqrt(whole.variance))
    _, freedom = max(whole.parts)  # of the part that decides
    return whole.reach(LEVEL / 2 / contrasts) + float(stdtrit(freedom, ASKED)) * error
