"""The suite of faults sees what it is to see, and its commands run: `make faults` takes hours."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.faults import soak, trainings
from tests.faults.trainings import Left

WHOLE = Left(
    digests={"weights": "a", "figures": "b"}, costs={"train_s": 100.0, "review_s": 0.0}, files=2
)


def test_a_training_that_left_the_same_has_no_differences() -> None:
    assert WHOLE.differences(WHOLE, 0) == []
    assert replace(WHOLE, costs={"train_s": 109.0, "review_s": 0.0}).differences(WHOLE, 0) == []


@pytest.mark.parametrize(
    ("digests", "costs", "expected"),
    [
        ({"weights": "c", "figures": "b"}, {}, ["weights differ"]),
        ({"weights": "a"}, {}, ["figures differ"]),
        ({"weights": "a", "figures": "b", "more": "d"}, {}, ["more differ"]),
        (
            {},
            {"train_s": 112.0},
            ["figures differ", "weights differ", "train_s is 112.0 for 100.0"],
        ),
        ({"weights": "a", "figures": "b"}, {"train_s": 80.0}, ["train_s is 80.0 for 100.0"]),
    ],
)
def test_each_difference_is_named(
    digests: dict[str, str], costs: dict[str, float], expected: list[str]
) -> None:
    other = replace(WHOLE, digests=digests, costs=WHOLE.costs | costs)
    assert other.differences(WHOLE, 1.0) == expected


def test_what_mlflow_draws_in_the_names_of_pictures_is_no_difference() -> None:
    """But the same picture twice is."""
    first, again = (f"images/p+step+2+timestamp+17+{letters}.png" for letters in ("a0-b", "c1-d"))
    assert trainings.DRAWN.sub("", first) == trainings.DRAWN.sub("", again) == "images/p+step+2.png"


def test_a_curve_that_grows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def rows(growth: float) -> list[dict[str, float]]:
        return [
            {"hours": n, "study memory, MiB": 700 + growth * n, "study handles": 7.0}
            for n in range(100)
        ]

    assert soak.report(rows(0.2), 24) == 0
    assert soak.report(rows(3.0), 24) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "GROWS" in line]
    assert line.split()[:2] == ["study", "memory,"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["soak", "--hours", "1"], "6 trials, 1 hours as simulated"),
        (["outage", "--minutes", "0.2"], "outlasting: away for "),
        (["kills", "--points", "2", "--techniques", "weighted"], "weighted ("),
    ],
)
def test_its_commands_find_nothing_wrong(words: list[str], expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{words[0]}", *words[1:]],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout
