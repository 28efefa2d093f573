"""Paired comparisons against closed forms, statsmodels, published figures and plain loops."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests

from benchmarks.coverage import Design, draw_arms, draw_cases
from leukemia.errors import UserError
from leukemia.evaluation.comparison import delong, difference, holm, mcnemar
from leukemia.evaluation.intervals import interval
from leukemia.evaluation.metrics import METRICS
from leukemia.evaluation.predictions import Predictions
from tests.test_intervals import predictions, take, with_scores

# Donner & Petryshen 1989: 29 psychiatrists, of each the patients with whom only the patient,
# and only the psychiatrist, named a concern. Chi-square of Obuchowski 1998 as Durkalski et al.
# 2003 report it: 7.19.
ONLY_PATIENT = [0, 1, 1, 1, 0, 3, 3, 3, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 1, 1, 2] + 7 * [0]
ONLY_DOCTOR = [
    4,
    2,
    3,
    2,
    1,
    3,
    0,
    2,
    2,
    4,
    2,
    4,
    3,
    2,
    1,
    3,
    1,
    2,
    0,
    0,
    0,
    2,
    1,
    2,
    2,
    0,
    0,
    1,
    1,
]


def arms(
    subjects: int = 24, cells: int = 20, mixed: bool = False, seed: int = 0
) -> list[Predictions]:
    """Two networks on the same cells, the second a little worse."""
    first = predictions(subjects, cells, mixed, seed)
    rng = np.random.default_rng(seed + 100)
    worse = np.clip(first.scores - 0.04 * (2 * first.labels - 1), 0, 1)
    second = np.clip(worse + rng.normal(0, 0.08, len(first)), 0, 1).round(2)
    return [first, with_scores(first, second.astype(np.float32))]


def alone(cells: Predictions) -> Predictions:
    """Every cell a subject of its own."""
    return Predictions(
        labels=cells.labels, scores=cells.scores, subjects=cells.cell_id, cell_id=cells.cell_id
    )


def test_equal_techniques_differ_by_nothing() -> None:
    a, _ = arms()
    for name in METRICS:
        found = difference([[a]], [[a]], name)
        assert (found.value, found.p) == (0, 1)
        assert found.low < 0 < found.high  # 24 subjects cannot prove that all are alike
    assert delong([[a]], [[a]]).p == mcnemar([[a]], [[a]]).p == 1


@pytest.mark.parametrize("name", METRICS)
def test_the_difference_is_that_of_the_figures_and_mirrors(name: str) -> None:
    a, b = ([[cells]] for cells in arms())
    forth, back = difference(a, b, name), difference(b, a, name)
    assert forth.value == pytest.approx(interval(a, name).value - interval(b, name).value)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-forth.value, -forth.high, -forth.low)
    )
    assert back.p == pytest.approx(forth.p)


def test_p_is_below_five_percent_where_the_interval_leaves_zero_out() -> None:
    seen = set()
    for seed in range(30):
        a, b = ([[cells]] for cells in arms(12, 6, seed=seed))
        for found in (difference(a, b), difference(a, b, "auroc"), delong(a, b)):
            assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
            seen.add(found.p < 0.05)
    assert seen == {True, False}


def test_of_independent_cells_it_is_the_paired_large_sample_interval() -> None:
    a, b = (alone(cells) for cells in arms(2000, 1))
    right = [(cells.scores >= 0.5) == (cells.labels == 1) for cells in (a, b)]
    moved = right[0].astype(float) - right[1]
    half = 1.96 * np.sqrt(sum(moved[a.labels == label].var() / 1000 for label in (0, 1))) / 2
    found = difference([[a]], [[b]])
    expected = (found.value - half, found.value + half)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-4)


def test_subjects_that_both_tested_make_the_interval_narrower() -> None:
    a, b = arms()
    others = Predictions(
        labels=b.labels,
        scores=b.scores,
        subjects=np.char.add("other ", b.subjects),
        cell_id=b.cell_id,
    )
    paired, unpaired = difference([[a]], [[b]]), difference([[a]], [[others]])
    assert unpaired.value == pytest.approx(paired.value)
    assert unpaired.high - unpaired.low > 1.5 * (paired.high - paired.low)


def test_more_cells_like_those_of_a_subject_tell_nothing_new() -> None:
    pair = arms(mixed=True)
    copied = [take(cells, np.repeat(np.arange(len(cells)), 4)) for cells in pair]
    for test in (difference, mcnemar, delong):
        once, often = (test([[a]], [[b]]) for a, b in (pair, copied))
        assert often.p == pytest.approx(once.p)


def test_other_folds_and_other_cells_of_the_same_subjects_can_be_compared() -> None:
    a, b = arms(mixed=True)
    fold = np.random.default_rng(0).integers(3, size=len(a))  # a random split, and another
    halves = [[take(a, fold == number) for number in range(3)]]
    found = difference(halves, [[take(b, fold != 0)]])
    assert found.value == pytest.approx(
        interval([[a]]).value - interval([[take(b, fold != 0)]]).value
    )
    assert found.low < found.value < found.high


def test_the_luck_of_seeds_widens_the_difference() -> None:
    a, b = arms(60, mixed=True)
    lucky = [[with_scores(a, np.clip(a.scores + up, 0, 1))] for up in (-0.2, 0.0, 0.1)]
    steady, shaky = difference([[a]] * 3, [[b]] * 3, "sens"), difference(lucky, [[b]] * 3, "sens")
    assert shaky.high - shaky.low > 3 * (steady.high - steady.low)
    unequal = difference(lucky, [[b]], "sens")  # one technique has been trained once
    assert unequal.value == pytest.approx(shaky.value)
    assert unequal.high - unequal.low > 3 * (steady.high - steady.low)


def test_where_all_subjects_differ_alike_it_is_the_sign_test() -> None:
    cells = predictions(20)
    right, wrong = (with_scores(cells, np.abs(cells.labels - flip)) for flip in (0.1, 0.9))
    found = difference([[right]], [[wrong]])
    assert (found.value, found.high) == (1, 1)
    assert found.p == pytest.approx(2 * 0.5**10)  # 10 subjects a class
    assert 0 < found.low < 1


def test_too_few_subjects_have_no_difference() -> None:
    a, b = ([[cells]] for cells in arms(3))
    assert np.isnan([difference(a, b).value, difference(a, b).p, delong(a, b).p]).all()
    assert np.isfinite(difference(a, b, "spec").p)


def test_techniques_that_differ_by_the_luck_of_seeds_are_seldom_told_apart() -> None:
    design, rng = Design("cnmc", 14, 14, False, 0.85, 0.1, 3), np.random.default_rng(0)
    found = []
    for _ in range(200):
        a, b = draw_arms(design, draw_cases(design, rng), (0.85, 0.85), rng)
        found.append([difference(a, b).p < 0.05, mcnemar(a, b).p < 0.05])
    of_all, of_these = np.mean(found, axis=0)
    assert 0.01 <= of_all <= 0.08  # 0.05, Monte-Carlo error 0.015
    assert of_these > 0.12  # these very networks do differ, which says nothing of others


@pytest.mark.parametrize(("subjects", "exact"), [(30, True), (600, False)])
def test_mcnemar_of_one_cell_a_subject_is_statsmodels(subjects: int, exact: bool) -> None:
    a, b = (alone(cells) for cells in arms(subjects, 1))
    right = [((cells.scores >= 0.5) == (cells.labels == 1)) for cells in (a, b)]
    table = np.array([[np.sum((right[0] == i) & (right[1] == j)) for j in (1, 0)] for i in (1, 0)])
    reference = contingency_tables.mcnemar(table, exact=exact, correction=False)
    found = mcnemar([[a]], [[b]])
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.only_a, found.only_b) == (table[0, 1], table[1, 0])
    assert ("exact" in found.method) == exact


def test_clustered_mcnemar_gives_the_published_figure() -> None:
    counts = np.array([ONLY_PATIENT, ONLY_DOCTOR])
    subjects = np.concatenate([np.repeat(np.arange(29), each) for each in counts])
    first = np.repeat([1.0, 0.0], counts.sum(axis=1))
    cell_id = np.arange(len(first)).astype(str)
    labels = np.ones(len(first), np.int8)
    a, b = (
        Predictions(labels=labels, scores=scores, subjects=subjects.astype(str), cell_id=cell_id)
        for scores in (first, 1 - first)
    )
    found = mcnemar([[a]], [[b]])
    assert (found.only_a, found.only_b) == (21, 50)
    # Without discordant patients a psychiatrist adds nothing to either sum, but counts in K.
    assert round(found.statistic * 28 / 29, 2) == 7.19


def test_cells_are_paired_by_file_whatever_their_order_and_fold() -> None:
    a, b = arms()
    order = np.random.default_rng(0).permutation(len(b))
    folds = [take(b, order[:200]), take(b, order[200:])]
    assert mcnemar([[a]], [folds]) == mcnemar([[a]], [[b]])


def test_other_cells_are_refused() -> None:
    a, b = arms()
    for test in (mcnemar, delong):
        with pytest.raises(
            UserError, match=r"seed 0: 480 cells against 470, 470 of them in common"
        ):
            test([[a]], [[take(b, np.arange(470))]])
        with pytest.raises(UserError, match=r"2 seeds against 1"):
            test([[a], [a]], [[b]])


def plain_delong(a: Predictions, b: Predictions) -> tuple[float, float]:
    """Difference and standard error by DeLong's equations, pair by pair."""
    positive = a.labels == 1
    areas, of_positive, of_negative = [], [], []
    for scores in (a.scores, b.scores):
        ahead = scores[positive][:, None] - scores[~positive]
        kernel = (ahead > 0) + (ahead == 0) / 2
        areas.append(kernel.mean())
        of_positive.append(kernel.mean(axis=1))
        of_negative.append(kernel.mean(axis=0))
    parts = np.cov(of_positive) / positive.sum() + np.cov(of_negative) / (~positive).sum()
    return areas[0] - areas[1], np.sqrt(parts[0, 0] + parts[1, 1] - 2 * parts[0, 1])


