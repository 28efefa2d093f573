"""What stands beside a ranking: thresholds, calibration and the review of synthetic cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from benchmarks.verdicts import Design, study
from leukemia.evaluation import intervals
from leukemia.ranking import details
from leukemia.ranking.networks import Network
from leukemia.ranking.rank import rank

SHIFT = 2.0  # of log-odds, by which a technique's scores lie too high


def drawn(shifted: tuple[str, ...] = ()) -> tuple[pd.DataFrame, dict[str, Network]]:
    """Records and cells of two arms alike, the scores of some moved by a constant."""
    runs = study(Design("pilot", "scores", 20, 14, 2, 3), 0.0, np.random.default_rng(2))
    rows, cells = [], {}
    for arm in ("baseline", "c"):
        for (seed, fold), network in runs[arm].items():
            run_id = f"{arm} {seed} {fold}"
            up = SHIFT if arm in shifted else 0.0
            validation, test = (
                replace(side, scores=expit(logit(side.scores) + up))
                for side in (network.validation, network.test)
            )
            cells[run_id] = Network(validation=validation, test=test)
            rows.append(
                {
                    "run_id": run_id, "arm": arm, "seed": int(seed), "fold": fold,
                    "val_auroc": 0.9, "val_bal_v": 0.9, "val_bal_acc": 0.9, "balance_s": 0.0,
                    "train_s": 1.0, "synthetic": 0.0,
                }
            )  # fmt: skip
    return pd.DataFrame(rows), cells


REFERENCES = {"c": "baseline", "baseline": ""}


def test_a_moved_score_costs_balanced_accuracy_at_half_and_nothing_at_validation_s_threshold() -> (
    None
):
    records, cells = drawn(("c",))
    table = details.details(records, cells, REFERENCES).thresholds.set_index("arm")
    untouched = details.details(*drawn(), REFERENCES).thresholds.set_index("arm")
    assert table["bal_acc"]["c"] < untouched["bal_acc"]["c"] - 0.05
    assert table["bal_v"]["c"] == pytest.approx(untouched["bal_v"]["c"])
    assert table["spec95s"]["c"] == pytest.approx(untouched["spec95s"]["c"])
    for name in ("bal_acc", "bal_v", "spec95s"):
        assert (table[f"{name}_lo"] < table[name]).all()
        assert (table[name] < table[f"{name}_hi"]).all()


def test_a_ranking_by_bal_v_is_of_calls_from_validation_s_threshold() -> None:
    records, cells = drawn(("c",))
    of_view = rank(records, cells, "bal_v").table.set_index("arm")["test"]
    beside = details.details(records, cells, REFERENCES).thresholds.set_index("arm")["bal_v"]
    assert of_view["c"] == pytest.approx(beside["c"])
    usual = rank(records, cells, "bal_acc").table.set_index("arm")["test"]
    assert usual["c"] < of_view["c"] - 0.05


def test_a_known_prior_is_corrected_for_and_the_difference_from_the_reference_shows_it() -> None:
    records, cells = drawn(("c",))
    own = 0.5
    seen = float(expit(logit(own) + SHIFT))  # the prior that moves log-odds by SHIFT
    records["train_prior"] = own
    records["effective_prior"] = np.where(records["arm"] == "c", seen, own)
    table = details.details(records, cells, REFERENCES).calibration
    assert table[["arm", "prior"]].to_numpy().tolist() == [
        ["c", "as trained"], ["c", "corrected"], ["baseline", "as trained"],
    ]  # fmt: skip
    raw, corrected, baseline = table.to_dict("records")
    assert raw["ece"] > corrected["ece"] + 0.05
    assert raw["apart_lo"] > 0
    assert corrected["apart_lo"] < 0 < corrected["apart_hi"]
    assert np.isnan(baseline["apart"])
    plain = intervals.interval([[n.test for k, n in cells.items() if k.startswith("baseline 0")],
                                [n.test for k, n in cells.items() if k.startswith("baseline 1")]],
                               "brier")  # fmt: skip
    assert baseline["brier"] == pytest.approx(plain.value)


def test_only_arms_that_added_cells_have_a_review_and_it_says_what_kid_is_of() -> None:
    records, cells = drawn()
    assert details.details(records, cells, REFERENCES).review.empty
    added = records["arm"] == "c"
    told = {
        "synth_measured": 50.0, "synth_kid": 0.02, "synth_kid_lo": 0.01, "synth_kid_hi": 0.03,
        "floor_kid": 0.001, "review_s": 2.0,
    }  # fmt: skip
    for name, value in told.items():
        records[name] = np.where(added, value, np.nan)
    records["review_features"] = np.where(added, "fixed features", "")
    found = details.details(records, cells, REFERENCES)
    assert found.review["arm"].tolist() == ["c"]
    text = details.as_text(found).split("\n\n")[-1]
    assert "KID in fixed features" in text
    assert "0.0200 [0.0100, 0.0300]  0.0010" in text
