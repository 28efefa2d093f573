"""The model card is written from what a run logged, and says what the model is not for."""

from dataclasses import replace

import numpy as np
import pytest

from leukemia.evaluation.by_subject import by_subject
from leukemia.evaluation.predictions import Predictions
from leukemia.registry.card import Logged, as_description, card

TAGS = {
    "positive": "blast", "negative": "normal", "arm": "adasyn", "seed": "1", "fold": "2",
    "split_seed": "4",
    "budget": "quick", "note": "resnet50 starts from imagenet", "cells": "90 cells of 12 subjects",
    "data_digest": "0123456789abcdef", "crop": "210", "image_size": "64", "audit": "no leak found",
    "protocol_line": "Protocol subject: no subject in two splits", "simulated_data": "",
    "interval_method": "bootstrap over subjects", "verdict": "does not overfit",
    "calibration": "temperature 1.2", "operating": "threshold 0.31", "git_commit": "abc123",
}  # fmt: skip
METRICS = {"test_subjects": 4.0, "test_bal_acc": 0.8126, "test_bal_acc_lo": 0.7, "val_auroc": 0.9,
           "test_bal_acc_hi": 0.9, "test_auroc": 0.88, "test_ece": 0.051,
           "test_slope": 0.61, "test_slope_lo": 0.4, "test_slope_hi": 0.85, "threshold_v": 0.27,
           "test_bal_v": 0.85}  # fmt: skip


def logged(waived: str = "", **tags: str) -> Logged:
    scores = np.array([0.9, 0.2, 0.8, 0.1, 0.7, 0.6], np.float32)
    labels = np.array([1, 1, 1, 0, 0, 0], np.int8)
    subjects = np.array(["7", "7", "9", "H1", "H2", "H2"])
    table = by_subject(
        Predictions(labels=labels, scores=scores, subjects=subjects, cell_id=subjects)
    )
    return Logged(run_id="run1", tags=TAGS | tags, metrics=METRICS, subjects=table, waived=waived)


@pytest.mark.parametrize(
    "said",
    [
        "Research use only; not for diagnosis",
        "Technique adasyn, seed 1, fold 2 of split 4, budget quick",
        "90 cells of 12 subjects; data digest 0123456789abcdef",
        "Protocol subject: no subject in two splits",
        "no leak found",
        "| bal_acc | 0.813 | 0.700 to 0.900 | not defined |",
        "| auroc | 0.880 | not defined to not defined | 0.900 |",
        "On real cells of 4 test subjects, threshold 0.5.",
        "Overfitting: does not overfit",
        "Expected calibration error 0.051, Brier score not defined",
        "temperature 1.2",
        "Calibration slope 0.610 (0.400 to 0.850; 1 is right)",
        "from 0.270, the threshold best on validation, the test balanced accuracy is 0.850",
        "threshold 0.31",
        "| blast | 2 | 3 | 1 | 0.333 |",
        "| normal | 2 | 3 | 2 | 0.667 |",
        "| H2 | normal | 2 | 2 | 1.000 |",
        "Run run1, code abc123.",
    ],
)
def test_the_card_says(said: str) -> None:
    assert said in card(logged())


def test_drawn_cells_and_waived_findings_stand_at_the_top() -> None:
    text = card(
        logged(waived="WAIVED findings of the audit: synthetic", simulated_data="drawn, seed 7")
    )
    head = text[: text.index("## What it is")]
    assert "SIMULATED DATA: drawn, seed 7" in head
    assert "WAIVED findings of the audit: synthetic" in head


def test_the_threshold_is_that_of_the_run() -> None:
    run = logged()
    assert "threshold 0.31." in card(replace(run, metrics=METRICS | {"threshold": 0.31}))


def test_code_that_was_not_committed_is_said() -> None:
    assert "abc123 with uncommitted changes" in card(logged(git_dirty="true"))


def test_a_description_fits_where_mlflow_keeps_it_and_says_where_the_rest_is() -> None:
    text = card(logged())
    short = as_description(text, "model_card.md")
    assert short.replace("\u00a0", "") == text
    long = as_description(card(logged(audit="a finding\n" * 600)), "model_card.md of run run1")
    assert 4900 < len(long) <= 5000
    assert long.endswith("(cut; the whole card: model_card.md of run run1)\n")
