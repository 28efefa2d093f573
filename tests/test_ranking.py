"""The ranking is a pure function of records: chosen on validation, reported on test."""

from typing import Any

import click
import numpy as np
import pandas as pd
import pytest

from entrypoints.command import kinds_of_leak
from leukemia.errors import UserError
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking import rank as ranking
from leukemia.ranking.peers import TERMS
from leukemia.ranking.rank import CELLS, COSTS, SHOWN
from leukemia.ranking.text import as_text

SUBJECTS = 40


def record(arm: str, seed: int, val: float, fold: int = 0, **others: Any) -> dict:
    return {
        "run_id": f"{arm}-{seed}-{fold}",
        "arm": arm,
        "seed": seed,
        "fold": fold,
        "start_time": pd.Timestamp("2026-01-01") + pd.Timedelta(seed, "h"),
        **dict.fromkeys(TERMS, "same"),
        "protocol": "subject",
        "leaks": "",
        "val_bal_acc": val,
        "val_wf1": 1 - val,
        **dict.fromkeys(SHOWN, 0.8),
        **dict.fromkeys(COSTS, 1.0),
        "overfits": 0.0,
        **others,
    }


def cells(wrong: float, seed: int = 0) -> Predictions:
    """Test cells, ten a subject, of which about `wrong` are called wrongly."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(SUBJECTS), 10)
    labels = (numbers % 2).astype(np.int8)
    missed = rng.random(len(labels)) < wrong
    scores = np.where(labels ^ missed, 0.9, 0.1).astype(np.float32)
    return Predictions(
        labels=labels,
        scores=scores,
        subjects=numbers.astype(str),
        cell_id=np.arange(len(labels)).astype(str),
    )


def ranked(*rows: dict, metric: str = "bal_acc", **wrong: float) -> ranking.Ranking:
    """A ranking of records; wrong: by arm, the share of test cells called wrongly."""
    tested = {row["run_id"]: cells(wrong.get(row["arm"], 0.2), row["seed"]) for row in rows}
    return ranking.rank(pd.DataFrame(rows), tested, metric)


def test_the_order_goes_by_mean_validation_and_never_by_test() -> None:
    found = ranked(
        record("a", 0, 0.90), record("a", 1, 0.80), record("b", 0, 0.70), record("b", 1, 0.80),
        a=0.5, b=0.1,
    )  # fmt: skip
    table = found.table
    assert list(table["arm"]) == ["a", "b"]
    assert list(table["rank"]) == [1, 2]
    assert list(table["seeds"]) == [2, 2]
    assert table["val"].tolist() == pytest.approx([0.85, 0.75])
    assert table["val_sd"].tolist() == pytest.approx([0.05 * 2**0.5] * 2)
    assert table["test"].tolist() == pytest.approx([0.5, 0.9], abs=0.05)


def test_the_metric_can_be_chosen() -> None:
    rows = record("a", 0, 0.90), record("b", 0, 0.70)
    assert ranked(*rows).table["arm"].tolist() == ["a", "b"]
    assert ranked(*rows, metric="wf1").table["arm"].tolist() == ["b", "a"]


def test_where_lower_is_better_the_lowest_leads_and_a_decrease_is_a_gain() -> None:
    rows = [
        record("a", 0, 0.5, val_brier=0.2), record("a", 1, 0.5, val_brier=0.1),
        record("baseline", 0, 0.5, val_brier=0.3, train_s=0.5),
    ]  # fmt: skip
    found = ranked(*rows, metric="brier", a=0.1, baseline=0.3)
    assert found.table["arm"].tolist() == ["a", "baseline"]
    assert found.leader == "a-1-0"
    best = found.table.iloc[0]
    assert best["base"] < 0 < best["s_per_point"]


def test_the_cells_that_a_technique_added_and_left_out_stand_with_its_cost() -> None:
    rows = [
        record("adasyn", 0, 0.9, synthetic=100.0, left_out=0.0),
        record("adasyn", 1, 0.9, synthetic=110.0, left_out=0.0),
        record("old", 0, 0.8),
    ]
    found = ranked(*rows)
    assert found.table.set_index("arm").loc[["adasyn"], CELLS].to_numpy().tolist() == [[105, 0]]
    cost = as_text(found).split("\n\n")[2].splitlines()
    assert cost[0].split()[:4] == ["cost", "added", "left", "out"]
    assert [line.split()[:3] for line in cost[1:]] == [["adasyn", "105", "0"], ["old", "-", "-"]]


def test_folds_of_a_seed_are_one_repeat() -> None:
    found = ranked(*(record("a", s, 0.8, fold=f) for s in (0, 1) for f in (0, 1, 2)))
    assert found.table[["runs", "seeds"]].values.tolist() == [[6, 2]]


def test_the_best_run_is_the_best_on_validation() -> None:
    rows = [record("a", s, v) for s, v in enumerate((0.7, 0.9, 0.9))]
    assert ranked(*rows).leader == "a-1-0"


def test_the_interval_holds_the_figure_and_says_over_how_many_subjects() -> None:
    row = ranked(record("a", 0, 0.7)).table.iloc[0]
    assert row["lo"] < row["test"] < row["hi"]
    assert row["subjects"] == SUBJECTS


def test_one_seed_has_no_spread() -> None:
    assert ranked(record("a", 0, 0.7)).table["val_sd"].tolist() == [0.0]


def test_techniques_that_the_test_cells_cannot_tell_apart_are_tied() -> None:
    found = ranked(record("a", 0, 0.9), record("b", 0, 0.8), a=0.20, b=0.21)
    assert found.table["tie"].tolist() == [False, True]
    assert "TIE: on these test cells a does not differ significantly from b" in found.notes[0]
    assert "2=" in as_text(found)


def test_costs_of_runs_that_shared_the_machine_are_said_to_be() -> None:
    alone = record("a", 0, 0.9)
    assert not any("COSTS" in note for note in ranked(alone | {"workers": "1"}, alone).notes)
    found = ranked(alone, record("b", 0, 0.8) | {"workers": "2"})
    assert "COSTS: runs shared the machine (1 or 2 at a time)" in found.notes[-1]


def test_techniques_that_differ_on_the_same_cells_are_not_tied() -> None:
    found = ranked(record("a", 0, 0.9), record("b", 0, 0.8), a=0.05, b=0.40)
    assert found.table["tie"].tolist() == [False, False]
    assert found.notes == ()
    row = found.comparisons.iloc[0]
    assert row["difference"] == pytest.approx(-0.35, abs=0.05)
    assert row["lo"] < row["difference"] < row["hi"] < 0
    assert max(row["holm"], row["mcnemar"], row["delong"]) < 0.001


def test_tests_of_networks_as_trained_are_left_out_where_there_are_several_seeds() -> None:
    rows = [record(arm, seed, 0.8) for arm in ("a", "b") for seed in (0, 1)]
    found = ranked(*rows, a=0.2, b=0.3)
    assert found.comparisons[["mcnemar", "delong"]].isna().all(axis=None)
    assert found.comparisons[["p", "holm"]].notna().all(axis=None)


def test_every_technique_is_compared_with_the_baseline_and_with_the_leader() -> None:
    found = ranked(record("a", 0, 0.9), record("b", 0, 0.8), record("baseline", 0, 0.7))
    pairs = list(zip(found.comparisons["arm"], found.comparisons["against"], strict=True))
    assert sorted(pairs) == [("b", "a"), ("b", "baseline"), ("baseline", "a")]
    table = found.table.set_index("arm")
    assert table["base"]["a"] == -table["lead"]["baseline"]
    assert table["base_p"]["a"] == table["lead_p"]["baseline"]


def test_a_technique_that_gains_nothing_has_no_price_a_point() -> None:
    slow: dict[str, Any] = {"train_s": 101.0}
    rows = record("baseline", 0, 0.7), record("good", 0, 0.9, **slow), record("bad", 0, 0.8, **slow)
    table = ranked(*rows, baseline=0.3, good=0.1, bad=0.4).table.set_index("arm")
    gained = 100 * table["base"]["good"]
    assert table["s_per_point"]["good"] == pytest.approx(100 / gained)
    assert np.isnan(table["s_per_point"]["bad"])


def test_findings_of_the_audit_block_the_ranking_until_they_are_waived() -> None:
    records = pd.DataFrame([record("a", 0, 0.9, leaks="subject,synthetic"), record("b", 0, 0.8)])
    with pytest.raises(
        UserError, match=r"1 of 2 runs found leaks \(synthetic\).*waive=subject,synthetic"
    ):
        ranking.refuse_leaks(records, {"subject"})
    said = ranking.refuse_leaks(records, {"subject", "synthetic", "alike"})
    assert said == "WAIVED findings of the audit: subject, synthetic; these figures flatter"
    assert ranking.refuse_leaks(records[1:], set()) == ""


def test_a_leak_in_the_words_of_an_older_run_is_the_same_leak() -> None:
    records = pd.DataFrame([record("a", 0, 0.9, leaks="made,subject"), record("b", 0, 0.8)])
    with pytest.raises(UserError, match=r"found leaks \(synthetic\)"):
        ranking.refuse_leaks(records, {"subject"})
    context, option = click.Context(click.Command("rank")), click.Option(["--waive"])
    waived = kinds_of_leak(context, option, "made,subject")
    assert waived == {"synthetic", "subject"}
    assert ranking.refuse_leaks(records, waived).startswith("WAIVED")


def test_arms_on_different_seeds_or_folds_are_warned_of() -> None:
    even = pd.DataFrame([record("a", 0, 0.9), record("b", 0, 0.9)])
    assert ranking.uneven(even) == ""
    uneven = pd.DataFrame([record("a", 0, 0.9), record("b", 1, 0.9, fold=2)])
    assert "a: 0/0; b: 1/2" in ranking.uneven(uneven)


def test_techniques_without_a_common_seed_are_not_compared() -> None:
    found = ranked(record("a", 0, 0.9), record("b", 1, 0.8))
    assert found.comparisons.empty
    assert "nothing can be compared" in as_text(found)


def test_the_table_is_readable_and_says_the_interval() -> None:
    text = as_text(ranked(record("weighted", 0, 0.9), record("baseline", 0, 0.8)))
    assert text.splitlines()[0].split()[:3] == ["rank", "technique", "runs"]
    assert "0.900 ± 0.000" in text
    assert " to 0." in text
    assert "McNemar p" in text
    assert "s a point" in text
