"""Runs of MLflow: where they are kept, and how they begin and end."""

import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import mlflow
import psutil
import requests
from filelock import FileLock, Timeout
from mlflow.entities import Run as Run  # entry points, which do not import mlflow, name it too

from leukemia.data.files import write_atomically
from leukemia.errors import UserError
from leukemia.tracking import store

EXPERIMENT = "leukemia"
LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` listens
SECONDS_TO_ANSWER = 10  # that a tracking server has
RUN_ID = "run_id"  # file in an unfinished run's folder
NOT_ALLOWED = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
SYSTEM_SECONDS = 5  # between two readings of the machine


def connect(experiment: str | None = None) -> str:
    """Choose the experiment (made if it is new) and return its ID.

    The store is MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the working folder. Inside
    `mlflow run` the experiment is that run's own.

    Raises:
        UserError: the store cannot be reached, or is a database that is half-made or another
            MLflow's.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one a file: a flood
    mlflow.set_system_metrics_sampling_interval(SYSTEM_SECONDS)
    uri = mlflow.get_tracking_uri()
    try:
        if uri.startswith("http"):  # MLflow itself would try for minutes before it gives up
            requests.head(uri, timeout=SECONDS_TO_ANSWER)
        with _one_at_a_time(uri):  # several processes would migrate a fresh database at once
            if file := store.of(uri):
                store.hold_to_ready(file)
            inherited = os.environ.get("MLFLOW_EXPERIMENT_ID")
            if inherited and not experiment:
                return _inherit(inherited, uri)
            name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            _make(name, uri)
            chosen: str = mlflow.set_experiment(name).experiment_id
            return chosen
    except UserError:
        raise
    except requests.RequestException as error:
        raise UserError(
            f"tracking server {uri} cannot be reached; start it or set MLFLOW_TRACKING_URI"
        ) from error
    except Exception as error:
        if getattr(error, "error_code", "") in NOT_ALLOWED:
            raise UserError(
                f"tracking server {uri} does not let you in; set MLFLOW_TRACKING_USERNAME and "
                f"MLFLOW_TRACKING_PASSWORD to those of a user who may change runs there"
            ) from error
        raise UserError(
            f"tracking store {uri} does not answer ({str(error).splitlines()[0]}); start the "
            f"server or set MLFLOW_TRACKING_URI"
        ) from error


def _inherit(experiment_id: str, uri: str) -> str:
    """Choose the experiment of the `mlflow run` that this command is part of."""
    try:
        chosen: str = mlflow.set_experiment(experiment_id=experiment_id).experiment_id
        return chosen
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(
            f"MLFLOW_EXPERIMENT_ID is {experiment_id}, which {uri} does not hold; unset it or name "
            f"an experiment that is there"
        ) from error


def _make(name: str, uri: str) -> None:
    """Make the experiment if it is new: on a local database with its artifacts beside that."""
    if mlflow.get_experiment_by_name(name) is None:
        beside = _database(uri).parent / "mlruns" if _is_local(uri) else None
        mlflow.create_experiment(name, beside and beside.absolute().as_uri())


def _is_local(uri: str) -> bool:
    return uri.startswith("sqlite:///")


def _database(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    if not _is_local(uri):
        yield
        return
    database = _database(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        yield


def server() -> str:
    """The address at which people see the runs: the tracking server's, else that of `make ui`."""
    uri = mlflow.get_tracking_uri()
    return uri if uri.startswith("http") else LOCAL_UI


@contextmanager
def project_run(kind: str) -> Iterator[None]:
    """Name the run of the `mlflow run` that this command is part of; elsewhere open no run."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        yield
        return
    with started_run(kind, kind):
        yield


@contextmanager
def started_run(
    kind: str, name: str, unfinished: Path | None = None, nested: bool = False
) -> Iterator[Run]:
    """A run that always ends: FINISHED, FAILED with the error as a tag, or KILLED.

    Inside `mlflow run` it is the project's own run that goes on. A SIGTERM ends it like Ctrl-C.

    unfinished: a folder that keeps the run's ID; if it holds one of this store, that run goes
        on instead. It is removed once the run has finished. nested: within the run that is on.

    Raises:
        UserError: another process is at the same run.
    """
    with _interruptible(), _sole(unfinished):
        with _begun(kind, name, unfinished, nested) as run:
            yield run
        if unfinished:
            shutil.rmtree(unfinished)


@contextmanager
def _begun(kind: str, name: str, unfinished: Path | None, nested: bool) -> Iterator[Run]:
    run = _continued(name, unfinished, nested)
    run = run or mlflow.start_run(nested=nested, log_system_metrics=True)
    if unfinished:
        write_atomically(unfinished / RUN_ID, run.info.run_id.encode())
    mlflow.set_tags({"mlflow.runName": name, "kind": kind, **_process_tags()})
    try:
        yield run
    except KeyboardInterrupt:
        mlflow.end_run("KILLED")
        raise
    except BaseException as error:
        mlflow.set_tag("error", str(error)[:5000])
        mlflow.end_run("FAILED")
        raise
    mlflow.end_run()


@contextmanager
def _sole(folder: Path | None) -> Iterator[None]:
    """This process alone works in `folder`, which is made if it is not there."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            "the very same run is being trained by another process: wait for it, or change the seed"
        ) from error


def _continued(name: str, unfinished: Path | None, nested: bool) -> Run | None:
    """The run whose ID lies in the folder, going on; None if there is none.

    The fresh run that `mlflow run` made for this command then says where the work went on.
    """
    note = unfinished and unfinished / RUN_ID
    if not note or not note.exists():
        return None
    run_id, client = note.read_text(), mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
    except mlflow.MlflowException:  # of another store
        return None
    if run.info.lifecycle_stage != "active":  # somebody deleted it
        return None
    if "error" in run.data.tags:  # of the attempt that failed
        client.delete_tag(run_id, "error")
    project = os.environ.pop("MLFLOW_RUN_ID", None)
    if project and project != run_id:
        client.set_tag(project, "kind", "continuation")
        client.set_tag(project, "continues", run_id)
        client.set_tag(project, "mlflow.runName", f"went on with {name}")
    return mlflow.start_run(run_id=run_id, nested=nested, log_system_metrics=True)


def reap(experiment_id: str) -> int:
    """Mark as KILLED this machine's runs that say RUNNING but whose process is gone.

    A lab's server lets nobody but who began a run do so: another user's is left as it is.
    """
    client = mlflow.MlflowClient()
    running = client.search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
    )
    return sum(_killed(client, run) for run in running if not _alive(run.data.tags))


def _killed(client: mlflow.MlflowClient, run: Run) -> bool:
    try:
        client.set_terminated(run.info.run_id, "KILLED")
    except mlflow.MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        return False
    return True


def log_texts(texts: Mapping[str, str]) -> None:
    """Keep texts as artifacts of the run that is going on, by path."""
    for path, text in texts.items():
        mlflow.log_text(text, path)


def log_files(paths: Iterable[Path]) -> None:
    """Keep files as artifacts of the run that is going on."""
    for path in paths:
        mlflow.log_artifact(str(path))


@contextmanager
def _interruptible() -> Iterator[None]:
    """A SIGTERM ends the block like Ctrl-C; afterwards a notebook has its own handlers back."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is _interrupt:  # no other thread may set them
        yield
        return
    before = {each: signal.signal(each, _interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler or signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A study ends its runs, which Ctrl-C may have reached already: what ends is not ended twice.
    # Not SIG_IGN: of a signal that came at the same time Python would print an error.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    raise KeyboardInterrupt


def _process_tags() -> dict[str, str]:
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": str(process.pid),
        "pid_started": str(process.create_time()),
    }


def _alive(tags: Mapping[str, str]) -> bool:
    try:
        process = psutil.Process(int(tags["pid"]))
        return str(process.create_time()) == tags["pid_started"]
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False
