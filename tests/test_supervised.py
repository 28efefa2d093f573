"""The lab's server looks after its parts: what ends comes back, and nothing logged is lost.

One stack for all of these tests, in this order.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import psutil
import pytest
import requests

from tests.service import PATH, free_port, log_in, native

pytestmark = pytest.mark.slow
PARTS = {  # the part's name in /health -> in lines on the terminal, and its process
    "database": ("the database (PostgreSQL)", "postgres"),
    "store": ("the store (SeaweedFS)", "weed"),
    "server": ("the MLflow server", "mlflow"),
}
PATIENCE_S = 120  # on a machine that is busy with other things


class Up:
    """`native.py up` on a folder and a port of its own, as a person starts it at a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.log = folder, free_port(), folder / "up.log"
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [*native(self.folder / "server"), "up", "--port", str(self.port)],
                stdout=out, stderr=out, env=os.environ | {"PATH": PATH},
            )  # fmt: skip
        until(lambda: "MLflow listens" in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def part(self, name: str) -> psutil.Process:
        (process,) = (
            each
            for each in psutil.Process(self.process.pid).children()
            if name in " ".join(each.cmdline()[:3])
        )
        return process

    def health(self) -> tuple[int, dict[str, str]]:
        """Status and words; 0 while nothing listens."""
        try:
            answer = requests.get(f"{self.address}/health", timeout=10)
        except requests.ConnectionError:
            return 0, {}
        return answer.status_code, answer.json()

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


def until(true: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def two_lines(up: Up, before: int, patience_s: float = PATIENCE_S) -> list[str]:
    """What is said after so many lines, without the time: two lines, once they are there."""
    until(lambda: len(up.lines()) >= before + 2, patience_s)
    return [line[len("2026-01-01 00:00:00 ") :] for line in up.lines()[before:]]


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="leukemia-up-"))  # PostgreSQL runs as another user
    folder.chmod(0o711)
    now = Up(folder)
    try:
        yield now
    finally:
        if now.process.poll() is None:
            now.end(signal.SIGTERM)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ada(up: Up) -> dict[str, str]:
    return log_in(up.folder / "server", "ada", "trainer")


