"""Verdicts are right as often as they say: on drawn studies, through the project's own `rank`."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.verdicts import DESIGNS, Design, judged, ranked, study, truth
from leukemia.evaluation import comparison
from leukemia.ranking import networks, power, verdicts
from leukemia.ranking.networks import Block, Network, Networks
from leukemia.ranking.verdicts import Contrast

METRIC = "auroc"
SMALL = Design("small", "scores", 20, 14, 2, 3, luck=0.15, ease=1.04)


def drawn(shift: float, seed: int = 0, design: Design = SMALL) -> dict[str, dict[Block, Network]]:
    return study(design, shift, np.random.default_rng(seed))


def contrasts(of: Networks) -> list[Contrast]:
    return [Contrast(arm=a, against="baseline", why="") for a in of.arms if a != "baseline"]


def test_equal_arms_are_seldom_called_different_and_a_better_one_mostly_is() -> None:
    """7 of 40 would be beyond chance if .06 were the truth; more studies: benchmarks/verdicts."""
    design = next(each for each in DESIGNS if each.name == "correlated")
    small = replace(design, seeds=3, folds=3)
    rng = np.random.default_rng(1)
    true = truth(small, METRIC, rng, studies=30)
    null = [judged(small, 0.0, 0.0, true.metric, METRIC, rng) for _ in range(40)]
    assert sum(each.different for each in null) < 7
    assert sum(each.sure for each in null) < 7
    assert abs(np.mean([each.gain for each in null])) < 0.01
    assert sum(each.gain_held for each in null) > 32
    shift = true.shifts[1]
    assert shift
    better = [judged(small, 0.05, shift, true.metric, METRIC, rng) for _ in range(8)]
    assert sum(each.better for each in better) > 1


def test_a_planned_contrast_has_most_of_the_level_and_gives_it_on() -> None:
    others = np.array([0.004, 0.02, 0.2])
    found, of_others = verdicts.with_planned(0.032, others)
    assert found == pytest.approx(0.04)
    np.testing.assert_allclose(of_others, [0.02, 0.04, 0.2])  # once it differs: what it has
    found, of_others = verdicts.with_planned(0.4, others)
    assert found == 0.5
    np.testing.assert_allclose(of_others, [0.02, 0.1, 0.5])  # else a fifth of the level
    assert verdicts.with_planned(0.9, others)[0] == 1.0


@pytest.mark.parametrize("planned", [("better", "baseline"), ("better", "f"), ("baseline", "c")])
def test_a_plan_changes_no_difference_and_corrects_only_p(planned: tuple[str, str]) -> None:
    """Whichever way round it is named, and where neither is the other's reference."""
    runs = drawn(0.3)
    usual, other = (ranked(runs, METRIC, each).comparisons for each in (None, planned))
    of_pair = other[
        [{a, b} == set(planned) for a, b in zip(other["arm"], other["against"], strict=True)]
    ]
    assert len(of_pair) == 1
    assert of_pair["adjusted"].iloc[0] == pytest.approx(min(of_pair["p"].iloc[0] / 0.8, 1))
    both = usual.merge(other, on=["arm", "against"], suffixes=("", "_planned"))
    assert len(both) >= len(usual) - 1
    for name in ("difference", "lo", "hi", "p"):
        np.testing.assert_array_equal(both[name], both[f"{name}_planned"])
    table = ranked(runs, METRIC, planned).table
    assert table["gain"].notna().sum() == len(table) - 1
    assert table["lead"].notna().sum() == len(table) - 1


@pytest.mark.parametrize("planned", [None, ("better", "c")])
def test_arms_without_a_baseline_are_ranked_with_a_plan_and_without(
    planned: tuple[str, str] | None,
) -> None:
    runs = {arm: drawn(2.0)[arm] for arm in ("better", "c", "d")}
    compared = ranked(runs, METRIC, planned).comparisons
    assert len(compared) == 2
    assert compared["adjusted"].notna().all()
    assert (compared["detectable"] > 0).all()
    if planned:
        first = compared.iloc[0]
        assert (first["arm"], first["against"]) == planned
        assert first["adjusted"] == pytest.approx(first["p"] / verdicts.PLANNED_PART)
        assert compared["adjusted"].iloc[1] < 1  # the leader is compared all the same


def test_two_arms_have_a_plan_s_contrast_alone() -> None:
    runs = {arm: drawn(0.3)[arm] for arm in ("baseline", "better")}
    compared = ranked(runs, METRIC, ("better", "baseline")).comparisons
    assert len(compared) == 1
    row = compared.iloc[0]
    assert row["adjusted"] == pytest.approx(min(row["p"] / verdicts.PLANNED_PART, 1))
    assert row["detectable"] > 0


