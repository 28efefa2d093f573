"""A threshold for an asked sensitivity: exact on validation, told on test."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from leukemia.errors import UserError
from leukemia.evaluation.metrics import Confusion, confusion, from_confusion
from leukemia.evaluation.operating import choose_threshold, operate
from leukemia.evaluation.predictions import Predictions


def predictions(labels: list[int], scores: list[float]) -> Predictions:
    names = np.array([f"cell {row}" for row in range(len(labels))])
    return Predictions(
        labels=np.array(labels, np.int8),
        scores=np.array(scores, np.float32),
        subjects=names,
        cell_id=names,
    )


def drawn(seed: int, n: int = 300) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.6).astype(int)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1).round(2)  # with many equal scores
    return predictions(labels.tolist(), scores.tolist())


@pytest.mark.parametrize("asked", [0.01, 0.5, 0.8, 0.95, 0.999, 1.0])
def test_it_is_the_highest_threshold_that_reaches_what_was_asked(asked: float) -> None:
    cells = drawn(1)
    _, sensitivity, thresholds = roc_curve(cells.labels, cells.scores, drop_intermediate=False)
    assert choose_threshold(cells.labels, cells.scores, asked) == pytest.approx(
        thresholds[sensitivity >= asked].max()
    )


@pytest.mark.parametrize(
    ("asked", "threshold"), [(0.25, 0.9), (0.26, 0.7), (0.75, 0.6), (0.76, 0.2), (1.0, 0.2)]
)
def test_of_four_positive_cells_sensitivity_moves_in_quarters(
    asked: float, threshold: float
) -> None:
    labels, scores = np.array([1, 1, 1, 1, 0, 0]), np.array([0.9, 0.7, 0.6, 0.2, 0.65, 0.1])
    assert choose_threshold(labels, scores, asked) == threshold


def test_a_share_that_a_product_would_round_up_asks_for_no_further_cell() -> None:
    labels, scores = np.ones(100, int), np.linspace(1, 0.01, 100, dtype=np.float32)
    assert np.ceil(0.07 * 100) == 8  # what a product would ask for
    assert np.sum(scores >= choose_threshold(labels, scores, 0.07)) == 7


def test_equal_scores_are_called_together() -> None:
    validation = predictions([1, 1, 1, 1, 0], [0.4, 0.4, 0.4, 0.9, 0.4])
    point = operate(validation, validation, 0.5)
    assert point.threshold == pytest.approx(0.4)
    assert point.validation == Confusion(tp=4, fn=0, fp=1, tn=0)


def test_the_test_side_is_counted_at_the_threshold_of_validation() -> None:
    validation, test = drawn(1), drawn(2)
    point = operate(validation, test)
    assert point.test == confusion(test.labels, test.scores, point.threshold)
    expected = from_confusion(point.test)
    assert point.metrics["test_sens"] == expected["sens"]
    assert point.metrics["test_spec"] == expected["spec"]
    assert point.metrics["val_sens"] >= 0.95
    assert operate(validation, drawn(3)).threshold == point.threshold


def test_a_score_at_the_threshold_is_called_also_in_float64() -> None:
    # 1 / 3 is another number in float32: rounded up, it would miss its own cell.
    validation = Predictions(
        labels=np.ones(1, np.int8),
        scores=np.array([1 / 3]),
        subjects=np.array(["a"]),
        cell_id=np.array(["a"]),
    )
    test = predictions([1, 0], [float(np.nextafter(np.float32(1 / 3), np.float32(0))), 0.0])
    point = operate(validation, test, 1.0)
    assert point.threshold == 1 / 3
    assert point.validation == Confusion(tp=1, fn=0, fp=0, tn=0)
    assert point.test == Confusion(tp=0, fn=1, fp=0, tn=1)


def test_the_text_gives_the_step_of_validation_sensitivity() -> None:
    validation = predictions([1, 1, 1, 1, 0], [0.8, 0.6, 0.4, 0.2, 0.3])
    point = operate(validation, predictions([1, 0], [0.5, 0.9]), 0.75)
    assert point.step == 0.25
    assert point.text == (
        "threshold 0.4 for a sensitivity of at least 0.75: validation 0.750 (3 of 4 positive "
        "cells, steps of 0.25), specificity 1.000; test 1.000, specificity 0.000"
    )


@pytest.mark.parametrize("asked", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_outside_0_to_1_is_refused(asked: float) -> None:
    with pytest.raises(UserError, match=r"sensitivity .*: expected above 0 and at most 1"):
        operate(drawn(1), drawn(2), asked)


def test_without_a_positive_validation_cell_there_is_no_threshold() -> None:
    with pytest.raises(UserError, match="no validation cell is positive"):
        operate(predictions([0, 0], [0.1, 0.2]), drawn(2))
