"""The ranking is a pure function of records: chosen on validation, reported on test."""

import re
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest

from entrypoints.command import kinds_of_leak
from leukemia.errors import UserError
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking import rank as ranking
from leukemia.ranking.networks import Network
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
        "val_auroc": val,
        "val_wf1": 1 - val,
        **dict.fromkeys(SHOWN, 0.8),
        **dict.fromkeys(COSTS, 1.0),
        "overfits": 0.0,
        **others,
    }


def everywhere(arm: str, val: float, **others: Any) -> list[dict]:
    """The fewest runs that allow a verdict: two seeds of two folds."""
    return [record(arm, seed, val, fold, **others) for seed in (0, 1) for fold in (0, 1)]


def cells(wrong: float, seed: int = 0, fold: int = 0) -> Network:
    """Half of the subjects, ten cells each, about `wrong` called wrongly; the rest validate."""
    rng = np.random.default_rng([seed, fold])
    numbers = np.repeat(np.arange(SUBJECTS), 10)
    labels = (numbers % 2).astype(np.int8)
    missed = rng.random(len(labels)) < wrong
    scores = np.where(labels ^ missed, 0.9, 0.1).astype(np.float32)
    cell_id, tested = np.arange(len(labels)).astype(str), numbers // 2 % 2 == fold % 2
    validation, test = (
        Predictions(
            labels=labels[kept], scores=scores[kept], subjects=numbers[kept].astype(str),
            cell_id=cell_id[kept],
        )
        for kept in (~tested, tested)
    )  # fmt: skip
    return Network(validation=validation, test=test)


def ranked(*rows: dict, metric: str = "bal_acc", **wrong: float) -> ranking.Ranking:
    """A ranking of records; wrong: by arm, the share of test cells called wrongly."""
    of_runs = {
        row["run_id"]: cells(wrong.get(row["arm"], 0.2), row["seed"], row["fold"]) for row in rows
    }
    return ranking.rank(pd.DataFrame(rows), of_runs, metric)


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
    rows = [*everywhere("a", 0.5, val_brier=0.2),
            *everywhere("baseline", 0.5, val_brier=0.3, train_s=0.5)]  # fmt: skip
    rows[2]["val_brier"] = 0.1
    found = ranked(*rows, metric="brier", a=0.1, baseline=0.3)
    assert found.table["arm"].tolist() == ["a", "baseline"]
    assert found.leader == "a-1-0"
    best = found.table.iloc[0]
    assert best["gain"] < 0 < best["s_per_point"]
    assert found.worth
    assert found.worth.chosen == {"a": 1.0}
    assert found.gain
    assert found.gain.high < 0


def test_the_cells_that_a_technique_added_and_left_out_stand_with_its_cost() -> None:
    rows = [
        record("adasyn", 0, 0.9, synthetic=100.0, left_out=0.0),
        record("adasyn", 1, 0.9, synthetic=110.0, left_out=0.0),
        record("old", 0, 0.8),
    ]
    found = ranked(*rows)
    assert found.table.set_index("arm").loc[["adasyn"], CELLS].to_numpy().tolist() == [[105, 0]]
    cost = as_text(found).split("\n\n")[-1].splitlines()
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
    assert row["subjects"] == SUBJECTS / 2


def test_one_seed_has_no_spread() -> None:
    found = ranked(record("a", 0, 0.7))
    assert found.table["val_sd"].isna().all()
    assert "±" not in as_text(found)


def test_techniques_that_the_test_cells_cannot_tell_apart_are_tied() -> None:
    found = ranked(*everywhere("a", 0.9), *everywhere("baseline", 0.8), a=0.20, baseline=0.21)
    assert found.table["tie"].tolist() == [False, True]
    assert "TIE: on these test cells a does not differ significantly from base" in found.notes[0]
    assert re.match(
        "MINIMUM DETECTABLE DIFFERENCE: .* of 0.[0-9]{3} to 0.[0-9]{3} ", found.notes[1]
    )
    assert re.search(r"^1= +a .*\n2= +baseline", as_text(found), re.MULTILINE)
    assert "not shown" in as_text(found)


@pytest.mark.parametrize(("seeds", "folds"), [((0,), (0,)), ((0, 1), (0,)), ((0,), (0, 1))])
def test_one_seed_or_one_fold_alone_gives_no_verdict(
    seeds: tuple[int, ...], folds: tuple[int, ...]
) -> None:
    arms = ("a", 0.9), ("baseline", 0.8)
    rows = [record(arm, s, val, f) for arm, val in arms for s in seeds for f in folds]
    found = ranked(*rows, a=0.02, baseline=0.45)
    assert found.comparisons["adjusted"].isna().all()
    assert found.worth is None
    assert found.table["tie"].tolist() == [False, True]
    assert found.notes[0].startswith("NO VERDICT: ")
    assert not any("TIE" in note for note in found.notes)
    verdict = as_text(found).split("\n\n")[1].splitlines()[1]
    assert " none " in verdict


