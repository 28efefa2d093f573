"""A run's lease: until when it counts as alive, whoever asks and on whatever machine."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import mlflow
import psutil
from mlflow.entities import Run

LEASE_S = 900.0
RENEW_S = 300.0
UNSIGNED_S = 3600.0  # of a run without one: `mlflow run` makes it, then perhaps an environment
TAG = "lease"  # seconds since 1970


def tags() -> dict[str, str]:
    """That this process is at work, from now on for LEASE_S seconds."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": str(process.pid),
        "pid_started": str(process.create_time()),
        TAG: str(round(time.time() + LEASE_S)),
    }


@contextmanager
def held(run_id: str) -> Iterator[None]:
    """Renew a run's lease while the block goes on."""
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(run_id, ended), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def is_over(run: Run) -> bool:
    """Whether nobody is at a run that says RUNNING: its process on this machine is gone, or its
    lease has ended."""
    known: Mapping[str, str] = run.data.tags
    if known.get("host") == socket.gethostname() and "pid" in known:
        return not _alive(known)
    try:
        ends = float(known[TAG])
    except (KeyError, ValueError):
        ends = run.info.start_time / 1000 + UNSIGNED_S
    return time.time() > ends


def reap(experiment_id: str) -> int:
    """Mark as KILLED the runs that say RUNNING and that nobody is at any more.

    A lab's server lets nobody but who began a run do so: another user's is left as it is.
    """
    client = mlflow.MlflowClient()
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    return sum(_killed(client, run) for run in running if is_over(run))


def _killed(client: mlflow.MlflowClient, run: Run) -> bool:
    try:
        client.set_terminated(run.info.run_id, "KILLED")
    except mlflow.MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        return False
    return True


def _renew(run_id: str, ended: threading.Event) -> None:
    while not ended.wait(RENEW_S):
        with suppress(Exception):  # a store that is away is told of by who has something to send
            client = mlflow.MlflowClient()
            client.set_tag(run_id, TAG, str(round(time.time() + LEASE_S)))


def _alive(known: Mapping[str, str]) -> bool:
    try:
        process = psutil.Process(int(known["pid"]))
        return str(process.create_time()) == known["pid_started"]
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False