def test_delong_of_one_cell_a_subject_is_delong() -> None:
    a, b = (alone(cells) for cells in arms(300, 1))
    gap, error = plain_delong(a, b)
    found = delong([[a]], [[b]])
    areas = [roc_auc_score(cells.labels, cells.scores) for cells in (a, b)]
    assert found.value == pytest.approx(gap) == pytest.approx(areas[0] - areas[1])
    expected = (gap - 1.959964 * error, gap + 1.959964 * error)
    assert (found.low, found.high) == pytest.approx(expected)


def obuchowski(a: Predictions, b: Predictions) -> float:
    """Standard error of the difference by Obuchowski's equations, subject by subject."""
    positive, names = a.labels == 1, np.unique(a.subjects)
    moved = []
    for scores in (a.scores, b.scores):
        ahead = scores[positive][:, None] - scores[~positive]
        kernel = (ahead > 0) + (ahead == 0) / 2 - np.mean((ahead > 0) + (ahead == 0) / 2)
        first, second = kernel.mean(axis=1), kernel.mean(axis=0)
        moved.append(
            [
                (
                    first[a.subjects[positive] == name].sum(),
                    second[a.subjects[~positive] == name].sum(),
                )
                for name in names
            ]
        )
    first, second = (np.array(moved[0]) - moved[1]).T / [[positive.sum()], [(~positive).sum()]]
    count = len(names)  # all of them have both classes
    return np.sqrt(count / (count - 1) * np.sum((first + second) ** 2))


