"""The evaluation of a run: one set of names, finite values only, calls by the threshold."""

import math

import numpy as np
import pytest

from leukemia.evaluation.doubled_counts import as_the_thesis_counts, doubled
from leukemia.evaluation.evaluate import evaluate, fine_tune_from
from leukemia.evaluation.metrics import METRICS
from leukemia.evaluation.predictions import Predictions


def cells(seed: int, labels: list[int] | None = None) -> Predictions:
    rng = np.random.default_rng(seed)
    subjects = np.repeat([f"{number}" for number in range(12)], 5)
    truth = np.array(labels or [number % 2 for number in range(12)], np.int8).repeat(5)
    scores = np.clip(0.5 + (truth - 0.5) * 0.4 + rng.normal(0, 0.2, 60), 0, 1)
    return Predictions(
        labels=truth,
        scores=scores.astype(np.float32),
        subjects=subjects,
        cell_id=np.arange(60).astype(str),
    )


HISTORY = [
    {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": loss, "unfrozen": float(epoch > 2)}
    for epoch, loss in enumerate((0.9, 0.8, 0.5, 0.7, 0.8), 1)
]


def test_every_figure_has_its_name_and_is_finite() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    found = evaluate(sides, HISTORY, 0.9).metrics
    for name in METRICS:
        assert {f"train_{name}", f"val_{name}", f"test_{name}", f"test_{name}_lo",
                f"test_{name}_hi"} <= set(found)  # fmt: skip
        assert found[f"test_{name}_lo"] <= found[f"test_{name}"] <= found[f"test_{name}_hi"]
    assert all(math.isfinite(value) for value in found.values())
    assert found["test_subjects"] == 12


def test_the_threshold_is_chosen_on_validation_and_told_on_test() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    evaluation = evaluate(sides, HISTORY, 0.9)
    threshold = evaluation.metrics["op_threshold"]
    for side, name in (("validation", "op_val_sens"), ("test", "op_test_sens")):
        positive = sides[side].scores[sides[side].labels == 1]
        assert evaluation.metrics[name] == pytest.approx(np.mean(positive >= threshold))
    assert evaluation.metrics["op_val_sens"] >= 0.9


def test_a_figure_that_is_not_defined_is_left_out() -> None:
    one_class = cells(2, [1] * 12)
    found = evaluate({"train": cells(0), "validation": cells(1), "test": one_class}, HISTORY, 0.9)
    assert "test_auroc" not in found.metrics
    assert "test_spec" not in found.metrics
    assert "test_sens" in found.metrics


def test_overfitting_is_judged_on_the_epochs_of_fine_tuning() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    assert fine_tune_from(HISTORY) == 3
    assert fine_tune_from([row | {"unfrozen": 1.0} for row in HISTORY]) is None
    evaluation = evaluate(sides, HISTORY, 0.9)
    assert evaluation.metrics["overfits"] == 1
    assert "overfits after epoch 3" in evaluation.verdict.text


def test_the_thesis_counts_each_cell_twice() -> None:
    labels = np.array([1, 1, 1, 0], np.int8)
    scores = np.array([0.9, 0.8, 0.1, 0.2], np.float32)
    predictions = Predictions(
        labels=labels, scores=scores, subjects=labels.astype(str), cell_id=labels.astype(str)
    )
    assert vars(doubled(predictions)) == {"tp": 3, "fn": 1, "fp": 1, "tn": 3}
    found = as_the_thesis_counts(dict.fromkeys(("train", "validation", "test"), predictions))
    assert found["thesis_acc"] == found["thesis_sens"] == found["thesis_spec"] == 0.75
    assert found["thesis_val_acc"] == 0.75