@pytest.fixture
def client(up: Up, ada: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """A trainer's, with the retries that MLflow itself makes."""
    for name, value in ada.items():
        monkeypatch.setenv(name, value)
    return mlflow.MlflowClient(up.address)


def begin(client: mlflow.MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name("leukemia")
    experiment = found.experiment_id if found else client.create_experiment("leukemia")
    return str(client.create_run(experiment, run_name=name).info.run_id)


def log(client: mlflow.MlflowClient, run: str, *steps: int) -> None:
    for step in steps:
        client.log_metric(run, "loss", step / 7, step=step)
        client.log_text(run, f"step {step}", f"texts/{step}.txt")


def holds(client: mlflow.MlflowClient, run: str, steps: int) -> None:
    history = client.get_metric_history(run, "loss")
    assert [(each.step, each.value) for each in history] == [(n, n / 7) for n in range(steps)]
    names = {file.path for file in client.list_artifacts(run, "texts")}
    assert names == {f"texts/{step}.txt" for step in range(steps)}
    place = client.download_artifacts(run, "texts")
    assert [(Path(place) / f"{n}.txt").read_text() for n in range(steps)] == [
        f"step {n}" for n in range(steps)
    ]


def test_health_tells_of_each_part_to_anybody_and_of_no_place(up: Up) -> None:
    assert up.health() == (200, dict.fromkeys(PARTS, "ok"))
    assert set(requests.get(f"{up.address}/health").headers) <= {
        "date", "server", "content-length", "content-type", "x-content-type-options",
        "x-frame-options", "vary",
    }  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_while_a_run_is_logged_comes_back(
    up: Up, client: mlflow.MlflowClient, name: str
) -> None:
    words, program = PARTS[name]
    run = begin(client, f"{name} is killed")
    log(client, run, 0, 1, 2)
    before = len(up.lines())
    with ThreadPoolExecutor(1) as logging:
        up.part(program).kill()
        more = logging.submit(lambda: log(client, run, 3, 4, 5))
        told = []
        until(lambda: told.append(up.health()) or told[-1][0] != 200)  # type: ignore
        until(lambda: told.append(up.health()) or told[-1][0] == 200)  # type: ignore
        more.result(PATIENCE_S)
    status, said = next(each for each in told if each[0] != 200)
    if name == "server":  # which cannot answer itself
        assert (status, said) == (0, {})
    else:
        assert (status, said) == (503, dict.fromkeys(PARTS, "ok") | {name: "does not answer"})
    ended, returned = two_lines(up, before)
    assert ended.startswith(f"{words} ended (SIGKILL); it is started again in 1 s; see ")
    assert returned.startswith(f"{words} answers again, ")
    holds(client, run, 6)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_hangs_is_ended_after_two_minutes_and_comes_back(
    up: Up, client: mlflow.MlflowClient, name: str
) -> None:
    words, program = PARTS[name]
    run = begin(client, f"{name} hangs")
    log(client, run, 0, 1)
    before = len(up.lines())
    os.killpg(up.part(program).pid, signal.SIGSTOP)
    hangs, returned = two_lines(up, before, 300)
    assert hangs.startswith(f"{words} hangs: no answer for 1")
    assert returned.startswith(f"{words} answers again, ")
    until(lambda: up.health()[0] == 200)
    log(client, run, 2)
    holds(client, run, 3)


def test_a_worker_of_the_server_that_is_killed_comes_back(
    up: Up, client: mlflow.MlflowClient
) -> None:
    run = begin(client, "a worker is killed")
    log(client, run, 0)
    children = up.part("mlflow").children(recursive=True)
    next(each for each in children if "spawn_main" in " ".join(each.cmdline())).kill()
    log(client, run, 1)
    holds(client, run, 2)


def test_a_second_server_is_refused_in_a_line(up: Up, tmp_path: Path) -> None:
    port = ["up", "--port", str(up.port)]
    other = Path(tempfile.mkdtemp(prefix="leukemia-other-", dir=up.folder))
    for folder, words, said in (
        (other, port, f"Error: port {up.port} of 127.0.0.1: Address already in use; end what"),
        (up.folder / "server", [*port[:2], "1"], "Error: the stack in "),
        (Path("/proc/server"), port, "Error: "),
        (up.log, port, "Error: "),
    ):
        done = subprocess.run([*native(folder), *words], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1
    assert up.health()[0] == 200


def test_a_full_disk_and_one_that_is_read_only_are_told_in_a_line(up: Up) -> None:
    place = up.folder / "small"
    place.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(small, capture_output=True).returncode:
        pytest.skip("this user may mount no disk")
    try:
        for reason in ("No space left on device", "Read-only file system"):
            words = [*native(place / "server"), "up", "--port", str(free_port())]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.startswith("Error: ")
            assert reason in line
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_starts_again_at_once_after_it_was_ended_or_killed(
    up: Up, client: mlflow.MlflowClient, number: signal.Signals
) -> None:
    run = begin(client, f"before {number.name}")
    log(client, run, 0)
    left = psutil.Process(up.process.pid).children(recursive=True)
    before = time.monotonic()
    code = up.end(number)
    assert code == (-number if number == signal.SIGKILL else 0)
    assert time.monotonic() - before < 15
    if number == signal.SIGKILL:  # nothing that it started goes on for long, or holds the port
        assert not psutil.wait_procs(left, 15)[1]
        with socket.create_server(("127.0.0.1", up.port)):
            pass
    assert not [each for each in left if each.is_running()]
    up.start()
    assert up.lines()[0].startswith("MLflow listens at ")
    holds(client, run, 1)


def test_it_starts_over_what_a_killed_one_has_left_running(
    up: Up, client: mlflow.MlflowClient
) -> None:
    """As where its keeper was killed too."""
    run = begin(client, "before a kill")
    log(client, run, 0)
    up.part("parts.py").kill()
    left = psutil.Process(up.process.pid).children(recursive=True)
    up.end(signal.SIGKILL)
    assert [each for each in left if each.is_running()]
    up.start()
    assert not [each for each in left if each.is_running()]
    holds(client, run, 1)
