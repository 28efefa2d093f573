"""The evaluation of a run: one set of names, finite values only, calls by the threshold."""

import math
from dataclasses import replace

import numpy as np
import pytest

from leukemia.evaluation.doubled_counts import as_the_thesis_counts, doubled
from leukemia.evaluation.evaluate import evaluate, fine_tune_from
from leukemia.evaluation.metrics import METRICS, metrics
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.thresholds import at_best


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


def shifted(predictions: Predictions, threshold: float) -> Predictions:
    """Scores that are called from 0.5 on as these are from the threshold on."""
    above = predictions.scores >= threshold
    return replace(predictions, scores=np.where(above, 0.75, 0.25).astype(np.float32))


def test_counts_go_by_the_threshold_and_all_else_by_the_scores() -> None:
    usual = {split: cells(n) for n, split in enumerate(("train", "validation", "test"))}
    moved = {split: replace(each, threshold=0.3) for split, each in usual.items()}
    at_half = {split: shifted(each, 0.3) for split, each in usual.items()}
    first, second, third = (evaluate(each, HISTORY, 0.9) for each in (usual, moved, at_half))
    counted = [name for name, metric in METRICS.items() if metric.of_counts]
    of_counts = {f"{split}_{name}" for split in ("train", "val", "test") for name in counted}
    of_counts |= {f"test_{name}_{end}" for name in counted for end in ("lo", "hi")}
    for name, value in second.metrics.items():
        if name in of_counts:
            assert value == third.metrics[name], name
        elif not name.startswith("by_subject_"):
            assert value == (0.3 if name == "threshold" else first.metrics[name]), name
    assert second.metrics["test_bal_acc"] != first.metrics["test_bal_acc"]
    assert second.metrics["by_subject_spec"] < first.metrics["by_subject_spec"]
    assert (second.temperature, second.operating) == (first.temperature, first.operating)
    assert "called positive from 0.3" in second.lines()[0]
    assert "called positive" not in first.lines()[0]


def test_the_threshold_best_on_validation_is_logged_with_what_it_does_on_test() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    found, best = evaluate(sides, HISTORY, 0.9).metrics, at_best(sides["validation"], sides["test"])
    assert found["threshold_v"] == best.threshold != 0.5
    counted = metrics(best.labels, best.scores, best.threshold)
    assert [found[f"test_{name}_v"] for name in ("bal", "sens", "spec")] == [
        counted[name] for name in ("bal_acc", "sens", "spec")
    ]
    assert found["test_bal_v_lo"] < found["test_bal_v"] < found["test_bal_v_hi"]
    assert found["val_bal_v"] >= found["val_bal_acc"]


def test_calibration_is_logged_with_intervals_and_again_for_the_training_cells_prior() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    sides["train"] = cells(0, [1, 0, 0] * 4)
    evaluation = evaluate(sides, HISTORY, 0.9, 0.5)
    found, plain = evaluation.metrics, evaluate(sides, HISTORY, 0.9).metrics
    names = {f"test_{name}" for name in ("ece", "slope", "intercept", "citl")}
    corrected = {f"test_{name}_p" for name in ("ece", "brier", "intercept", "citl")}
    for name in names | corrected:
        assert found[f"{name}_lo"] <= found[name] <= found[f"{name}_hi"], name
    assert names <= set(plain)
    assert not corrected & set(plain)
    assert found["train_prior"] == plain["train_prior"] == pytest.approx(1 / 3)
    assert found["effective_prior"] == 0.5
    assert "effective_prior" not in plain
    assert found["test_citl_p"] == pytest.approx(found["test_citl"] + np.log(2), rel=1e-6)
    assert f"slope {found['test_slope']:.2f}" in "\n".join(evaluation.lines())


def test_scores_that_separate_the_classes_have_no_slope_and_say_why() -> None:
    sides = {side: cells(n) for n, side in enumerate(("train", "validation", "test"))}
    sides["test"] = replace(
        sides["test"], scores=np.where(sides["test"].labels == 1, 1, 0).astype(np.float32)
    )
    evaluation = evaluate(sides, HISTORY, 0.9, 0.5)
    assert not {"test_slope", "test_intercept", "test_slope_lo"} & set(evaluation.metrics)
    assert "slope not defined: the scores separate the classes" in "\n".join(evaluation.lines())


def test_the_thesis_way_of_counting_goes_by_the_threshold() -> None:
    test = cells(2)
    pooled = dict.fromkeys(("train", "validation", "test"), replace(test, threshold=0.3))
    at_half = dict.fromkeys(pooled, shifted(test, 0.3))
    assert as_the_thesis_counts(pooled) == as_the_thesis_counts(at_half)
    assert doubled(pooled["test"]) != doubled(test)


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