def test_costs_of_runs_that_shared_the_machine_are_said_to_be() -> None:
    alone = record("a", 0, 0.9)
    assert not any("COSTS" in note for note in ranked(alone | {"workers": "1"}, alone).notes)
    found = ranked(alone, record("b", 0, 0.8) | {"workers": "2"})
    assert "COSTS: runs shared the machine (1 or 2 at a time)" in found.notes[-1]


def test_techniques_that_differ_on_the_same_cells_are_not_tied() -> None:
    found = ranked(*everywhere("a", 0.9), *everywhere("baseline", 0.8), a=0.05, baseline=0.40)
    assert found.table["tie"].tolist() == [False, False]
    assert [note.split(":")[0] for note in found.notes] == ["MINIMUM DETECTABLE DIFFERENCE"]
    row = found.comparisons.iloc[0]
    assert row["difference"] == pytest.approx(0.35, abs=0.05)
    assert 0 < row["lo"] < row["difference"] < row["hi"]
    assert row["adjusted"] < 0.001
    assert " different " in as_text(found)


def test_mcnemar_tests_the_networks_of_one_seed_and_delong_only_with_many_subjects() -> None:
    found = ranked(record("a", 0, 0.9), record("baseline", 0, 0.8), a=0.05, baseline=0.40)
    (row,) = found.comparisons.to_dict("records")
    assert row["mcnemar"] < 0.001
    assert np.isnan(row["delong"])  # 10 subjects of each class


def test_tests_of_networks_as_trained_are_left_out_where_there_are_several_seeds() -> None:
    found = ranked(*everywhere("a", 0.8), *everywhere("baseline", 0.8), a=0.2, baseline=0.3)
    assert found.comparisons[["mcnemar", "delong"]].isna().all(axis=None)
    assert found.comparisons[["p", "adjusted"]].notna().all(axis=None)
    assert "McNemar" not in as_text(found)


def test_a_technique_is_compared_with_what_it_differs_from_in_one_thing_and_with_the_leader() -> (
    None
):
    rows = [
        *everywhere("adds", 0.9, synthetic=100.0), *everywhere("weighs", 0.8, synthetic=0.0),
        *everywhere("control", 0.75, synthetic=0.0), *everywhere("baseline", 0.7, synthetic=0.0),
    ]  # fmt: skip
    compared = ranked(*rows, adds=0.1, weighs=0.3, control=0.25).comparisons
    found = {(row.arm, row.against): row.why for row in compared.itertuples()}
    assert found == {
        ("adds", "control"): "its epochs are longer, and the control's as long",
        ("weighs", "baseline"): "nothing else differs",
        ("control", "baseline"): "nothing else differs",
        ("baseline", "adds"): "it leads",
        ("weighs", "adds"): "it leads",
    }
    without = ranked(*(row for row in rows if row["arm"] != "control"), adds=0.1)
    against = without.table.set_index("arm")["against"]
    assert against["adds"] == "baseline"
    assert "run control to tell that from the technique" in as_text(without)


def test_a_technique_without_a_sure_gain_has_no_price_a_point() -> None:
    slow: dict[str, Any] = {"train_s": 101.0}
    rows = [*everywhere("baseline", 0.7), *everywhere("good", 0.9, **slow),
            *everywhere("same", 0.8, **slow), *everywhere("bad", 0.8, **slow)]  # fmt: skip
    found = ranked(*rows, baseline=0.3, good=0.1, same=0.295, bad=0.4)
    table = found.table.set_index("arm")
    gained = 100 * table["gain"]["good"]
    assert table["s_per_point"]["good"] == pytest.approx(100 / gained)
    assert table["gain"]["same"] > 0
    assert table["s_per_point"][["same", "bad"]].isna().all()
    assert as_text(found).count("no sure gain") == 2


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
    even = ranked(record("a", 0, 0.9), record("b", 0, 0.9))
    assert not any("different seeds/folds" in note for note in even.notes)
    uneven = ranked(record("a", 0, 0.9), record("b", 1, 0.9, fold=2))
    assert any("different seeds/folds (a: 0/0; b: 1/2)" in note for note in uneven.notes)


def test_techniques_without_a_common_seed_are_not_compared() -> None:
    found = ranked(record("a", 0, 0.9), record("b", 1, 0.8))
    assert found.comparisons.empty
    assert "nothing can be compared" in as_text(found)


def test_the_table_is_readable_and_says_the_interval() -> None:
    text = as_text(ranked(record("weighted", 0, 0.9), record("baseline", 0, 0.8)))
    assert text.splitlines()[0].split()[:3] == ["rank", "technique", "runs"]
    assert "0.900" in text
    assert " to 0." in text
    assert "McNemar p" in text
    assert "s a point" in text
