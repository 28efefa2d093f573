"""Metrics against closed forms, scikit-learn, and the thesis' own counts."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest
from sklearn import metrics as reference

from leukemia.evaluation.metrics import (
    METRICS,
    PRIMARY,
    Confusion,
    Metric,
    confusion,
    from_confusion,
    metrics,
    of_rates,
)
from tests.conftest import ROOT


def drawn(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.7).astype(np.int8)
    return labels, np.clip(rng.normal(0.3 + 0.3 * labels, 0.25), 0, 1)


def sensitivity_at_90_percent(labels: np.ndarray, scores: np.ndarray) -> float:
    false_rate, true_rate, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    return float(true_rate[false_rate <= 0.1 + 1e-12].max())


def specificity_at_95_percent(labels: np.ndarray, scores: np.ndarray) -> float:
    false_rate, true_rate, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    return float(1 - false_rate[true_rate >= 0.95 - 1e-12].min())


@pytest.mark.parametrize("threshold", [0.5, 0.35])
def test_every_metric_is_what_scikit_learn_says(threshold: float) -> None:
    labels, scores = drawn()
    called = scores >= threshold
    sens, spec = (reference.recall_score(labels, called, pos_label=label) for label in (1, 0))
    assert metrics(labels, scores, threshold) == pytest.approx(
        {
            "loss": reference.log_loss(labels, np.clip(scores, 1e-7, 1 - 1e-7)),
            "acc": reference.accuracy_score(labels, called),
            "bal_acc": reference.balanced_accuracy_score(labels, called),
            "sens": sens,
            "spec": spec,
            "prec": reference.precision_score(labels, called),
            "f1": reference.f1_score(labels, called),
            "wf1": reference.f1_score(labels, called, average="weighted"),
            "auroc": reference.roc_auc_score(labels, scores),
            "auprc": reference.average_precision_score(labels, scores),
            "brier": reference.brier_score_loss(labels, scores),
            "mcc": reference.matthews_corrcoef(labels, called),
            "kappa": reference.cohen_kappa_score(labels, called),
            "gmean": np.sqrt(sens * spec),
            "sens90s": sensitivity_at_90_percent(labels, scores),
            "spec95s": specificity_at_95_percent(labels, scores),
        }
    )


def test_metric_names_are_short_and_each_has_its_place() -> None:
    labels, scores = drawn()
    assert list(metrics(labels, scores)) == list(METRICS)
    assert max(len(f"test_{name}") for name in METRICS) <= 13
    assert {"bal_acc", "wf1", "mcc", "kappa", "gmean", "sens90s", "spec95s"} <= set(PRIMARY)
    assert not {"loss", "brier", "sens", "spec"} & set(PRIMARY)


def test_an_entry_is_of_counts_or_of_scores() -> None:
    with pytest.raises(TypeError, match="metric x: give either"):
        Metric(name="x", long_name="nothing")


@pytest.mark.parametrize("seed", range(20))
def test_a_metric_of_counts_is_the_same_for_shares_of_the_cells(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 9, 4) + np.array([1, 0, 0, 1])
    tp, fn, fp, tn = counts.tolist()
    shares = of_rates(
        np.array(tp / (tp + fn)), np.array(tn / (fp + tn)), np.array((tp + fn) / counts.sum())
    )
    for name, value in from_confusion(Confusion(tp=tp, fn=fn, fp=fp, tn=tn)).items():
        formula = METRICS[name].of_counts
        assert formula
        assert float(formula(shares)) == pytest.approx(value), name
        assert METRICS[name].bounds[0] <= value <= METRICS[name].bounds[1]


def test_correlation_and_kappa_of_calls_that_are_all_alike_or_all_wrong() -> None:
    alike = from_confusion(Confusion(tp=7, fn=0, fp=3, tn=0))
    assert (alike["mcc"], alike["kappa"], alike["gmean"]) == (0, 0, 0)
    wrong = from_confusion(Confusion(tp=0, fn=5, fp=5, tn=0))
    assert (wrong["mcc"], wrong["kappa"], wrong["gmean"]) == (-1, -1, 0)


@pytest.mark.parametrize(
    ("negative", "positive", "expected"),
    [
        (np.arange(10) / 10, [0.85, 0.8, 0.95], 2 / 3),  # one of ten may be called: above 0.8
        (np.arange(9) / 10, [0.75, 0.8, 0.95], 1 / 3),  # none of nine
        ([0.5] * 10, [0.5, 0.6], 1 / 2),  # equal scores are called together
        ([0.1], [0.2, 0.1], 1 / 2),
    ],
)
def test_sensitivity_at_90_percent_specificity(negative, positive, expected: float) -> None:
    labels = np.repeat(np.array([0, 1], np.int8), [len(negative), len(positive)])
    scores = np.concatenate([negative, positive])
    assert metrics(labels, scores)["sens90s"] == pytest.approx(expected)
    assert sensitivity_at_90_percent(labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (np.arange(1, 21) / 21, [0.05, 0.09, 0.1, 0.5], 2 / 4),  # one of twenty may be missed
        (np.arange(1, 20) / 21, [0.04, 0.05, 0.1, 0.5], 1 / 4),  # none of nineteen
        ([0.5] * 20, [0.5, 0.4], 1 / 2),  # equal scores are called together
        ([0.2], [0.1, 0.2], 1 / 2),
    ],
)
def test_specificity_at_95_percent_sensitivity(positive, negative, expected: float) -> None:
    labels = np.repeat(np.array([0, 1], np.int8), [len(negative), len(positive)])
    scores = np.concatenate([negative, positive])
    assert metrics(labels, scores)["spec95s"] == pytest.approx(expected)
    assert specificity_at_95_percent(labels, scores) == pytest.approx(expected)


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
    values = from_confusion(counts)
    assert [values[name] for name in ("sens", "spec", "prec", "acc")] == pytest.approx(
        [sens, spec, prec, acc],
        abs=6e-5,  # the fourth digit as printed
    )


def test_a_share_of_nothing_is_not_a_number() -> None:
    only_positive = metrics(np.ones(3, np.int8), np.array([0.2, 0.8, 0.9]))
    assert only_positive["sens"] == pytest.approx(2 / 3)
    undefined = {name for name, value in only_positive.items() if np.isnan(value)}
    assert undefined == {
        "spec", "bal_acc", "auroc", "auprc", "mcc", "kappa", "gmean", "sens90s",
        "spec95s",
    }  # fmt: skip


def test_a_score_at_the_threshold_calls_positive() -> None:
    assert confusion(np.array([1, 0]), np.array([0.5, 0.5])) == Confusion(tp=1, fn=0, fp=1, tn=0)
    third = np.full(1, 1 / 3, np.float32)  # a little above 1 / 3
    assert confusion(np.ones(1), third, 1 / 3).tp == 1
    assert confusion(np.ones(1), third, float(third[0]) + 1e-9).tp == 0


def python(code: str, folder: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_names_of_the_metrics_are_there_without_a_heavy_import() -> None:
    code = "import sys\nfrom leukemia.evaluation import PRIMARY\nprint(*sys.modules)"
    heavy = {"sklearn", "scipy", "tensorflow", "pandas", "matplotlib", "mlflow"}
    assert not heavy & set(python(code).split())


# Two metrics, one of counts and one of scores that has no fast form without each subject.
ENTRIES = """
        Metric(
            name="youden",
            long_name="Youden's index",
            of_counts=lambda c: c.sens + c.spec - 1,
            bounds=(-1.0, 1.0),
            ranks=True,
            shown=True,
        ),
        Metric(
            name="gap",
            long_name="difference of the median scores",
            of_scores=lambda labels, scores: float(
                np.median(scores[labels == 1]) - np.median(scores[labels == 0])
            ),
            bounds=(-1.0, 1.0),
            ranks=True,
        ),