def test_delong_of_subjects_with_both_classes_is_obuchowski() -> None:
    a, b = arms(30, mixed=True)
    found = delong([[a]], [[b]])
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * obuchowski(a, b))


def test_delong_takes_each_fold_and_seed_by_itself() -> None:
    a, b = arms(40)
    first = np.isin(a.subjects, np.unique(a.subjects)[:20])
    folds = [[take(cells, first), take(cells, ~first)] for cells in (a, b)]
    areas = [
        np.mean([roc_auc_score(fold.labels, fold.scores) for fold in of_arm]) for of_arm in folds
    ]
    found = delong([folds[0]] * 2, [folds[1]] * 2)
    assert found.value == pytest.approx(areas[0] - areas[1])
    assert found.p == pytest.approx(delong([folds[0]], [folds[1]]).p)  # a seed told twice


def test_holm_is_statsmodels_and_leaves_nan_alone() -> None:
    p = np.array([0.04, 0.001, 0.3, 0.012, 0.012, 0.9])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm(np.array([0.02, np.nan, 0.5])) == pytest.approx([0.04, np.nan, 0.5], nan_ok=True)
    assert holm(np.array([])).size == 0


def test_each_network_s_cells_are_called_at_its_own_threshold() -> None:
    a, b = arms()
    low = replace(b, threshold=0.4)
    called = with_scores(b, np.where(b.scores >= 0.4, 0.75, 0.25).astype(np.float32))
    for test in (mcnemar, difference):
        assert test([[a]], [[low]]) == test([[a]], [[called]])
        assert test([[a]], [[low]]) != test([[a]], [[b]])
    assert delong([[a]], [[low]]) == delong([[a]], [[b]])
    half = np.arange(len(b)) < 240  # two folds with a threshold each
    mixed = [[take(low, half), take(b, ~half)]]
    right = np.concatenate([low.right[half], b.right[~half]])
    assert mcnemar([[a]], mixed).only_b == np.sum(right & ~a.right)
