"""The benchmark's table says what was measured, and a peer's other work is no comparison."""

import pytest

from benchmarks import harness
from benchmarks.__main__ import JOBS, table
from benchmarks.harness import ROOT


def record(**changed: object) -> dict:
    return {
        "job": "toy", "title": "Toy", "seconds": {"peer": [4.0, 5.0, 3.0], "ours": [2.0, 1.0, 3.0]},
        "peak_gib": {"peer": 1.0, "ours": 0.5}, "work": {"ours": 1e9}, "same": "the same sums",
        "ceilings": {"float32": 1e9, "bfloat16": 2e9, "copy": 1e10},
        "precision": {"ours": "float32"},
        "goals": [{"ours": "ours", "peer": "peer", "times": 3.0, "reached": 2.0}],
    } | changed  # fmt: skip


def test_a_row_has_median_range_ratio_share_of_the_ceiling_and_memory() -> None:
    rows = [line for line in table([record()]).splitlines() if line.startswith("| ")]
    assert "| Toy | peer | 4 | 3 to 5 | 1.00 | - | - | 1.00 |" in rows
    assert "|  | ours | 2 | 1 to 3 | 2.00 | 3, **falls short** | 50% | 0.50 |" in rows


def test_a_goal_that_is_reached_does_not_fall_short() -> None:
    goal = {"ours": "ours", "peer": "peer", "times": 1.5, "reached": 2.0}
    assert "falls short" not in table([record(goals=[goal])])


def test_against_a_second_peer_it_is_said_what_was_reached() -> None:
    goal = {"ours": "ours", "peer": "another", "times": 1.5, "reached": 1.25}
    assert "| 1.5 times another: 1.25, **falls short** |" in table([record(goals=[goal])])


def test_without_a_goal_nothing_is_compared() -> None:
    assert "|  | ours | 2 | 1 to 3 | - | - | 50% | 0.50 |" in table([record(goals=[])])


def test_other_work_is_named_and_not_compared() -> None:
    text = table([{"job": "toy", "refused": "other cells were made"}])
    assert "not the same work: other cells were made" in text


def test_every_job_is_in_the_list_and_names_functions_that_are_there() -> None:
    from importlib import import_module

    there = {path.stem for path in (ROOT / "benchmarks/jobs").glob("[a-z]*.py")}
    assert set(JOBS) == there
    for name in JOBS:
        module = import_module(f"benchmarks.jobs.{name}")
        for contender in module.JOB.contenders.values():
            assert callable(getattr(module, contender.prepare))
        for goal in module.JOB.goals:
            assert {goal.ours, goal.peer} <= set(module.JOB.contenders)


@pytest.mark.slow
def test_a_real_job_from_end_to_end(capfd: pytest.CaptureFixture[str]) -> None:
    found = harness.run("startup", rounds=2)
    assert len(found["seconds"]["ours"]) == 2
    assert found["ceilings"]["float32"] > 1e9
    assert 0.01 < found["peak_gib"]["ours"] < 10
    assert "--help" in table([found])