"""
USE = """
import numpy as np
import pandas as pd

from entrypoints.command import METRIC
from leukemia.evaluation.comparison import difference
from leukemia.evaluation.intervals import interval
from leukemia.evaluation.jackknife import leave_out, subject_counts
from leukemia.evaluation.metrics import metrics
from leukemia.ranking import peers, rank
from leukemia.ranking.text import as_text
from leukemia.registry.card import Logged, card
from leukemia.ranking.networks import Network
from tests.test_card import METRICS, TAGS, logged
from tests.test_comparison import arms
from tests.test_ranking import record

a, b = arms()
values = metrics(a.labels, a.scores)
assert np.isclose(values["youden"], values["sens"] + values["spec"] - 1)
tested = {"a-0-0": Network(validation=a, test=a), "b-0-0": Network(validation=b, test=b)}
for name in ("youden", "gap"):
    jackknife = leave_out(subject_counts([[a]]), name)
    assert np.isclose(jackknife.value, values[name])
    kept = a.subjects != jackknife.names[3]
    assert np.isclose(jackknife.without[0, 3], metrics(a.labels[kept], a.scores[kept])[name])
    found = interval([[a]], name)
    assert -1 <= found.low < found.value < found.high <= 1
    gap = difference([[a]], [[b]], name)
    assert gap.low < gap.value < gap.high and 0 < gap.p < 1
    column = {f"val_{name}": 0.9}, {f"val_{name}": 0.8}
    records = pd.DataFrame([record("a", 0, 0.1, **column[0]), record("b", 0, 0.2, **column[1])])
    kept, _ = peers.comparable(records, metric=name)
    ranking = rank.rank(kept, tested, name)
    assert list(ranking.table["arm"]) == ["a", "b"]
    assert np.isclose(ranking.table["test"].iloc[0], values[name])
assert "youden" in as_text(ranking).splitlines()[0]
text = card(Logged(run_id="r", tags=TAGS, subjects=logged().subjects,
                   metrics=METRICS | {"test_gap": 0.4}))
assert "| gap | 0.400 |" in text and "difference of the median scores" in text
import click
command = METRIC(click.command()(lambda metric: None))
assert {"youden", "gap"} <= set(command.params[0].type.choices)
print("used")
"""


def test_adding_a_metric_is_adding_its_entry(tmp_path: Path) -> None:
    for name in ("leukemia", "entrypoints", "tests", "benchmarks"):
        copytree(ROOT / name, tmp_path / name, ignore=ignore_patterns("__pycache__"))
    file = tmp_path / "leukemia/evaluation/metrics.py"
    listed = "    for metric in (\n"
    text = file.read_text()
    assert text.count(listed) == 1
    file.write_text(text.replace(listed, listed + ENTRIES.strip("\n") + "\n"))
    assert python(USE, tmp_path).strip() == "used"
