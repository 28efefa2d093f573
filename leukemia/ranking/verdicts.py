"""Which techniques differ, and what the chosen one is worth: verdicts that know of the choice.

A family of contrasts is tested by closed testing (Marcus, Peritz & Gabriel 1976): a contrast is
called different only where every set of contrasts that holds it is rejected as a whole. A set is
tested by the one of its contrasts that the other networks find largest (`networks`), so that a
true difference among many null ones costs little power, and luck does not confirm itself. See
docs/verdicts.md and `python -m benchmarks.verdicts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from leukemia.evaluation import comparison, intervals
from leukemia.evaluation.comparison import Difference
from leukemia.evaluation.intervals import Interval
from leukemia.evaluation.jackknife import Jackknife, leave_out
from leukemia.evaluation.metrics import metric_of
from leukemia.ranking.networks import Networks

FEWEST = 2  # seeds and folds: of fewer networks an arm nothing is known of their luck
MOST = 10  # contrasts that are tested as a closed family, of 2 ** MOST sets; more: Holm's way
# The folds' choices rest on nearly the same networks: a set's p is raised for that. Without it up
# to .07 of drawn studies of equal techniques called something different, where techniques act on
# subjects in every network alike.
SHARED_CHOICE = 1.25
# All networks of a study learned from the same subjects, and others would have taught them other
# things: an interval over tested subjects does not see it. Without this the winner's 95 % interval
# held its true value in .90 to .93 of drawn studies of trained classifiers.
SHARED_SUBJECTS = 1.12
LEADER_S_PART = 5  # comparisons with the leader get a fifth of the level, once it differs itself
PLANNED_PART = 0.8  # of the level, for a contrast that was named before the study


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm against the one that it is to be measured by, and why by that one.

    planned: it was named before the study, and has most of the level for itself.
    """

    arm: str
    against: str
    why: str
    planned: bool = False


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What "train all, choose on validation" gives: of networks that had no say in the choice.

    value, gain: the metric of the chosen arms, and that minus the baseline's, with intervals; the
    gain is None where there is no baseline. chosen: arm -> share of the blocks in which it was
    chosen.
    """

    value: Interval
    gain: Difference | None
    chosen: Mapping[str, float]


def enough(networks: Networks) -> bool:
    """Whether the networks are so many that their luck can be told from a difference."""
    return networks.repeats >= FEWEST and networks.folds >= FEWEST


def adjusted(contrasts: Sequence[Contrast], networks: Networks, metric: str) -> np.ndarray:
    """(n,) p of each contrast, corrected for all of them; NaN where there are too few networks.

    Strong control of the family-wise error, two-sided. With more than MOST contrasts the
    correction is Holm's.
    """
    if not enough(networks):
        return np.full(len(contrasts), np.nan)
    tests = _Tests(contrasts, networks, metric)
    alone = np.array([tests.alone(number) for number in range(len(contrasts))])
    if len(contrasts) > MOST or np.isnan(alone).any():
        return comparison.holm(alone)
    most = alone.copy()
    for size in range(2, len(contrasts) + 1):
        for members in combinations(range(len(contrasts)), size):
            p = tests.together(members)
            most[list(members)] = np.maximum(most[list(members)], p)
    return most


def with_planned(planned: float, others: np.ndarray) -> tuple[float, np.ndarray]:
    """Corrected p of the planned contrast, and of the others.

    It has PLANNED_PART of the level for itself, the others share the rest, and all of it once the
    planned one differs (Bretz et al. 2009: graphs of Bonferroni's kind). The family-wise error is
    controlled as strongly as without a plan.

    Args:
        planned: its own two-sided p. others: (n,), corrected among themselves.
    """
    corrected = min(planned / PLANNED_PART, 1.0)
    alone = np.minimum(others / (1 - PLANNED_PART), 1.0)
    return corrected, np.minimum(alone, np.maximum(others, corrected))


def against_leader(p: np.ndarray, networks: Networks) -> np.ndarray:
    """(n,) p of other arms against the leader, corrected for every pair that it may be of.

    Any of the arms could have led, so all pairs count, and the pairs have a fifth of the level.
    """
    arms = len(networks.arms)
    pairs = arms * (arms - 1) / 2
    corrected: np.ndarray = np.minimum(p * pairs * LEADER_S_PART, 1.0)
    return corrected if enough(networks) else np.full(len(p), np.nan)


def worth(networks: Networks, metric: str, baseline: str) -> Worth | None:
    """What the whole way of choosing is worth; None where there are too few networks."""
    if not enough(networks):
        return None
    promise = networks.promise(metric)
    promise = np.where(np.isnan(promise), -np.inf, promise)
    chosen = [networks.arms[row] for row in promise.argmax(axis=0)]
    shares = {arm: chosen.count(arm) / len(chosen) for arm in networks.arms}
    value = _widened(intervals.of_counts(networks.counts(chosen), metric_of(metric)), metric)
    gain = None
    if baseline in networks.arms:
        gain = _gap(networks, chosen, [baseline] * len(chosen), metric)
    return Worth(value=value, gain=gain, chosen={arm: s for arm, s in shares.items() if s})


def _widened(interval: Interval, metric: str) -> Interval:
    """Longer by SHARED_SUBJECTS on either side, within the metric's bounds."""
    least, most = metric_of(metric).bounds
    low, high = (
        interval.value + SHARED_SUBJECTS * (end - interval.value)
        for end in (interval.low, interval.high)
    )
    return replace(interval, low=max(low, least), high=min(high, most))


class _Tests:
    """The local tests of a closed family, each made once."""

    def __init__(self, contrasts: Sequence[Contrast], networks: Networks, metric: str):
        self._contrasts, self._networks, self._metric = contrasts, networks, metric
        promise = networks.promise(metric)
        rows = {arm: promise[row] for row, arm in enumerate(networks.arms)}
        apart = [rows[each.arm] - rows[each.against] for each in contrasts]
        # (contrasts, blocks): how far the other networks find them apart; 0 where they cannot say
        self._apart = np.nan_to_num(np.array(apart))
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], Difference] = {}

    def alone(self, number: int) -> float:
        """Two-sided p of one contrast."""
        contrast = self._contrasts[number]
        blocks = len(self._networks.blocks)
        return self._of([contrast.arm] * blocks, [contrast.against] * blocks).p

    def together(self, members: Sequence[int]) -> float:
        """p of all members being 0: of the largest of them, on networks that did not choose it.

        Only the direction that the others expect counts against them; the p is two-sided all the
        same, since they often expect the same direction and the choice is then no surprise.
        """
        apart = self._apart[list(members)]
        largest = np.abs(apart).argmax(axis=0)
        better, worse = [], []
        for block, row in enumerate(largest):
            contrast = self._contrasts[members[row]]
            pair = contrast.arm, contrast.against
            up, down = pair if apart[row, block] >= 0 else pair[::-1]
            better.append(up)
            worse.append(down)
        apart_there = self._of(better, worse)
        rightly = metric_of(self._metric).sign * apart_there.value > 0
        return min(apart_there.p * SHARED_CHOICE, 1.0) if rightly else 1.0

    def _of(self, better: Sequence[str], worse: Sequence[str]) -> Difference:
        key = tuple(better), tuple(worse)
        if key not in self._known:
            self._known[key] = _gap(self._networks, better, worse, self._metric)
        return self._known[key]


def gap(networks: Networks, arm: str, against: str, metric: str) -> tuple[Jackknife, Jackknife]:
    """The jackknives of two arms over the same blocks."""
    first, second = (leave_out(networks.alone(each), metric) for each in (arm, against))
    return first, second


def _gap(
    networks: Networks, better: Sequence[str], worse: Sequence[str], metric: str
) -> Difference:
    """A composite minus another."""
    first, second = (leave_out(networks.counts(way), metric) for way in (better, worse))
    return comparison.of_jackknives(first, second, metric)
