"""Which run of each arm stands on which seed and fold, and what its network gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from leukemia.evaluation.jackknife import Repeats
from leukemia.ranking import networks
from leukemia.ranking.networks import Block, Network, Networks


@dataclass(frozen=True, kw_only=True)
class Arms:
    """The runs of a ranking.

    runs: arm, by name -> (repeat, fold) -> run ID. cells: run ID -> its network's predictions.
    split_of: repeat -> the seed of its split.
    """

    runs: Mapping[str, Mapping[Block, str]]
    cells: Mapping[str, Network]
    split_of: Mapping[str, int]

    @cached_property
    def even(self) -> bool:
        """Whether all arms ran on the same seeds and folds."""
        first, *others = (set(blocks) for blocks in self.runs.values())
        return all(first == other for other in others)

    @cached_property
    def whole(self) -> Networks:
        """The networks that all arms have."""
        return self._networks(*self.runs)

    def of(self, *arms: str) -> Networks:
        """The networks that these arms all have."""
        return self.whole if self.even else self._networks(*arms)

    def both(self, arm: str, other: str) -> list[Block]:
        """The seeds and folds that both arms ran, in order."""
        return sorted(set(self.runs.get(arm, {})) & set(self.runs.get(other, {})))

    def of_one_seed(self, arm: str, blocks: list[Block]) -> Repeats:
        """The test cells of an arm's runs on the folds of one seed."""
        return [[self.cells[self.runs[arm][block]].test for block in blocks]]

    def splits(self, own: Networks) -> list[int]:
        """The seed of the split of each repeat of these networks, in their order."""
        return [self.split_of[repeat] for repeat in dict.fromkeys(each for each, _ in own.blocks)]

    def _networks(self, *arms: str) -> Networks:
        return networks.of_runs(
            {
                arm: {block: self.cells[run_id] for block, run_id in self.runs[arm].items()}
                for arm in arms
            }
        )


def of_records(records: pd.DataFrame, cells: Mapping[str, Network]) -> Arms:
    """From one row a run: arm, seed, fold, run_id, and split_seed where there is one."""
    runs: dict[str, dict[Block, str]] = {}
    repeats, splits = repeat_of(records), split_of(records)
    columns = (records["arm"], repeats, records["fold"], records["run_id"])
    for arm, repeat, fold, run_id in zip(*columns, strict=True):
        runs.setdefault(str(arm), {})[repeat, int(fold)] = str(run_id)
    return Arms(
        runs=dict(sorted(runs.items())),
        cells=cells,
        split_of=dict(zip(repeats, splits, strict=True)),
    )


def repeats_of(runs: pd.DataFrame, cells: Mapping[str, Network]) -> Repeats:
    """The test cells of one arm's runs: seeds, and within each its folds."""
    return [
        [cells[run_id].test for run_id in of_seed.sort_values("fold")["run_id"]]
        for _, of_seed in runs.groupby(repeat_of(runs))
    ]


def repeat_of(runs: pd.DataFrame) -> pd.Series:
    """Of each run, which repetition of all folds it is part of: its seed, on its split."""
    texts = [
        f"{seed}" if seed == split else f"{seed} of split {split}"
        for seed, split in zip(runs["seed"].astype(int), split_of(runs), strict=True)
    ]
    return pd.Series(texts, index=runs.index, name="repeat", dtype=str)


def split_of(runs: pd.DataFrame) -> pd.Series:
    """The seed of each run's split; runs of before had none, it was that of the run."""
    return runs["split_seed" if "split_seed" in runs else "seed"].astype(int)
