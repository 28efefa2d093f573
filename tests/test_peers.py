"""Which finished runs are ranked together: one set of terms, named or alone, or a study's plan."""

import time

import pandas as pd
import pytest

from leukemia.errors import UserError
from leukemia.ranking import peers
from leukemia.ranking import rank as ranking
from leukemia.ranking.peers import TERMS
from tests.test_ranking import cells, record


def digest_of(row: dict) -> str:
    return str(peers.digests(pd.DataFrame([row])).iloc[0])[: peers.DIGITS]


def test_runs_without_the_metric_are_left_out_and_counted() -> None:
    old, new = record("a", 0, 0.9), record("b", 1, 0.7, val_mcc=0.4)
    repeated = record("b", 1, 0.6, val_mcc=0.3, run_id="early", start_time=old["start_time"])
    late = record("c", 2, 0.9)  # the latest run, without it as well
    records = pd.DataFrame([old, new, repeated, late])
    kept, left_out = peers.comparable(records, metric="mcc")
    assert kept["run_id"].tolist() == ["b-1-0"]
    assert peers.left_out_text(left_out, "mcc") == (
        "1 runs on other terms, of other plans or of repeated seeds are left out. "
        "2 runs without val_mcc are left out."
    )
    assert peers.left_out_text(left_out.head(0), "mcc") == ""
    table = ranking.rank(kept, {"b-1-0": cells(0.2)}, "mcc").table
    assert table["val"].tolist() == [0.4]
    assert -1 < table["lo"].iloc[0] < table["test"].iloc[0] < table["hi"].iloc[0] < 1
    for protocol in (None, "subject"):
        with pytest.raises(UserError, match="none of 2 runs has val_kappa: they are of a version"):
            peers.comparable(pd.DataFrame([old, new]), protocol, "kappa")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_figure_that_is_no_number_is_none(value: float) -> None:
    records = pd.DataFrame([record("a", 0, 0.7), record("b", 0, value)])
    kept, left_out = peers.comparable(records)
    assert list(kept["arm"]) == ["a"]
    assert "1 runs without val_bal_acc" in peers.left_out_text(left_out, "bal_acc")


@pytest.mark.parametrize("term", TERMS)
def test_runs_of_several_terms_are_refused_until_one_of_them_is_named(term: str) -> None:
    other = "official" if term == "protocol" else "other"
    first = record("a", 0, 0.9, cells="90 cells") | {term: other}
    second = record("b", 1, 0.7, cells="60 cells")
    records = pd.DataFrame([first, second])
    with pytest.raises(UserError, match="2 finished runs are of 2 different terms") as refused:
        peers.comparable(records)
    latest, earlier = refused.value.choices
    assert latest.startswith(f"terms={digest_of(second)}  1 run of b, the latest of 2026-01-01")
    assert earlier.startswith(f"terms={digest_of(first)}  1 run of a, ")
    assert latest.endswith(f"60 cells; {term} {second[term]}")
    assert earlier.endswith(f"90 cells; {term} {other}")
    assert f"choose one of terms={digest_of(second)} of 1, " in str(refused.value)
    for row in (first, second):
        kept, left_out = peers.comparable(records, terms=digest_of(row)[:5])
        assert list(kept["arm"]) == [row["arm"]]
        assert len(left_out) == 1


def test_the_list_says_only_what_sets_the_terms_apart_and_no_more_than_a_screen() -> None:
    rows = [record("a", number, 0.9, batch_size=str(number)) for number in range(25)]
    with pytest.raises(UserError) as refused:
        peers.comparable(pd.DataFrame(rows))
    lines = refused.value.choices
    assert len(lines) == peers.LISTED + 1
    assert lines[0].endswith(": batch_size 24")
    assert lines[-1] == "and 5 more"
    assert len(str(refused.value)) < 300


def test_terms_that_no_run_has_or_that_begin_several_are_refused() -> None:
    first = record("a", 0, 0.9)
    records = pd.DataFrame([first, record("b", 1, 0.7, budget="other")])
    with pytest.raises(UserError, match="no finished run is of terms=xyz; there are terms="):
        peers.comparable(records, terms="xyz")
    one = peers.comparable(records, terms=digest_of(first))[0]
    assert list(one["arm"]) == ["a"]
    rows = [record("a", number, 0.9, budget=str(number)) for number in range(17)]
    digests = peers.digests(pd.DataFrame(rows))
    (begins, *_) = digests.str[0].mode()  # 17 digests begin with one of 16 digits: two alike
    with pytest.raises(UserError, match="different terms, which cannot be compared"):
        peers.comparable(pd.DataFrame(rows), terms=begins)


