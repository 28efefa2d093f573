"""Intervals against closed forms, scikit-learn, and draws whose true figures are known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from benchmarks.coverage import METRICS as COVERED
from benchmarks.coverage import Design, draw_arms, draw_cases, holds, truth
from leukemia.errors import UserError
from leukemia.evaluation.intervals import Interval, interval, intervals
from leukemia.evaluation.jackknife import leave_out, subject_counts
from leukemia.evaluation.metrics import METRICS, metrics
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import TAIL


def predictions(subjects: int, cells: int = 20, mixed: bool = False, seed: int = 0) -> Predictions:
    """Cells that are as good as their subject; every second subject is positive, or all both."""
    rng = np.random.default_rng(seed)
    of_cell = np.repeat(np.arange(subjects), cells)
    labels = of_cell % 2 if not mixed else np.arange(len(of_cell)) % 2
    centre = 0.4 + 0.2 * labels + rng.normal(0, 0.1, subjects)[of_cell]
    scores = np.clip(rng.normal(centre, 0.15), 0, 1).round(2)  # with ties
    cell_id = np.char.mod("%05d", np.arange(len(of_cell)))
    return Predictions(
        labels=labels.astype(np.int8),
        scores=scores.astype(np.float32),
        subjects=np.char.mod("s%03d", of_cell),
        cell_id=cell_id,
    )


def take(cells: Predictions, rows: np.ndarray) -> Predictions:
    columns = ("labels", "scores", "subjects", "cell_id")
    return replace(cells, **{name: getattr(cells, name)[rows] for name in columns})


def ends(found: Interval) -> tuple[float, float]:
    return found.low, found.high


def with_scores(cells: Predictions, scores: np.ndarray) -> Predictions:
    return replace(cells, scores=scores)


@pytest.mark.parametrize("mixed", [False, True])
def test_every_value_is_the_metric_of_the_cells(mixed: bool) -> None:
    cells = predictions(20, mixed=mixed)
    expected = metrics(cells.labels, cells.scores)
    expected["brier"] = brier_score_loss(cells.labels, cells.scores)
    found = {name: each.value for name, each in intervals(cells).items()}
    assert found == pytest.approx(expected)


def test_counts_are_pooled_over_folds_and_averaged_over_seeds() -> None:
    first, second = predictions(20), predictions(20, seed=1)
    half = np.arange(len(first)) < 150
    repeats = [[take(first, half), take(first, ~half)], [second]]
    pooled = [name for name, each in METRICS.items() if each.of_counts or each.penalty]
    for name in pooled:
        of_seeds = [metrics(cells.labels, cells.scores)[name] for cells in (first, second)]
        assert interval(repeats, name).value == pytest.approx(np.mean(of_seeds))


@pytest.mark.parametrize("name", ["auroc", "auprc", "sens90s", "spec95s"])
def test_metrics_of_scores_are_averaged_over_the_folds_that_have_both_classes(name: str) -> None:
    cells = predictions(20)
    folds = [np.arange(0, 100), np.arange(100, 360), np.arange(360, 380)]  # the last: one subject
    of_folds = [metrics(cells.labels[rows], cells.scores[rows])[name] for rows in folds[:2]]
    found = interval([[take(cells, rows) for rows in folds]], name)
    assert found.value == pytest.approx(np.mean(of_folds))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    "name", ["auroc", "auprc", "sens90s", "spec95s", "sens", "spec", "bal_acc", "gmean"]
)
def test_leaving_a_subject_out_is_to_look_at_the_others(name: str, mixed: bool) -> None:
    cells = predictions(12, mixed=mixed)
    left = leave_out(subject_counts([[cells]]), name)
    for subject, found in zip(left.names, left.without[0], strict=True):
        kept = cells.subjects != subject
        assert found == pytest.approx(metrics(cells.labels[kept], cells.scores[kept])[name])


def test_the_interval_of_independent_cells_is_the_binomial_one() -> None:
    cells = predictions(2000, cells=1)
    found = metrics(cells.labels, cells.scores)
    sens = found["sens"] * (1 - found["sens"]) / 1000
    spec = found["spec"] * (1 - found["spec"]) / 1000
    for name, variance in (("sens", sens), ("spec", spec), ("bal_acc", (sens + spec) / 4)):
        half = 1.96 * np.sqrt(variance)
        expected = (found[name] - half, found[name] + half)
        assert ends(interval([[cells]], name)) == pytest.approx(expected, abs=0.0015)


@pytest.mark.parametrize("mixed", [False, True])
def test_more_cells_like_those_of_a_subject_tell_nothing_new(mixed: bool) -> None:
    cells = predictions(20, mixed=mixed)
    copied = take(cells, np.tile(np.arange(len(cells)), 5))
    once, often = intervals(cells), intervals(copied)
    for name in METRICS:
        assert ends(often[name]) == pytest.approx(ends(once[name]), abs=1e-6)  # ties in auprc


def test_the_order_of_cells_is_of_no_account() -> None:
    cells = predictions(20)
    shuffled = take(cells, np.random.default_rng(0).permutation(len(cells)))
    for name, found in intervals(shuffled).items():
        assert ends(found) == pytest.approx(ends(intervals(cells)[name]))


def test_calls_are_counted_at_the_threshold() -> None:
    cells = predictions(20, mixed=True)
    low = replace(cells, threshold=0.4)
    called = with_scores(cells, np.where(cells.scores >= 0.4, 0.75, 0.25).astype(np.float32))
    for name, found in intervals(low).items():
        same = called if METRICS[name].of_counts else cells
        assert found == interval([[same]], name)
    assert intervals(low)["sens"].value > intervals(cells)["sens"].value


@pytest.mark.parametrize("name", ["mcc", "kappa"])
def test_a_correlation_s_interval_may_reach_below_0(name: str) -> None:
    cells = predictions(12)
    useless = with_scores(cells, np.random.default_rng(0).random(len(cells)).astype(np.float32))
    found = interval([[useless]], name)
    assert found.low < 0 < found.high


def test_the_interval_widens_when_subjects_are_few() -> None:
    cells = predictions(16, cells=50)
    alone = Predictions(
        labels=cells.labels, scores=cells.scores, subjects=cells.cell_id, cell_id=cells.cell_id
    )
    low, high = ends(interval([[cells]]))
    as_if_independent = ends(interval([[alone]]))
    assert high - low > 2.5 * np.diff(as_if_independent)[0]


def test_seeds_that_say_the_same_are_as_good_as_one() -> None:
    cells = predictions(20)
    for name in METRICS:
        found = interval([[cells]] * 3, name)
        assert ends(found) == pytest.approx(ends(interval([[cells]], name)))


def test_seeds_that_differ_widen_the_interval() -> None:
    cells = predictions(40, mixed=True)
    lucky = [with_scores(cells, np.clip(cells.scores + up, 0, 1)) for up in (-0.15, 0, 0.15)]
    found, same = interval([[each] for each in lucky], "sens"), interval([[cells]] * 3, "sens")
    assert found.high - found.low > 2 * (same.high - same.low)
    assert found.method.endswith("networks")


def test_a_shade_that_helps_one_class_and_harms_the_other_is_no_error_of_their_mean() -> None:
    cells = predictions(40, cells=60, mixed=True)
    found = intervals(cells)
    sens, spec = ((found[name].high - found[name].low) / 2 for name in ("sens", "spec"))
    both = (found["bal_acc"].high - found["bal_acc"].low) / 2
    assert both < 0.6 * np.hypot(sens, spec) / 2


def test_where_no_subject_errs_each_subject_counts_as_one_cell() -> None:
    cells = predictions(30)
    perfect = intervals(with_scores(cells, cells.labels * 0.8 + 0.1))
    bound = TAIL ** (1 / 15)  # of 15 subjects of a class
    for name in ("sens", "spec", "auroc", "auprc"):
        assert ends(perfect[name]) == pytest.approx((bound, 1))
    assert ends(perfect["bal_acc"]) == pytest.approx((1 - (1 - bound) / np.sqrt(2), 1))
    assert "exact" in perfect["bal_acc"].method
    assert perfect["brier"].low < perfect["brier"].value < perfect["brier"].high < 0.13


def test_a_network_that_errs_in_one_class_only_is_bounded_in_the_other() -> None:
    cells = predictions(30)
    found = intervals(with_scores(cells, np.where(cells.labels == 1, 0.9, cells.scores)))
    assert ends(found["sens"]) == pytest.approx((TAIL ** (1 / 15), 1))
    assert "exact" in found["bal_acc"].method
    assert "exact" not in found["spec"].method
    assert found["bal_acc"].value - found["bal_acc"].low > (1 - TAIL ** (1 / 15)) / 2


def test_one_score_for_all_has_an_interval_of_some_width() -> None:
    cells = predictions(20)
    for name, found in intervals(with_scores(cells, np.full(len(cells), 0.7))).items():
        assert found.low < found.value or found.high > found.value, name


@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_the_value_and_stay_in_range(seed: int) -> None:
    for mixed in (False, True):
        for name, found in intervals(predictions(4 + seed, 1 + 2 * seed, mixed, seed)).items():
            if not np.isnan(found.low):
                least, most = METRICS[name].bounds
                assert least <= found.low <= found.value <= found.high <= most, name


def test_fewer_than_two_subjects_of_a_class_have_no_interval() -> None:
    found = intervals(predictions(3))  # two negative ones, one positive
    assert np.isnan([ends(found[name]) for name in METRICS if name != "spec"]).all()
    assert np.isfinite(ends(found["spec"])).all()
    assert np.isfinite([found[name].value for name in METRICS]).all()
    assert "too few" in found["bal_acc"].method


def test_one_class_alone_has_its_own_figures_without_warnings() -> None:
    cells = predictions(20)
    found = intervals(take(cells, cells.labels == 1))
    assert found["acc"].value == pytest.approx(found["sens"].value)
    assert np.isnan([found[name].value for name in ("spec", "bal_acc", "auroc")]).all()
    assert np.isfinite(ends(found["sens"])).all()


def test_a_metric_that_there_is_not_and_seeds_without_cells_are_refused() -> None:
    cells = predictions(4)
    with pytest.raises(UserError, match=r"no metric 'accuracy': expected one of loss, acc"):
        interval([[cells]], "accuracy")
    with pytest.raises(UserError, match=r"expected some of every seed"):
        interval([[cells], []])


def test_the_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    design = Design("cnmc", 14, 14, False, 0.85, 0.15, 1)
    rng, true = np.random.default_rng(0), truth(design)
    held = []
    for _ in range(400):
        cells = draw_arms(design, draw_cases(design, rng), (design.accuracy,), rng)[0]
        held.append([holds(interval(cells, name), true[name]) for name in COVERED])
    shares = np.mean(held, axis=0)
    assert ((shares >= 0.93) & (shares <= 0.99)).all(), shares  # 0.95, Monte-Carlo error 0.011
