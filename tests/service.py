"""The real service on loopback: PostgreSQL, an S3 store and the MLflow server of docker/."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import psutil
import pytest
import requests

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"

# A browser that reaches this machine alone and asks for nothing of its own.
OFFLINE = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip


# AG Grid's order in the document is not the order on the screen: sorted by place.
HEADS = """() => [...document.querySelectorAll('.ag-header-cell')]
  .map(e => [e.getBoundingClientRect().left, e.innerText.trim()])
  .sort((a, b) => a[0] - b[0]).map(x => x[1]).filter(Boolean)"""
NAMES_SHOWN = """() => [...document.querySelectorAll('.ag-pinned-left-cols-container .ag-row')]
  .map(e => [e.getBoundingClientRect().top, e.querySelector('a')?.innerText])
  .sort((a, b) => a[0] - b[0]).map(x => x[1])"""
# MLflow opens its assistant by itself at the first visit to a local address.
NO_ASSISTANT = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""


def free_port() -> int:
    """A free port that neither the system gives to clients nor the stack takes for itself."""
    while True:
        port = random.randrange(30_000, 32_700)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """A process with its children, ended with the block."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True,
            env=os.environ | {"PATH": PATH} | environment,
        )  # fmt: skip
    try:
        yield process
    finally:
        # As by Ctrl-C, after which a process still writes down which lines it ran.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        with suppress(requests.RequestException):
            if requests.get(url, timeout=2).status_code < 500:
                return
        time.sleep(0.3)
    raise AssertionError(f"{url} did not answer in {seconds} s: {log.read_text()[-3000:]}")


class MlflowServer:
    """MLflow's plain server on a folder: killed and started again at the same address."""

    def __init__(self, folder: Path):
        self.folder, self._port = folder.absolute(), free_port()
        self.address = f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "server.log"
        self._running = running(
            [str(BIN / "mlflow"), "server", "--port", str(self._port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
             "--artifacts-destination", str(self.folder / "artifacts")],
            log,
        )  # fmt: skip
        self.process = self._running.__enter__()
        wait_for(f"{self.address}/health", self.process, log)

    def down(self) -> None:
        """As a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._running.__exit__(None, None, None)


@contextmanager
def stack(place: Path) -> Iterator[str]:
    """`native.py up` on a folder, ended with the block as by Ctrl-C."""
    port, log = free_port(), place / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen([*native(place), "up", "--port", str(port)], stdout=out,
                                   stderr=out, env=os.environ | {"PATH": PATH})  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log, 120)
        while "MLflow listens" not in log.read_text():
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        _ended(process, log)


def _ended(process: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    """Wait for a stack that was told to end; one that does not is ended with all its parts, and
    what each was doing is said."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        whole = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        left = [f"{one.pid} {one.status()} {' '.join(one.cmdline())[:120]}" for one in whole]
        for one in whole:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        said = "\n".join([*left, log.read_text()[-2000:]])
        raise AssertionError(f"the stack did not end in {seconds:.0f} s:\n{said}") from None


def native(place: Path) -> list[str]:
    return [sys.executable, str(ROOT / "docker/native.py"), "--folder", str(place)]


def log_in(place: Path, name: str, role: str) -> dict[str, str]:
    """A new user's name and password, as MLflow's clients take them; by `users.py` itself, which
    `native.py user` takes seconds to load."""
    now = json.loads((place / "secrets/running.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docker"))
        patch.setenv("MLFLOW_TRACKING_URI", now["MLFLOW_TRACKING_URI"])
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", now["MLFLOW_AUTH_ADMIN_PASSWORD"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's server code
            users = import_module("users")
        password = users.set_role(name, role).split()[-1]
    return {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}


def run_project(
    entry_point: str, uri: str, project: Path = ROOT, check: bool = True, **parameters: object
) -> subprocess.CompletedProcess:
    """`mlflow run PROJECT -e ENTRY_POINT -P ...` against a tracking server, as a user types it."""
    words = [word for key, value in parameters.items() for word in ("-P", f"{key}={value}")]
    command = [
        str(BIN / "mlflow"), "run", str(project), "-e", entry_point, "--env-manager", "local",
        "--experiment-name", "leukemia", *words,
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PATH": PATH}
    environment.pop("MLFLOW_EXPERIMENT_ID", None)  # MLflow leaves it where a test ran in-process
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=project, timeout=900
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def chromium() -> str | None:
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )


@contextmanager
def browsing(who: Mapping[str, str]) -> Iterator[Any]:
    """A tab of a fresh headless browser that has seen no host but this one when it closes.

    who: MLflow's name and password, as its clients take them.
    """
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    hosts = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=OFFLINE)
        context = browser.new_context(
            viewport={"width": 1900, "height": 1000},
            http_credentials={
                "username": who["MLFLOW_TRACKING_USERNAME"],
                "password": who["MLFLOW_TRACKING_PASSWORD"],
            },
        )
        context.add_init_script(NO_ASSISTANT)
        context.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
        yield context.new_page()
        browser.close()
    assert hosts - {None} == {"127.0.0.1"}


def shot(page, name: str, height: int | None = None) -> None:
    """A picture for the documents, where LEUKEMIA_SCREENSHOTS names a folder.

    height: pixels from the top, else the whole page.
    """
    if folder := os.environ.get("LEUKEMIA_SCREENSHOTS"):
        clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
        page.screenshot(path=f"{folder}/{name}.png", full_page=True, clip=clip if height else None)
