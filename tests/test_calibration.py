"""Calibration against closed forms, scikit-learn, and cells drawn with a known temperature."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from leukemia.evaluation.calibration import (
    TEMPERATURES,
    expected_calibration_error,
    fit_temperature,
    reliability,
    rescale,
)
from leukemia.evaluation.metrics import brier


def drawn(temperature: float = 1.0, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels that come true as often as logits / temperature say, and the scores as given."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 2, n)
    labels = (rng.random(n) < expit(logits / temperature)).astype(np.int8)
    return labels, expit(logits).astype(np.float32)


def test_scores_that_come_true_have_no_error() -> None:
    labels = np.repeat([1, 0, 1, 0], [3, 7, 8, 2])
    scores = np.repeat([0.3, 0.8], [10, 10])
    assert expected_calibration_error(labels, scores) == pytest.approx(0)


@pytest.mark.parametrize("score", [0.99, 0.51], ids=["too sure", "not sure enough"])
def test_one_bin_is_wrong_by_share_less_score(score: float) -> None:
    labels = np.repeat([1, 0], [7, 3])
    error = expected_calibration_error(labels, np.full(10, score))
    assert error == pytest.approx(abs(0.7 - score))


def test_the_error_weighs_bins_by_their_cells() -> None:
    labels = np.array([1, 1, 1, 0])  # three cells off by 0.1, one by 0.4
    scores = np.array([0.9, 0.9, 0.9, 0.4])
    assert expected_calibration_error(labels, scores) == pytest.approx((3 * 0.1 + 0.4) / 4)


@pytest.mark.parametrize(("equal_count", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_bins_are_those_of_scikit_learn(equal_count: bool, strategy: str) -> None:
    labels, scores = drawn(2.0, 500)
    bins = reliability(labels, scores, 7, equal_count)
    shares, means = calibration_curve(
        labels, scores.astype(np.float64), n_bins=7, strategy=strategy
    )
    full = bins.count > 0
    np.testing.assert_allclose(bins.positive_share[full], shares)
    np.testing.assert_allclose(bins.mean_score[full], means)
    assert bins.count.sum() == 500
    assert len(bins.edges) == 8


def test_equal_counts_are_equal_and_keep_equal_scores_together() -> None:
    labels, scores = drawn(n=1000)
    assert reliability(labels, scores, 10, equal_count=True).count.tolist() == [100] * 10
    same = reliability(labels, np.full(1000, 0.25), 10, equal_count=True)
    assert same.count.max() == 1000
    assert same.error == pytest.approx(abs(labels.mean() - 0.25))


def test_empty_bins_have_no_share_and_the_ends_belong_to_a_bin() -> None:
    bins = reliability(np.array([0, 1]), np.array([0.0, 1.0]), 4)
    assert bins.count.tolist() == [1, 0, 0, 1]
    assert np.isnan(bins.positive_share).tolist() == [False, True, True, False]
    assert bins.error == 0


def test_brier_is_what_scikit_learn_says_and_its_closed_forms() -> None:
    labels, scores = drawn(n=300)
    assert brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores))
    assert brier(labels, np.full(300, 0.5)) == 0.25
    assert brier(labels, labels) == 0


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_drawn_cells_is_found(temperature: float) -> None:
    labels, scores = drawn(temperature)
    found = fit_temperature(labels, scores)
    assert found.value == pytest.approx(temperature, rel=0.05)  # about two standard errors
    assert found.loss_after <= found.loss_before
    assert not found.at_bound
    assert expected_calibration_error(labels, rescale(scores, found.value)) < 0.015


def test_no_other_temperature_has_a_lower_loss() -> None:
    labels, scores = drawn(2.0, 400)
    logits = np.log(scores.astype(np.float64)) - np.log1p(-scores.astype(np.float64))
    low, high = np.log(TEMPERATURES)
    grid = np.exp(np.linspace(low, high, 4000))
    losses = [np.logaddexp(0, np.where(labels == 1, -1, 1) * logits / t).mean() for t in grid]
    found = fit_temperature(labels, scores)
    assert found.value == pytest.approx(grid[np.argmin(losses)], rel=0.002)
    assert found.loss_after <= min(losses)


def test_scores_that_separate_or_mislead_end_at_a_bound_and_say_so() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    separating = fit_temperature(labels, scores)
    misleading = fit_temperature(1 - labels, scores)
    assert separating.value == pytest.approx(TEMPERATURES[0], rel=0.01)
    assert misleading.value == pytest.approx(TEMPERATURES[1], rel=0.01)
    assert separating.at_bound
    assert misleading.at_bound
    assert "stopped at a bound (0.05 or 20)" in separating.text
    assert "bound" not in fit_temperature(*drawn(2.0, 200)).text


def test_scores_of_a_half_leave_the_temperature_at_1() -> None:
    assert fit_temperature(np.array([0, 1, 1]), np.full(3, 0.5)).value == 1


@pytest.mark.parametrize("temperature", [*TEMPERATURES, 1.7])
def test_a_temperature_keeps_the_order_and_every_call(temperature: float) -> None:
    rng = np.random.default_rng(2)
    half = np.float32(0.5)
    edge = [0, 1, half, np.nextafter(half, half - 1), np.nextafter(half, half + 1)]
    scores = np.concatenate([np.array(edge, np.float32), rng.random(500, np.float32)])
    corrected = rescale(scores, temperature)
    assert np.all(np.diff(corrected[np.argsort(scores)]) >= 0)
    np.testing.assert_array_equal(corrected >= 0.5, scores >= 0.5)
    assert np.isfinite(corrected).all()


def test_temperature_1_changes_nothing_and_2_halves_the_logit() -> None:
    scores = np.array([0.1, 0.5, 0.8])
    np.testing.assert_allclose(rescale(scores, 1.0), scores)
    np.testing.assert_allclose(rescale(np.array([expit(3.0)]), 2.0), expit(1.5))
