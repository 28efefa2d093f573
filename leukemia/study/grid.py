"""Which trials a study has: techniques, protocols, seeds and folds, one run for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from leukemia.cells import Names
from leukemia.data.index import Index
from leukemia.errors import UserError
from leukemia.experiment.options import ExperimentOptions
from leukemia.splits.protocol import number_of_folds


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run to be: a technique on a seed and a fold of a split under a protocol."""

    technique: str
    protocol: str
    split_seed: int
    seed: int
    fold: int

    def __str__(self) -> str:
        of_split = "" if self.split_seed == self.seed else f" of split {self.split_seed}"
        return f"{self.technique}, {self.protocol}, seed {self.seed}, fold {self.fold}{of_split}"

    def options(self, shared: ExperimentOptions) -> ExperimentOptions:
        """What it is trained with: the options that all trials share, and its own."""
        return replace(
            shared,
            technique=self.technique,
            protocol=self.protocol,
            split_seed=self.split_seed,
            seed=self.seed,
            fold=self.fold,
        )


def folds_of(
    protocols: Sequence[str], index: Index, subjects: Names, wanted: Sequence[int], asked: int
) -> dict[str, list[int]]:
    """The folds to test on under each protocol.

    Args:
        wanted: these of the folds that there are; none: all of them.
        asked: how many folds there are to be, where the protocol leaves it open.

    Raises:
        UserError: too few folds are asked for, none is there of those that are wanted, or the data
            have no official split.
    """
    there = {name: range(number_of_folds(index, subjects, name, asked)) for name in protocols}
    if wanted and not any(fold in folds for folds in there.values() for fold in wanted):
        has = ", ".join(f"{name} has 0 to {len(folds) - 1}" for name, folds in there.items())
        given = ",".join(map(str, wanted))
        raise UserError(f"there is no fold {given} to test on: protocol {has}")
    return {
        name: [fold for fold in folds if not wanted or fold in wanted]
        for name, folds in there.items()
    }


def trials(
    folds: Mapping[str, Sequence[int]],
    seeds: Sequence[int],
    techniques: Sequence[str],
    repeats: int = 0,
) -> list[Trial]:
    """Every trial of a study, the folds of a seed one after another, techniques side by side.

    repeats: how many splits, each crossed with every seed; 0: each seed has a split of its own.
        Protocol `official` has a single one, which is not drawn.
    """
    return [
        Trial(technique=technique, protocol=protocol, split_seed=split_seed, seed=seed, fold=fold)
        for protocol, of_protocol in folds.items()
        for split_seed, seed in _pairs(
            seeds, min(repeats, 1) if protocol == "official" else repeats
        )
        for fold in of_protocol
        for technique in techniques
    ]


def _pairs(seeds: Sequence[int], repeats: int) -> list[tuple[int, int]]:
    """The seeds of split and network that go together."""
    return list(product(range(repeats), seeds)) if repeats else [(seed, seed) for seed in seeds]
