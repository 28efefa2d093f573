"""What a run costs, over all attempts at it: work that was kept counts, and counts once."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest

from leukemia.errors import UserError
from leukemia.experiment.clock import FILE, Clock

SLEPT, LOST = 0.2, 0.4  # seconds


class Killed(BaseException):
    """Ends an attempt where it is."""


def test_a_step_that_saves_adds_up_and_what_was_lost_does_not_count(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with suppress(Killed), clock.step("balance"):
        time.sleep(SLEPT)
        clock.keep()
        time.sleep(LOST)
        raise Killed
    clock = Clock(tmp_path)
    with clock.step("balance"):
        time.sleep(SLEPT)
    assert 2 * SLEPT <= clock.costs["balance_s"] < 2 * SLEPT + LOST
    assert Clock(tmp_path).costs["balance_s"] == clock.costs["balance_s"]


def test_a_step_that_is_over_and_done_again_counts_once(tmp_path: Path) -> None:
    for seconds in (SLEPT, 0.0, LOST):
        clock = Clock(tmp_path)
        with clock.step("balance"):
            time.sleep(seconds)
            clock.keep()
        with suppress(Killed), clock.step("train"):
            time.sleep(SLEPT)
            clock.keep()
            raise Killed
    costs = Clock(tmp_path).costs
    assert SLEPT <= costs["balance_s"] < LOST
    assert 3 * SLEPT <= costs["train_s"] < 3 * SLEPT + LOST


def test_memory_is_that_of_the_attempt_that_held_most(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with clock.step("train"):
        pass
    own = clock.costs["peak_gib"]
    told = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(told | {"peak_gib": own + 7}))
    assert Clock(tmp_path).costs["peak_gib"] == own + 7
    (tmp_path / FILE).write_text(json.dumps(told | {"peak_gib": own / 2}))
    assert Clock(tmp_path).costs["peak_gib"] >= own


def test_without_a_folder_it_counts_one_attempt() -> None:
    clock = Clock(None)
    with clock.step("review"):
        time.sleep(SLEPT)
        clock.keep()
    assert clock.costs.keys() == {"review_s", "review_wh", "peak_gib"}
    assert clock.costs["review_s"] >= SLEPT


def test_costs_that_cannot_be_read_or_written_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UserError, match=r"costs.json is damaged .*: remove it"):
        Clock(tmp_path)
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"costs cannot be written to .* \("),
        Clock(tmp_path / "file").step("train"),
    ):
        pass
