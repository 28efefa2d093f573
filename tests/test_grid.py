"""A study's trials: every technique on every seed and fold, each seed on its own split or all."""

from typing import Any

import pytest

from leukemia.errors import UserError
from leukemia.experiment.config import ExperimentConfig
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import resolve
from leukemia.study.grid import Trial, trials
from tests.test_protocol import many


def of(found: list[Trial]) -> list[tuple[int, int, int]]:
    """Split seed, seed and fold of each."""
    return [(each.split_seed, each.seed, each.fold) for each in found]


def test_each_seed_has_a_split_of_its_own() -> None:
    found = trials({"subject": [0, 1]}, [4, 7], ["baseline", "weighted"])
    assert of(found)[::2] == [(4, 4, 0), (4, 4, 1), (7, 7, 0), (7, 7, 1)]
    assert [each.technique for each in found] == ["baseline", "weighted"] * 4


def test_repeats_are_splits_that_every_seed_is_crossed_with() -> None:
    found = trials({"subject": [0, 1]}, [4, 7], ["baseline"], repeats=3)
    assert of(found) == [(s, n, f) for s in (0, 1, 2) for n in (4, 7) for f in (0, 1)]


def test_one_repeat_is_one_split_with_several_networks() -> None:
    assert of(trials({"subject": [0]}, [4, 7], ["baseline"], repeats=1)) == [(0, 4, 0), (0, 7, 0)]


def test_the_official_split_is_not_drawn_again() -> None:
    found = trials({"official": [0], "image": [0]}, [4], ["baseline"], repeats=2)
    assert [(each.protocol, each.split_seed) for each in found] == [
        ("official", 0), ("image", 0), ("image", 1),
    ]  # fmt: skip


def test_a_trial_names_its_split_where_that_is_not_its_seed_s() -> None:
    own, other = trials({"subject": [1]}, [4], ["baseline"])[0], Trial(
        technique="baseline", protocol="subject", split_seed=2, seed=4, fold=1
    )  # fmt: skip
    assert str(own) == "baseline, subject, seed 4, fold 1"
    assert str(other) == "baseline, subject, seed 4, fold 1 of split 2"
    asked = other.options(ExperimentOptions(data="cells", seed=9))
    assert (asked.seed_of_split, asked.seed, asked.fold) == (2, 4, 1)


def test_the_split_s_seed_is_that_of_all_else_unless_it_is_given() -> None:
    assert ExperimentOptions(data="cells", seed=3).seed_of_split == 3
    assert ExperimentOptions(data="cells", seed=3, split_seed=0).seed_of_split == 0


def test_a_run_is_there_already_only_on_its_own_split() -> None:
    def resolved(**seeds: Any) -> ExperimentConfig:
        return resolve(ExperimentOptions(data="cells", backbone="miniature", **seeds))

    index = many(3)
    own, same, other = resolved(seed=1), resolved(seed=1, split_seed=1), resolved(split_seed=1)
    assert own.key(index) == same.key(index)
    assert len({own.key(index), other.key(index), resolved().key(index)}) == 3
    assert own.title == "baseline seed 1 fold 0"
    assert other.title == "baseline seed 0 fold 0 of split 1"


@pytest.mark.parametrize("seeds", [{"seed": -1}, {"split_seed": -1}, {"split_seed": "other"},
                                   {"seed": 2**32}, {"split_seed": 1.5}])  # fmt: skip
def test_a_seed_is_a_whole_number_that_numpy_takes(seeds: dict) -> None:
    (name,) = seeds
    with pytest.raises(UserError, match=rf"^{name} .*expected a whole number from 0 to 4294967295"):
        ExperimentOptions(data="cells", **seeds)
