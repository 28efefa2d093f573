"""What each way of splitting adds, paired by subject, from records of runs."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from leukemia.errors import UserError
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking import inflation
from leukemia.ranking.networks import Network
from tests.test_ranking import record

SUBJECTS = 40


def run(arm: str, protocol: str, wrong: float, seed: int = 0, **others: Any) -> tuple:
    """A record and its test cells: ten cells a subject, `wrong` of them on average missed."""
    run_id = f"{arm}-{protocol}-{seed}"
    rng = np.random.default_rng([seed, len(protocol), len(arm)])
    numbers = np.repeat(np.arange(SUBJECTS), 10)
    labels = (numbers % 2).astype(np.int8)
    missed = rng.random(len(labels)) < wrong
    scores = np.where(labels ^ missed, 0.9, 0.1).astype(np.float32)
    cells = Predictions(
        labels=labels,
        scores=scores,
        subjects=numbers.astype(str),
        cell_id=np.arange(len(labels)).astype(str),
    )
    fields: dict[str, Any] = {
        "run_id": run_id, "protocol": protocol, "cells": "400 cells", "note": "a network",
        "simulated_data": "", **others,
    }  # fmt: skip
    return record(arm, seed, 0.8, **fields), run_id, Network(validation=cells, test=cells)


def measured(*runs: tuple) -> inflation.Inflation:
    records = inflation.comparable(pd.DataFrame([row for row, _, _ in runs]))
    return inflation.measure(records, {run_id: cells for _, run_id, cells in runs}, "bal_acc")


def test_each_mistake_adds_what_its_protocol_has_over_the_one_without_it() -> None:
    found = measured(
        run("baseline", "subject", 0.30), run("baseline", "image", 0.15),
        run("baseline", "thesis", 0.05),
    )  # fmt: skip
    steps = found.steps.set_index("step")["difference"]
    value = found.figures.set_index("protocol")["value"]
    assert steps["random split"] == pytest.approx(value["image"] - value["subject"])
    assert steps["balancing before the split"] == pytest.approx(value["thesis"] - value["image"])
    assert steps["both"] == pytest.approx(value["thesis"] - value["subject"])
    assert (found.steps["lo"] > 0).all()
    assert found.steps["subjects"].tolist() == [SUBJECTS] * 3


def test_protocols_that_do_the_same_add_nothing() -> None:
    same = run("baseline", "image", 0.2)
    thesis = (same[0] | {"protocol": "thesis", "run_id": "t"}, "t", same[2])
    found = measured(run("baseline", "subject", 0.2), same, thesis)
    step = found.steps.set_index("step").loc["balancing before the split"]
    assert step["difference"] == step["lo"] == step["hi"] == 0


def test_the_text_says_what_each_step_adds_on_which_cells() -> None:
    text = inflation.as_text(
        measured(
            run("adasyn", "subject", 0.3, simulated_data="drawn cells"),
            run("adasyn", "image", 0.1, simulated_data="drawn cells"),
        )
    )
    assert "adasyn: random split adds +0." in text
    assert "to test bal_acc" in text
    assert "SIMULATED DATA: drawn cells" in text
    assert "real cells only are tested" in text
    assert "Research use only" in text


def test_runs_of_another_budget_are_no_part_of_it() -> None:
    runs = [
        run("baseline", "subject", 0.3, budget="quick"),
        run("baseline", "image", 0.1, budget="equal"),
    ]
    with pytest.raises(UserError, match="2 finished runs are of 2 different terms") as refused:
        measured(*runs)
    named = {line.split("budget ")[1]: line.split()[0] for line in refused.value.choices}
    assert set(named) == {"equal", "quick"}
    rows = pd.DataFrame([row for row, _, _ in runs])
    chosen = inflation.comparable(rows, named["quick"].removeprefix("terms="))
    assert list(chosen["budget"]) == ["quick"]
    with pytest.raises(UserError, match="no technique was run under two protocols"):
        inflation.measure(chosen, {runs[0][1]: runs[0][2]}, "bal_acc")


def test_only_the_runs_of_its_own_plan_are_measured() -> None:
    rows = [
        run("baseline", protocol, 0.3, key=protocol)[0] for protocol in ("subject", "image")
    ] + [run("baseline", "official", 0.3, key="official", folds="1")[0]]
    later = run("baseline", "subject", 0.1, seed=5, key="other", data_digest="other")[0]
    records = pd.DataFrame([*rows, later])
    kept = inflation.comparable(records, keys={"subject", "image", "official"})
    assert list(kept["protocol"]) == ["subject", "image", "official"]
    assert set(kept["data_digest"]) == {"same"}


def test_folds_in_another_number_are_other_terms_but_for_the_official_split() -> None:
    rows = [run("baseline", "official", 0.3, folds="1")[0], run("baseline", "image", 0.3)[0]]
    assert len(inflation.comparable(pd.DataFrame(rows))) == 2
    assert len(inflation.comparable(pd.DataFrame(rows[:1]))) == 1
    rows.append(run("baseline", "subject", 0.3, folds="3")[0])
    with pytest.raises(UserError, match="of 2 different terms"):
        inflation.comparable(pd.DataFrame(rows))


def test_only_seeds_that_both_protocols_ran_are_set_against_each_other() -> None:
    found = measured(
        run("baseline", "subject", 0.3, seed=0), run("baseline", "subject", 0.3, seed=1),
        run("baseline", "image", 0.1, seed=1),
    )  # fmt: skip
    assert found.steps["runs"].tolist() == [1]


def test_a_technique_of_one_protocol_alone_is_left_out() -> None:
    found = measured(
        run("baseline", "subject", 0.3), run("baseline", "image", 0.1), run("dcgan", "subject", 0.3)
    )
    assert set(found.figures["arm"]) == {"baseline"}


def test_the_picture_is_drawn() -> None:
    picture = inflation.figure(
        measured(run("baseline", "subject", 0.3), run("baseline", "image", 0.1))
    )
    assert picture.dtype == np.uint8
    assert picture.std() > 10
