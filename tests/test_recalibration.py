"""Calibration slope and intercept against closed forms, statsmodels, refits and drawn cells."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from benchmarks.calibration import Law, draw, truth
from benchmarks.coverage import draw_cases
from leukemia.errors import UserError
from leukemia.evaluation import logistic
from leukemia.evaluation.calibration import expected_calibration_error
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.recalibration import (
    STATISTICS,
    difference_of,
    interval_of,
    measure,
    prior_corrected,
    shift_prior,
)
from tests.test_intervals import predictions, take, with_scores


def of(labels: np.ndarray, scores: np.ndarray, subjects: np.ndarray | None = None) -> Predictions:
    names = np.char.mod("%05d", np.arange(len(labels)))
    return Predictions(
        labels=labels.astype(np.int8),
        scores=scores,
        subjects=names if subjects is None else subjects,
        cell_id=names,
    )


def value(cells: Predictions, name: str) -> float:
    return interval_of([[cells]], name).value


def without(cells: Predictions, subject: str) -> Predictions:
    return take(cells, cells.subjects != subject)


def test_two_scores_that_come_true_otherwise_have_the_line_through_both() -> None:
    labels = np.repeat([1, 0, 1, 0], [3, 7, 6, 4])  # three of ten at .1, six of ten at .8
    cells = of(labels, np.repeat([0.1, 0.8], 10))
    slope = (logit(0.6) - logit(0.3)) / (logit(0.8) - logit(0.1))
    assert value(cells, "slope") == pytest.approx(slope)
    assert value(cells, "intercept") == pytest.approx(logit(0.6) - slope * logit(0.8))


def test_the_shift_of_one_score_is_from_its_log_odds_to_those_of_the_share() -> None:
    cells = of(np.repeat([1, 0], [3, 7]), np.full(10, 0.8))
    assert value(cells, "citl") == pytest.approx(logit(0.3) - logit(0.8))


def test_slope_and_intercept_are_those_of_statsmodels() -> None:
    cells = predictions(20, mixed=True)
    odds = logit(cells.scores.astype(np.float64).clip(1e-7, 1 - 1e-7))
    fitted = sm.Logit(cells.labels, sm.add_constant(odds)).fit(disp=0)
    found = [value(cells, name) for name in ("intercept", "slope")]
    assert found == pytest.approx(fitted.params, rel=1e-6)
    shifted = sm.GLM(
        cells.labels, np.ones(len(cells)), family=sm.families.Binomial(), offset=odds
    ).fit()
    assert value(cells, "citl") == pytest.approx(shifted.params[0], rel=1e-6)


def test_the_error_is_the_expected_calibration_error_also_without_each_subject() -> None:
    cells = predictions(12)
    left = measure([[cells]], "ece").jackknife
    assert left.value == pytest.approx(expected_calibration_error(cells.labels, cells.scores))
    for name, found in zip(left.names, left.without[0], strict=True):
        kept = without(cells, name)
        assert found == pytest.approx(expected_calibration_error(kept.labels, kept.scores))


@pytest.mark.parametrize("name", ["slope", "intercept", "citl"])
def test_leaving_a_subject_out_is_to_fit_anew(name: str) -> None:
    cells = predictions(20, mixed=True)
    left = measure([[cells]], name).jackknife
    anew = np.array([value(without(cells, each), name) for each in left.names])
    np.testing.assert_allclose(left.without[0], anew, rtol=1e-6)


@pytest.mark.parametrize("name", ["slope", "intercept", "citl"])
def test_of_very_many_subjects_one_step_is_as_good(name: str, monkeypatch) -> None:
    cells = predictions(300, 2, mixed=True)
    anew = measure([[cells]], name).jackknife.without
    monkeypatch.setattr(logistic, "MOST", 0)
    one_step = measure([[cells]], name).jackknife.without
    assert not np.array_equal(one_step, anew)
    np.testing.assert_allclose(one_step, anew, atol=0.1 * np.ptp(anew))


def test_the_folds_of_a_seed_are_pooled_and_seeds_are_averaged() -> None:
    first, second = predictions(20, mixed=True), predictions(20, mixed=True, seed=1)
    half = np.arange(len(first)) < 170
    for name in STATISTICS:
        of_seeds = np.mean([value(cells, name) for cells in (first, second)])
        folds = [[take(first, half), take(first, ~half)], [second]]
        assert interval_of(folds, name).value == pytest.approx(of_seeds)


def test_sharper_scores_have_a_flatter_slope_and_a_shift_is_found_again() -> None:
    cells = predictions(20, mixed=True)
    odds = logit(cells.scores.astype(np.float64).clip(0.01, 0.99))
    plain, sharp, moved = (of(cells.labels, expit(each)) for each in (odds, 2 * odds, odds + 1))
    assert value(sharp, "slope") == pytest.approx(value(plain, "slope") / 2)
    assert value(moved, "slope") == pytest.approx(value(plain, "slope"))
    assert value(moved, "citl") == pytest.approx(value(plain, "citl") - 1)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (of(np.arange(40) % 2, np.where(np.arange(40) % 2, 0.9, 0.2)), "separate"),
        (of(np.arange(40) % 2, np.where(np.arange(40) % 2, 1.0, 0.0)), "separate"),
        (of(np.arange(40) % 2, np.where(np.arange(40) % 2, 0.1, 0.7)), "separate"),
        (of(np.arange(40) % 2, np.full(40, 0.7)), "all equal"),
        (of(np.ones(40), np.linspace(0.1, 0.9, 40)), "too few subjects"),
    ],
    ids=["apart", "at the ends", "the wrong way round", "equal", "one class"],
)
def test_where_there_is_no_slope_there_is_a_reason(cells: Predictions, reason: str) -> None:
    found = interval_of([[cells]], "slope")
    assert np.isnan([found.value, found.low, found.high]).all()
    assert reason in found.reason
    assert reason in difference_of([[cells]], [[cells]], "slope").reason
    assert np.isfinite(value(cells, "ece"))


def test_the_subject_without_which_the_classes_separate_is_named() -> None:
    cells = predictions(20)
    apart = np.where(cells.labels == 1, 0.9, 0.1)
    apart[(cells.labels == 1) & (cells.subjects == "s001")] = 0.05
    apart[(cells.labels == 0) & (cells.subjects == "s002")] = 0.3
    found = interval_of([[with_scores(cells, apart)]], "slope")
    assert found.reason.startswith("without subject s001 the scores separate")
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high]).all()
    for name in ("ece", "citl"):
        other = interval_of([[with_scores(cells, apart)]], name)
        assert other.low <= other.value <= other.high


def test_more_cells_like_those_of_a_subject_tell_nothing_new() -> None:
    cells = predictions(20, mixed=True)
    copied = take(cells, np.tile(np.arange(len(cells)), 3))
    for name in STATISTICS:
        once, often = interval_of([[cells]], name), interval_of([[copied]], name)
        assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_equal_networks_do_not_differ_and_differences_mirror() -> None:
    a, b = predictions(20, mixed=True), predictions(20, mixed=True, seed=3)
    for name in STATISTICS:
        same = difference_of([[a]], [[a]], name)
        assert (same.value, same.p) == (0, 1)
        first, second = (measure([[cells]], name) for cells in (a, b))
        assert difference_of(first, second, name) == difference_of([[a]], [[b]], name)
        assert vars(interval_of(first, name)) == pytest.approx(
            vars(interval_of([[a]], name)), nan_ok=True
        )
        forth, back = difference_of([[a]], [[b]], name), difference_of([[b]], [[a]], name)
        assert (back.value, back.low, back.high) == pytest.approx(
            (-forth.value, -forth.high, -forth.low)
        )
        assert (forth.p < 0.05) == (forth.low > 0 or forth.high < 0)


def test_pairing_takes_off_what_both_networks_share() -> None:
    cells = predictions(24)
    odds = logit(cells.scores.astype(np.float64).clip(0.01, 0.99))
    a, b = (of(cells.labels, expit(each), cells.subjects) for each in (odds, odds + 0.5))
    gap = difference_of([[a]], [[b]], "citl")
    assert gap.value == pytest.approx(0.5)
    alone = interval_of([[a]], "citl")
    assert gap.high - gap.low < 0.2 * (alone.high - alone.low)
    assert gap.p < 1e-6


def test_what_chance_adds_lies_within_the_interval() -> None:
    law, rng = Law(14, 14, 0.9, 0.2), np.random.default_rng(4)
    for _ in range(5):
        (runs,) = draw((law,), draw_cases(law.design, rng), rng)
        error, slope = interval_of(runs, "ece"), interval_of(runs, "slope")
        assert error.low == 0 < error.value < error.high
        too_high = measure(runs, "slope").too_high
        assert (slope.value - slope.low) - (slope.high - slope.value) == pytest.approx(too_high)


def test_networks_that_differ_widen_the_interval_of_several_seeds() -> None:
    cells, rng = predictions(40, mixed=True), np.random.default_rng(0)
    odds = logit(cells.scores.astype(np.float64).clip(0.01, 0.99))
    half = cells.subjects < "s020"

    def of_seeds(luck: float) -> list[list[Predictions]]:
        moved = [odds + np.where(half, *rng.normal(0, luck, 2)) for _ in range(3)]
        seeds = [of(cells.labels, expit(each), cells.subjects) for each in moved]
        return [[take(seed, half), take(seed, ~half)] for seed in seeds]

    same, lucky = interval_of(of_seeds(0.0), "citl"), interval_of(of_seeds(0.8), "citl")
    one = interval_of(of_seeds(0.0)[:1], "citl")
    assert (same.high - same.low) >= 0.9 * (one.high - one.low)
    assert lucky.high - lucky.low > 1.5 * (same.high - same.low)


def test_a_statistic_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="no statistic 'brier': expected one of ece, slope"):
        interval_of([[predictions(4)]], "brier")


def test_a_prior_that_stays_changes_no_score_and_another_shifts_the_odds_by_their_ratio() -> None:
    scores = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(shift_prior(scores, 0.4, 0.4), scores)
    # Elkan 2001, theorem 2, as it is printed: b' (p - p b) / (b - p b + b' p - b b').
    before, after = 0.5, 0.2
    printed = after * (scores - scores * before) / (
        before - scores * before + after * scores - before * after
    )  # fmt: skip
    np.testing.assert_allclose(shift_prior(scores, before, after), printed)


def test_correcting_the_prior_moves_the_threshold_along_so_that_no_call_changes() -> None:
    cells = replace(predictions(20), threshold=0.35)
    corrected = prior_corrected(cells, 0.5, 0.2)
    assert (corrected.calls == cells.calls).all()
    assert (corrected.scores <= cells.scores + 1e-6).all()


def test_a_logistic_regression_that_was_re_weighted_is_mended() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(40_000) < 0.1).astype(np.int8)
    evidence = rng.normal(1.5 * labels)[:, None]
    train, test = np.arange(20_000), np.arange(20_000, 40_000)
    model = LogisticRegression(class_weight="balanced").fit(evidence[train], labels[train])
    cells = of(labels[test], model.predict_proba(evidence[test])[:, 1])
    mended = prior_corrected(cells, 0.5, labels[train].mean())
    before, after = interval_of([[cells]], "citl"), interval_of([[mended]], "citl")
    assert before.high < -1.5
    assert after.low < 0 < after.high
    assert value(cells, "ece") > 0.15
    assert value(mended, "ece") < 0.01
    assert value(mended, "slope") == pytest.approx(value(cells, "slope"))
    slope = interval_of([[mended]], "slope")
    assert slope.low < 1 < slope.high


@pytest.mark.parametrize("law", [Law(14, 14, 0.9, 0.2), Law(14, 14, 0.9, 0.2, 1, 0.5, 0.7)])
def test_the_intervals_hold_the_truth_about_as_often_as_they_promise(law: Law) -> None:
    rng, true, held = np.random.default_rng(0), truth(law), []
    for _ in range(200):
        (runs,) = draw((law,), draw_cases(law.design, rng), rng)
        found = [interval_of(runs, name) for name in true]
        pairs = zip(found, true.values(), strict=True)
        held.append([each.low <= value <= each.high for each, value in pairs])
    shares = np.mean(held, axis=0)
    assert ((shares >= 0.9) & (shares <= 0.99)).all(), (
        shares
    )  # 0.95, Monte-Carlo error 0.015; the error of calibration holds .92 here
