"""A part of the lab's server that hangs is ended and started again; one that is slow is not."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.service import free_port

SERVER = """
import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""
HUNG_S = 2.0


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docker"))
    return import_module("parts")


@pytest.fixture
def part(parts: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """A web server as a part, that may be silent for HUNG_S."""
    port = free_port()

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}", timeout=0.5).ok
        except requests.RequestException:
            return False

    one = parts.Part(
        name="the page", command=[sys.executable, "-c", SERVER, str(port)],
        log=tmp_path / "page.log", settings={}, answers=answers, hung_s=HUNG_S,
    )  # fmt: skip
    with parts.running(one) as now:
        yield now


def tended(now: Any, seconds: float) -> list[str]:
    """What is said of it in so many seconds, or until it answers again."""
    said: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and "answers again" not in "".join(said):
        said += [line] if (line := now.tend()) else []
        time.sleep(0.1)
    return said


def test_one_that_hangs_is_ended_and_comes_back(part: Any) -> None:
    assert tended(part, 2 * HUNG_S) == []
    former = part.process
    former.send_signal(signal.SIGSTOP)
    hangs, back = tended(part, 30)
    assert hangs.startswith("the page hangs: no answer for ")
    assert "; it is started again in 1 s; see " in hangs
    assert back.startswith("the page answers again, ")
    assert former.returncode == -signal.SIGKILL
    assert part.part.answers()


def test_one_that_answers_in_time_again_goes_on(part: Any) -> None:
    former = part.process
    former.send_signal(signal.SIGSTOP)
    assert tended(part, HUNG_S / 2) == []
    former.send_signal(signal.SIGCONT)
    assert tended(part, 3 * HUNG_S) == []
    assert part.process is former


def test_silence_is_counted_from_a_question_not_from_the_last_answer(part: Any) -> None:
    """The supervisor itself may have stood still, as in a machine that was paused."""
    part.tend()
    time.sleep(2 * HUNG_S)
    part.process.send_signal(signal.SIGSTOP)
    assert tended(part, HUNG_S / 2) == []
    part.process.send_signal(signal.SIGCONT)
    assert tended(part, HUNG_S) == []


class Tidied:
    """What libraries leave to Python's tidying up, during which an interrupt is lost."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGUSR1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_library_loses_ends_the_watch(parts: ModuleType) -> None:
    told = threading.Event()
    lost: list[int] = []

    def interrupt(*_: object) -> None:
        told.set()
        lost.append(1)
        raise KeyboardInterrupt

    class Looked:
        def tend(self) -> None:
            Tidied()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        parts.watch([Looked()], print, told.is_set)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lost == [1]
