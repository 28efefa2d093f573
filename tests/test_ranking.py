"""The ranking is a pure function of records: chosen on validation, reported on test."""

import pandas as pd
import pytest

from leukemia import ranking
from leukemia.ranking import COSTS, SHOWN, TERMS


def record(arm: str, seed: int, val: float, test: float = 0.8, **others: object) -> dict:
    return {
        "run_id": f"{arm}-{seed}",
        "arm": arm,
        "seed": seed,
        "start_time": pd.Timestamp("2026-01-01") + pd.Timedelta(seed, "h"),
        **dict.fromkeys(TERMS, "same"),
        "val_bal_acc": val,
        **dict.fromkeys(SHOWN, test),
        **dict.fromkeys(COSTS, 1.0),
        "test_ba_low": test - 0.1,
        "test_ba_high": test + 0.1,
        **others,
    }


def test_the_order_goes_by_mean_validation_and_never_by_test() -> None:
    records = pd.DataFrame(
        [
            record("a", 0, 0.90, test=0.50), record("a", 1, 0.80, test=0.52),
            record("b", 0, 0.70, test=0.99), record("b", 1, 0.80, test=0.97),
        ]
    )  # fmt: skip
    table = ranking.rank(records)
    assert list(table["arm"]) == ["a", "b"]
    assert list(table["rank"]) == [1, 2]
    assert list(table["seeds"]) == [2, 2]
    assert table["val_bal_acc"].tolist() == pytest.approx([0.85, 0.75])
    assert table["val_sd"].tolist() == pytest.approx([0.05 * 2**0.5] * 2)
    assert table["test_bal_acc"].tolist() == pytest.approx([0.51, 0.98])


def test_the_best_run_is_the_best_on_validation() -> None:
    records = pd.DataFrame([record("a", s, v) for s, v in enumerate((0.7, 0.9, 0.9))])
    assert ranking.rank(records)["run_id"].tolist() == ["a-1"]


def test_the_interval_shown_is_the_widest() -> None:
    records = pd.DataFrame([record("a", 0, 0.7, test=0.8), record("a", 1, 0.7, test=0.9)])
    row = ranking.rank(records).iloc[0]
    assert (row["test_ba_low"], row["test_ba_high"]) == pytest.approx((0.7, 1.0))


def test_one_seed_has_no_spread() -> None:
    assert ranking.rank(pd.DataFrame([record("a", 0, 0.7)]))["val_sd"].tolist() == [0.0]


@pytest.mark.parametrize("term", TERMS)
def test_runs_on_other_terms_are_left_out(term: str) -> None:
    records = pd.DataFrame([record("a", 0, 0.9, **{term: "other"}), record("b", 1, 0.7)])
    kept, left_out = ranking.comparable(records)
    assert list(kept["arm"]) == ["b"]
    assert list(left_out["arm"]) == ["a"]


def test_the_latest_of_repeated_runs_counts() -> None:
    early = record("a", 0, 0.9)
    late = record("a", 0, 0.6, run_id="late", start_time=pd.Timestamp("2026-02-01"))
    kept, left_out = ranking.comparable(pd.DataFrame([late, early]))
    assert list(kept["run_id"]) == ["late"]
    assert len(left_out) == 1


def test_arms_on_different_seeds_are_warned_of() -> None:
    even = pd.DataFrame([record("a", 0, 0.9), record("b", 0, 0.9)])
    assert ranking.uneven(even) == ""
    uneven = pd.DataFrame([record("a", 0, 0.9), record("b", 1, 0.9)])
    assert "a: 0; b: 1" in ranking.uneven(uneven)


def test_an_order_inside_the_leaders_interval_is_warned_of() -> None:
    near = pd.DataFrame([record("a", 0, 0.9, test=0.85), record("b", 0, 0.8, test=0.80)])
    assert "of b: this order may be chance" in ranking.undecided(ranking.rank(near))
    far = pd.DataFrame([record("a", 0, 0.9, test=0.85), record("b", 0, 0.8, test=0.60)])
    assert ranking.undecided(ranking.rank(far)) == ""


def test_the_table_is_readable_and_says_the_interval() -> None:
    text = ranking.as_text(ranking.rank(pd.DataFrame([record("weighted", 0, 0.9, test=0.8)])))
    assert text.splitlines()[0].split()[:3] == ["rank", "technique", "seeds"]
    assert "0.900 ± 0.000" in text
    assert "0.700 to 0.900" in text
