"""Figures of merit against closed forms, scikit-learn, and the thesis' own counts."""

import numpy as np
import pytest
from sklearn import metrics as reference

from leukemia.evaluation.metrics import METRICS, Confusion, confusion, from_confusion, metrics


def drawn(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.7).astype(np.int8)
    return labels, np.clip(rng.normal(0.3 + 0.3 * labels, 0.25), 0, 1)


def test_every_metric_is_what_scikit_learn_says() -> None:
    labels, scores = drawn()
    called = scores >= 0.5
    assert metrics(labels, scores) == pytest.approx(
        {
            "loss": reference.log_loss(labels, np.clip(scores, 1e-7, 1 - 1e-7)),
            "acc": reference.accuracy_score(labels, called),
            "bal_acc": reference.balanced_accuracy_score(labels, called),
            "sens": reference.recall_score(labels, called),
            "spec": reference.recall_score(labels, called, pos_label=0),
            "prec": reference.precision_score(labels, called),
            "f1": reference.f1_score(labels, called),
            "wf1": reference.f1_score(labels, called, average="weighted"),
            "auroc": reference.roc_auc_score(labels, scores),
            "auprc": reference.average_precision_score(labels, scores),
        }
    )


def test_metric_names_are_documented_and_short() -> None:
    labels, scores = drawn()
    assert set(metrics(labels, scores)) == set(METRICS)
    assert max(len(f"test_{name}") for name in METRICS) <= 13


@pytest.mark.parametrize(
    ("counts", "sens", "spec", "prec", "acc"),
    [
        (Confusion(tp=8142, fn=34, fp=7, tn=8169), 0.9958, 0.9991, 0.9991, 0.9975),
        (Confusion(tp=10093, fn=1377, fp=124, tn=11346), 0.8800, 0.9892, 0.9879, 0.9346),
    ],
    ids=["dcgan", "adasyn and weighted"],
)
def test_the_thesis_counts_give_other_figures_than_it_reports(
    counts: Confusion, sens: float, spec: float, prec: float, acc: float
) -> None:
    found = from_confusion(counts)
    assert [found[name] for name in ("sens", "spec", "prec", "acc")] == pytest.approx(
        [sens, spec, prec, acc],
        abs=6e-5,  # the fourth digit as printed
    )


def test_a_share_of_nothing_is_not_a_number() -> None:
    only_positive = metrics(np.ones(3, np.int8), np.array([0.2, 0.8, 0.9]))
    assert only_positive["sens"] == pytest.approx(2 / 3)
    assert np.isnan([only_positive[name] for name in ("spec", "bal_acc", "auroc")]).all()


def test_a_score_at_the_threshold_calls_positive() -> None:
    assert confusion(np.array([1, 0]), np.array([0.5, 0.5])) == Confusion(tp=1, fn=0, fp=1, tn=0)