def test_a_block_s_choice_knows_nothing_of_the_block_s_network_nor_of_its_subjects() -> None:
    runs = drawn(0.0)
    promise = networks.of_runs(runs).promise(METRIC)
    (block, network), *_ = runs["baseline"].items()
    spoilt = replace(network.validation, scores=1 - network.validation.scores)
    runs["baseline"][block] = Network(validation=spoilt, test=network.test)
    other = networks.of_runs(runs).promise(METRIC)
    assert other[0, 0] == promise[0, 0]
    # What that network validates is the next block's test, whose choice leaves it out.
    assert ((other < promise) == [[False, False, True, True, True, True]] + [[False] * 6] * 5).all()
    tested = set(network.test.subjects)
    for each, of_block in runs["baseline"].items():
        gone = np.isin(of_block.validation.subjects, list(tested))
        scores = np.where(gone, 1 - of_block.validation.scores, of_block.validation.scores)
        runs["baseline"][each] = replace(
            of_block, validation=replace(of_block.validation, scores=scores)
        )
    assert networks.of_runs(runs).promise(METRIC)[0, 0] == promise[0, 0]


def test_one_contrast_is_its_own_p_and_more_never_make_it_smaller() -> None:
    of = networks.of_runs(drawn(0.8))
    family = contrasts(of)
    alone = [
        comparison.of_jackknives(*verdicts.gap(of, each.arm, "baseline", METRIC), METRIC).p
        for each in family
    ]
    assert verdicts.adjusted(family[:1], of, METRIC) == pytest.approx(alone[:1])
    adjusted = verdicts.adjusted(family, of, METRIC)
    assert (adjusted >= np.array(alone) - 1e-12).all()
    assert adjusted[0] < 0.05 < adjusted[1:].min()


def test_the_order_of_the_contrasts_does_not_matter() -> None:
    of = networks.of_runs(drawn(0.5))
    family = contrasts(of)
    backwards = verdicts.adjusted(family[::-1], of, METRIC)[::-1]
    assert verdicts.adjusted(family, of, METRIC) == pytest.approx(backwards)


def test_many_contrasts_are_corrected_in_holm_s_way() -> None:
    of = networks.of_runs(drawn(0.5))
    family = contrasts(of) * 3
    alone = [
        comparison.of_jackknives(*verdicts.gap(of, each.arm, "baseline", METRIC), METRIC).p
        for each in family
    ]
    assert len(family) > verdicts.MOST
    expected = comparison.holm(np.array(alone))
    assert verdicts.adjusted(family, of, METRIC) == pytest.approx(expected)


def test_the_worth_of_the_choice_is_that_of_the_arms_which_others_chose() -> None:
    runs = drawn(3.0)
    of = networks.of_runs(runs)
    worth = verdicts.worth(of, METRIC, "baseline")
    assert worth
    assert worth.chosen == {"better": 1.0}
    pair = comparison.of_jackknives(*verdicts.gap(of, "better", "baseline", METRIC), METRIC)
    assert worth.gain == pair
    equal = verdicts.worth(networks.of_runs(drawn(0.0)), METRIC, "baseline")
    assert equal
    assert len(equal.chosen) > 1
    assert sum(equal.chosen.values()) == pytest.approx(1)


def test_the_leader_s_own_luck_is_no_gain() -> None:
    """The best of six equal arms on validation looks better than the baseline; it is not."""
    naive, net = [], []
    for seed in range(30):
        found = ranked(drawn(0.0, seed), METRIC)
        table = found.table.set_index("arm")
        naive.append(table["val"].iloc[0] - table["val"]["baseline"])
        assert found.gain
        net.append(found.gain.value)
    error = np.std(net) / np.sqrt(len(net))
    assert np.mean(naive) > 0.01
    assert abs(np.mean(net)) < 3 * error


def test_a_study_finds_the_difference_that_it_says_it_can_find() -> None:
    """The detectable difference of one pair, added to it, is called different in 4 of 5 studies."""
    found, said = [], []
    for seed in range(60):
        of = networks.of_runs(drawn(0.0, seed))
        first, second = verdicts.gap(of, "c", "baseline", METRIC)
        gap = first.less(second)
        least = power.detectable_with(gap, 1)
        parts = power.components_of(gap)
        said.append((least, power.detectable(parts, subjects=34, seeds=2, folds=3)))
        shifted = comparison.of_jackknives(
            replace(first, whole=first.whole + least, without=first.without + least,
                    without_fold=first.without_fold + least), second, METRIC,
        )  # fmt: skip
        found.append(shifted.p < 0.05)
    assert 0.65 < np.mean(found) <= 0.97
    of_study, of_design = np.mean(said, axis=0)
    assert of_design == pytest.approx(of_study, rel=0.2)
