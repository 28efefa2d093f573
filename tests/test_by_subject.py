"""Figures person by person, against hand-made subjects and scikit-learn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from leukemia.evaluation.by_subject import by_class, by_subject, subject_metrics, worst
from leukemia.evaluation.predictions import Predictions

# subject: label and score of each cell
HAND_MADE = {
    "A": [(1, 0.9), (1, 0.8), (1, 0.1)],  # one of three missed
    "B": [(1, 0.1), (1, 0.2)],  # both missed
    "C": [(0, 0.6), (0, 0.7), (0, 0.0)],  # two of three called positive; mean 0.433
    "D": [(0, 0.5)],  # at the threshold: called positive
    "E": [(1, 0.9), (0, 0.9)],  # both labels
}


def predictions(subjects: dict[str, list[tuple[int, float]]]) -> Predictions:
    rows = [(name, *cell) for name, cells in subjects.items() for cell in cells]
    names, labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    return Predictions(
        labels=labels.astype(np.int8),
        scores=scores.astype(np.float32),
        subjects=names,
        cell_id=names,
    )


@pytest.fixture
def hand_made() -> Predictions:
    return predictions(HAND_MADE)


def test_every_column_of_hand_made_subjects(hand_made: Predictions) -> None:
    expected = pd.DataFrame(
        {
            "subject": list("ABCDE"),
            "group": ["positive", "positive", "negative", "negative", "both"],
            "cells": [3, 2, 3, 1, 2],
            "label": [1, 1, 0, 0, 0.5],
            "mean_score": [0.6, 0.15, 1.3 / 3, 0.5, 0.9],
            "called_share": [2 / 3, 0, 2 / 3, 1, 1],
            "errors": [1, 2, 2, 1, 1],
            "error_rate": [1 / 3, 1, 2 / 3, 1, 0.5],
            "accuracy": [2 / 3, 0, 1 / 3, 0, 0.5],
            "called": [True, False, False, True, True],
        }
    )
    pd.testing.assert_frame_equal(by_subject(hand_made), expected, check_exact=False)


def test_the_order_of_the_cells_does_not_matter(hand_made: Predictions) -> None:
    rows = np.random.default_rng(0).permutation(len(hand_made))
    shuffled = Predictions(
        labels=hand_made.labels[rows], scores=hand_made.scores[rows],
        subjects=hand_made.subjects[rows], cell_id=hand_made.cell_id[rows],
    )  # fmt: skip
    pd.testing.assert_frame_equal(by_subject(shuffled), by_subject(hand_made))


def test_errors_sum_to_those_of_the_cells_at_any_threshold(hand_made: Predictions) -> None:
    for threshold in (0.05, 0.5, 0.85):
        wrong = (hand_made.scores >= threshold) != (hand_made.labels == 1)
        table = by_subject(replace(hand_made, threshold=threshold))
        assert table["errors"].sum() == wrong.sum()
        assert table["cells"].sum() == len(hand_made)


def test_subject_metrics_count_each_subject_once(hand_made: Predictions) -> None:
    found = subject_metrics(hand_made)  # A found, B missed; C left alone, D called; E left out
    auroc = roc_auc_score([1, 1, 0, 0], [0.6, 0.15, 1.3 / 3, 0.5])
    assert found == pytest.approx(
        {"sens": 0.5, "spec": 0.5, "bal_acc": 0.5, "auroc": auroc, "count": 4}
    )
    assert subject_metrics(replace(hand_made, threshold=0.55))["spec"] == 1


def test_a_class_without_subjects_has_no_figure() -> None:
    found = subject_metrics(predictions({"A": HAND_MADE["A"], "E": HAND_MADE["E"]}))
    assert (found["sens"], found["count"]) == (1, 1)
    assert np.isnan([found[name] for name in ("spec", "bal_acc", "auroc")]).all()
    only_both = subject_metrics(predictions({"E": HAND_MADE["E"]}))
    assert only_both["count"] == 0
    assert np.isnan(only_both["sens"])


def test_the_worst_are_by_rate_then_errors_then_name(hand_made: Predictions) -> None:
    table = by_subject(hand_made)
    assert worst(table, 3)["subject"].tolist() == ["B", "D", "C"]
    assert worst(table, 99)["subject"].tolist() == ["B", "D", "C", "E", "A"]
    alike = by_subject(predictions({name: [(1, 0.1)] for name in "ZXY"}))
    assert worst(alike.iloc[::-1], 2)["subject"].tolist() == ["X", "Y"]


def test_classes_say_how_many_subjects_are_mostly_wrong(hand_made: Predictions) -> None:
    expected = pd.DataFrame(
        {
            "class": ["blast", "normal", "both"],
            "subjects": [2, 2, 1],
            "cells": [5, 4, 2],
            "errors": [3, 3, 1],
            "error_rate": [3 / 5, 3 / 4, 1 / 2],
            "mostly_wrong": [1, 2, 0],  # half of E's cells is not more than half
        }
    )
    found = by_class(by_subject(hand_made), {1: "blast", 0: "normal"})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    only = by_class(by_subject(predictions({"A": HAND_MADE["A"]})), {1: "blast", 0: "normal"})
    assert only["class"].tolist() == ["blast"]


def test_a_table_read_back_from_csv_serves_as_well(hand_made: Predictions, tmp_path) -> None:
    table = by_subject(hand_made)
    table.to_csv(tmp_path / "subjects.csv", index=False)
    read = pd.read_csv(tmp_path / "subjects.csv")
    names = {1: "blast", 0: "normal"}
    pd.testing.assert_frame_equal(by_class(read, names), by_class(table, names))
    assert worst(read, 5)["subject"].tolist() == worst(table, 5)["subject"].tolist()
