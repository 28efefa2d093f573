"""The networks of a study, and which arm the others would choose where one of them is tested.

A choice and the figure that is to confirm it must not come from the same networks or subjects: a
network that had luck on its validation cells has it on its test cells. So for each tested fold the
arms are compared on the validation cells of all *other* networks, less the subjects of that fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np

from leukemia.evaluation.jackknife import Fold, SubjectCounts, counted, numbered
from leukemia.evaluation.metrics import metric_of
from leukemia.evaluation.predictions import Predictions

Block = tuple[str, int]  # a repeat of the split with its seed, and a fold


@dataclass(frozen=True, kw_only=True)
class Network:
    """What one network gave its validation and its test cells."""

    validation: Predictions
    test: Predictions


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks that all arms have: one an arm and block.

    arms: names. blocks: sorted, those that every arm ran. names: of all subjects. validation,
    test: by arm, in the order of `blocks`.
    """

    arms: tuple[str, ...]
    blocks: tuple[Block, ...]
    names: np.ndarray
    validation: Mapping[str, Sequence[Fold]]
    test: Mapping[str, Sequence[Fold]]
    _promises: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def repeats(self) -> int:
        """How often all folds were trained anew."""
        return len({repeat for repeat, _ in self.blocks})

    @property
    def folds(self) -> int:
        """The fewest folds of a repeat."""
        by_repeat = groupby(self.blocks, key=lambda block: block[0])
        return min((len(list(blocks)) for _, blocks in by_repeat), default=0)

    def alone(self, arm: str) -> SubjectCounts:
        """The test cells of one arm."""
        return self.counts([arm] * len(self.blocks))

    def counts(self, chosen: Sequence[str]) -> SubjectCounts:
        """The test cells of a composite that takes, block by block, those of a chosen arm."""
        folds = [self.test[arm][number] for number, arm in enumerate(chosen)]
        rows = [
            [folds[number] for number, _ in blocks]
            for _, blocks in groupby(enumerate(self.blocks), key=lambda each: each[1][0])
        ]
        return counted(self.names, rows)

    @cached_property
    def _tested(self) -> list[np.ndarray]:
        """The subjects of each block's test cells."""
        return [np.unique(fold.places) for fold in self.test[self.arms[0]]]

    def promise(self, metric: str) -> np.ndarray:
        """(arms, blocks) float64: how good each arm looks to the networks of the other blocks.

        The mean of the metric over their validation cells, less the subjects that the block
        tests; higher is better, whatever the metric. NaN where nothing is left.
        """
        if metric not in self._promises:
            self._promises[metric] = self._promise(metric)
        return self._promises[metric]

    def _promise(self, metric: str) -> np.ndarray:
        entry = metric_of(metric)
        values = np.full((len(self.arms), len(self.blocks), len(self.blocks)), np.nan)
        for row, arm in enumerate(self.arms):
            for block, tested in enumerate(self._tested):
                for other, fold in enumerate(self.validation[arm]):
                    if other != block:
                        values[row, block, other] = fold.but(tested, entry)
        known = ~np.isnan(values)
        count = known.sum(axis=2)
        means = np.where(known, values, 0.0).sum(axis=2) / np.maximum(count, 1)
        return entry.sign * np.where(count > 0, means, np.nan)


def of_runs(runs: Mapping[str, Mapping[Block, Network]]) -> Networks:
    """The networks of each arm by block; blocks that not all arms have are left out."""
    shared = set.intersection(*(set(blocks) for blocks in runs.values())) if runs else set()
    blocks, arms = tuple(sorted(shared)), tuple(runs)
    every = [runs[arm][block] for arm in arms for block in blocks]
    if not every:
        return Networks(arms=arms, blocks=(), names=np.array([]), validation={}, test={})
    names, folds = numbered([each for one in every for each in (one.validation, one.test)])
    size = 2 * len(blocks)
    by_arm = [folds[start : start + size] for start in range(0, len(folds), size)]
    return Networks(
        arms=arms,
        blocks=blocks,
        names=names,
        validation={arm: own[::2] for arm, own in zip(arms, by_arm, strict=True)},
        test={arm: own[1::2] for arm, own in zip(arms, by_arm, strict=True)},
    )
