"""Thresholds that validation cells choose: the best of all, the middle of equals, told on test."""

from dataclasses import replace

import numpy as np
import pytest

from leukemia.errors import UserError
from leukemia.evaluation.comparison import difference
from leukemia.evaluation.intervals import interval
from leukemia.evaluation.metrics import metrics
from leukemia.evaluation.operating import choose_threshold
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.evaluation.thresholds import at_best, at_half, at_sensitivity, best_threshold
from tests.test_intervals import predictions


@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_is_better(seed: int) -> None:
    cells = predictions(12, 6, seed=seed)
    tried = [*np.unique(cells.scores), 0.0, 1.1, *np.linspace(0, 1, 301)]
    best = max(metrics(cells.labels, cells.scores, each)["bal_acc"] for each in tried)
    chosen = best_threshold(cells.labels, cells.scores)
    assert metrics(cells.labels, cells.scores, chosen)["bal_acc"] == pytest.approx(best)


@pytest.mark.parametrize(
    ("negative", "positive", "threshold"),
    [
        ([0.1, 0.2], [0.6, 0.9], 0.4),  # between the classes
        ([0.1, 0.2, 0.5, 0.8], [0.3, 0.6, 0.9, 0.95], 0.55),  # the middle one of three
        ([0.1, 0.7], [0.3, 0.9], 0.8),  # of two the upper one
    ],
)
def test_of_thresholds_that_are_as_good_it_is_the_middle_one(
    negative: list[float], positive: list[float], threshold: float
) -> None:
    labels = np.repeat(np.array([0, 1], np.int8), [len(negative), len(positive)])
    scores = np.array([*negative, *positive], np.float32)
    assert best_threshold(labels, scores) == pytest.approx(threshold)
    assert best_threshold(labels[::-1], scores[::-1]) == best_threshold(labels, scores)


def test_two_neighbouring_scores_are_told_apart() -> None:
    low = np.float32(0.3)
    scores = np.array([low, np.nextafter(low, np.float32(1))])
    labels = np.array([0, 1], np.int8)
    chosen = best_threshold(labels, scores)
    assert metrics(labels, scores, chosen)["bal_acc"] == 1


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1, 1], [0.2, 0.3, 0.4]),
        ([0, 0], [0.7, 0.9]),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),  # the wrong way round
    ],
)
def test_where_no_threshold_is_of_use_it_stays_at_a_half(
    labels: list[int], scores: list[float]
) -> None:
    assert best_threshold(np.array(labels, np.int8), np.array(scores, np.float32)) == THRESHOLD


def test_test_cells_are_called_from_what_validation_chose_and_nothing_else_changes() -> None:
    validation, test = predictions(12, seed=1), replace(predictions(12, seed=2), threshold=0.9)
    assert vars(at_half(test)) == vars(replace(test, threshold=0.5))
    chosen = best_threshold(validation.labels, validation.scores)
    assert chosen != best_threshold(test.labels, test.scores)
    assert vars(at_best(validation, test)) == vars(replace(test, threshold=chosen))
    asked = choose_threshold(validation.labels, validation.scores, 0.8)
    assert vars(at_sensitivity(validation, test, 0.8)) == vars(replace(test, threshold=asked))
    with pytest.raises(UserError, match="expected above 0"):
        at_sensitivity(validation, test, 1.2)


def test_a_shift_of_all_scores_is_no_difference_at_the_threshold_that_validation_chooses() -> None:
    validation, test = predictions(24, seed=1), predictions(24, seed=2)
    two = np.float32(2)
    lower = [replace(cells, scores=cells.scores / two) for cells in (validation, test)]
    at_a_half = difference([[test]], [[lower[1]]])
    moved = difference([[at_best(validation, test)]], [[at_best(*lower)]])
    assert at_a_half.low > 0
    assert moved.value == 0
    kept = interval([[at_best(*lower)]], "auroc")
    assert kept.value == pytest.approx(interval([[test]], "auroc").value)