def test_runs_of_before_the_code_was_logged_are_one_set_of_their_own() -> None:
    old = [{k: v for k, v in record(arm, 0, 0.9).items() if k != "code"} for arm in "ab"]
    assert len(peers.comparable(pd.DataFrame(old))[0]) == 2
    assert "code unknown" in peers.line(pd.DataFrame(old))
    mixed = pd.DataFrame([*old, record("c", 1, 0.9)])
    with pytest.raises(UserError) as refused:
        peers.comparable(mixed)
    assert [line.split("code ")[1] for line in refused.value.choices] == ["same", "unknown"]
    kept, _ = peers.comparable(mixed, terms=digest_of(old[0]))
    assert list(kept["arm"]) == ["a", "b"]


def test_the_runs_of_a_plan_are_those_with_its_keys_whatever_came_later() -> None:
    planned = [record("a", seed, 0.8, key=f"a{seed}") for seed in (0, 1)]
    later = record("b", 9, 0.9, key="b9", data_digest="other", protocol="official")
    again = record("a", 1, 0.7, key="a1", run_id="again", start_time=pd.Timestamp("2026-02-01"))
    records = pd.DataFrame([*planned, later, again])
    kept, left_out = peers.comparable(records, keys={"a0", "a1", "a2"})
    assert kept["run_id"].tolist() == ["a-0-0", "again"]
    assert set(left_out["run_id"]) == {"a-1-0", "b-9-0"}
    for there in (records, records.drop(columns="key")):
        with pytest.raises(UserError, match="none of the 2 runs of this plan has finished here"):
            peers.comparable(there, keys={"x", "y"})


def test_a_plan_may_be_of_a_protocol_that_flatters() -> None:
    records = pd.DataFrame([record("a", 0, 0.7), record("b", 0, 0.9, protocol="image", key="k")])
    assert list(peers.comparable(records, keys={"k"})[0]["arm"]) == ["b"]


def test_the_latest_of_repeated_runs_counts() -> None:
    early = record("a", 0, 0.9)
    late = record("a", 0, 0.6, run_id="late", start_time=pd.Timestamp("2026-02-01"))
    kept, left_out = peers.comparable(pd.DataFrame([late, early]))
    assert list(kept["run_id"]) == ["late"]
    assert len(left_out) == 1


def test_another_split_of_the_same_seed_and_fold_is_no_repetition() -> None:
    rows = [record("a", 0, 0.9, run_id=f"split {split}", split_seed=split) for split in (0, 1)]
    assert len(peers.comparable(pd.DataFrame(rows))[0]) == 2


def test_a_protocol_that_flatters_is_ranked_only_when_it_is_asked_for() -> None:
    late = pd.Timestamp("2026-02-01")
    records = pd.DataFrame(
        [record("a", 0, 0.7), record("a", 0, 0.9, protocol="image", start_time=late)]
    )
    assert peers.comparable(records)[0]["protocol"].tolist() == ["subject"]
    assert peers.comparable(records, "image")[0]["protocol"].tolist() == ["image"]
    with pytest.raises(UserError, match="no run is of protocol official: there are runs of image"):
        peers.comparable(records, "official")


def test_what_is_ranked_is_named_with_its_terms() -> None:
    rows = [record(arm, 0, 0.9, data_digest="da7a", code="c0de" * 16) for arm in "ab"]
    said = peers.line(pd.DataFrame(rows))
    assert said.startswith(f"Ranked: 2 runs of a, b on terms={digest_of(rows[0])}: data da7a")
    assert "code c0dec0de," in said


def test_a_thousand_runs_are_sorted_out_at_once() -> None:
    rows = [
        record(f"arm{number % 5}", number, 0.9, key=str(number), budget=str(number % 4))
        for number in range(1000)
    ]
    records = pd.DataFrame(rows)
    begun = time.perf_counter()
    with pytest.raises(UserError, match="of 4 different terms"):
        peers.comparable(records)
    kept, _ = peers.comparable(records, terms=digest_of(rows[0]))
    assert len(kept) == 250
    assert len(peers.comparable(records, keys={str(n) for n in range(0, 1000, 4)})[0]) == 250
    assert time.perf_counter() - begun < 2
