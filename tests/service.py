"""The real service on loopback: PostgreSQL, an S3 store and the MLflow server of docker/."""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from tests.conftest import ROOT

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}
BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"


def free_port() -> int:
    """A free port below 50,000: SeaweedFS also takes the one 10,000 above it."""
    while True:
        port = random.randrange(20_000, 50_000)
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
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # the store would take 12 s to end, and is thrown away
        process.wait()


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(url, timeout=2).status_code < 500:
                return
        except requests.RequestException:
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer in {seconds} s: {log.read_text()[-3000:]}")


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The address of a fresh MLflow server on a fresh database and store."""
    import pgserver

    store_port, port = free_port(), free_port()
    ports = {name: str(free_port()) for name in ("MASTER_PORT", "VOLUME_PORT", "FILER_PORT")}
    endpoint = f"http://127.0.0.1:{store_port}"
    log = folder / "store.log"
    store = running(
        [str(ROOT / "docker/store.sh")], log, STORE_DIR=str(folder / "store"),
        PORT=str(store_port), **ports, **KEYS,
    )  # fmt: skip
    # Not below pytest's folders, which only root may enter: PostgreSQL runs as another user.
    place = tempfile.mkdtemp(prefix="leukemia-database-")
    database = pgserver.get_server(place, cleanup_mode="delete")
    with store as process:
        wait_for(endpoint, process, log)
        log = folder / "server.log"
        uri = database.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server = running(
            [str(ROOT / "docker/server.sh")], log, DATABASE_URI=uri, WORKERS="1",
            BUCKET="mlflow", MLFLOW_S3_ENDPOINT_URL=endpoint, PORT=str(port), **KEYS,
        )  # fmt: skip
        with server as process:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
    database.cleanup()


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
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=project, timeout=900
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def chromium() -> str | None:
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
