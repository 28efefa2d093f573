"""Runs of MLflow: where they are kept, and how they begin and end."""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import FrameType

import mlflow
import requests
from filelock import FileLock, Timeout
from mlflow.entities import Run as Run  # entry points, which do not import mlflow, name it too
from mlflow.entities import RunTag
from mlflow.tracking.context.registry import resolve_tags

from leukemia.errors import UserError
from leukemia.tracking import lease, machine, store
from leukemia.tracking.journal import About, Journal
from leukemia.tracking.patience import Patience, is_away, without_secrets
from leukemia.tracking.sender import sending

EXPERIMENT = "leukemia"
LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` listens
SECONDS_TO_ANSWER = 10  # that a tracking server has
UNFINISHED = "unfinished"  # folder of the cache
JOURNAL = "journal"  # folder in that of an unfinished run
NOT_ALLOWED = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
# MLflow's own patience is four silent minutes; `patience` has more, and says so.
RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}


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
    for name, value in RETRIES.items():
        os.environ.setdefault(name, value)
    mlflow.set_system_metrics_sampling_interval(machine.SECONDS)
    uri = mlflow.get_tracking_uri()
    told = without_secrets(uri)
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
            f"tracking server {told} cannot be reached; start it or set MLFLOW_TRACKING_URI"
        ) from error
    except Exception as error:
        if getattr(error, "error_code", "") in NOT_ALLOWED:
            raise UserError(
                f"tracking server {told} does not let you in; set MLFLOW_TRACKING_USERNAME and "
                f"MLFLOW_TRACKING_PASSWORD to those of a user who may change runs there"
            ) from error
        raise UserError(
            f"tracking store {told} does not answer ({str(error).splitlines()[0]}); start the "
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
            f"MLFLOW_EXPERIMENT_ID is {experiment_id}, which {without_secrets(uri)} does not hold; "
            f"unset it or name an experiment that is there"
        ) from error


def _make(name: str, uri: str) -> None:
    """Make the experiment if it is new: on a local database with its artifacts beside that."""
    if mlflow.get_experiment_by_name(name) is None:
        file = store.of(uri)
        beside = file.parent / "mlruns" if file else None
        mlflow.create_experiment(name, beside and beside.absolute().as_uri())


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    file = store.of(uri)
    with store.alone(file) if file else nullcontext():
        yield


def server() -> str:
    """The address at which people see the runs: the tracking server's, else that of `make ui`."""
    uri = mlflow.get_tracking_uri()
    return without_secrets(uri) if uri.startswith("http") else LOCAL_UI


@contextmanager
def project_run(kind: str) -> Iterator[None]:
    """Name the run of the `mlflow run` that this command is part of; elsewhere open no run."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        yield
        return
    with started_run(kind, kind):
        yield


@contextmanager
def started_run(kind: str, name: str) -> Iterator[Run]:
    """A run that always ends: FINISHED, FAILED with the error as a tag, or KILLED.

    Inside `mlflow run` it is the project's own run that goes on. A SIGTERM ends it like Ctrl-C.
    """
    with _interruptible():
        run = mlflow.start_run()
        mlflow.set_tags({"mlflow.runName": name, "kind": kind, **lease.tags()})
        with lease.held(run.info.run_id):
            try:
                yield run
            except KeyboardInterrupt:
                _ended("KILLED")
                raise
            except BaseException as error:
                _ended("FAILED", str(error)[:5000])
                raise
            client, run_id = mlflow.MlflowClient(), run.info.run_id
            waiting = Patience("all is done but its last word")
            waiting(lambda: client.set_terminated(run_id, "FINISHED"))
            _ended("FINISHED")


def _ended(status: str, error: str = "") -> None:
    """End the run, whatever the store says: its own error would hide why the run ends.

    A run that is only given up is FINISHED by MLflow when the process ends.
    """
    with suppress(Exception):
        if error:
            mlflow.set_tag("error", error)
    with suppress(Exception):
        mlflow.end_run(status)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A run whose results are on disk before they are sent.

    finished: an earlier attempt has finished it, and only what it could not send is sent.
    """

    run_id: str
    journal: Journal
    finished: bool


def unfinished(cache: Path, experiment_id: str, key: str) -> Path:
    """Where the unfinished work of a run lies: another place for each store."""
    address = sha256(without_secrets(mlflow.get_tracking_uri()).encode()).hexdigest()[:8]
    return cache / UNFINISHED / f"{address}-{experiment_id}-{key}"


@contextmanager
def kept_run(
    kind: str, name: str, experiment_id: str, unfinished: Path, tags: Mapping[str, str]
) -> Iterator[Kept]:
    """A run that goes on where it was, and is FINISHED only once the store has all it left.

    What the block writes into the journal is sent beside it, and a store that is away stops
    nothing: what it has not got when the block ends waits in the folder. Inside `mlflow run` it is
    the project's own run, unless the folder has one. A SIGTERM ends the block like Ctrl-C.

    Args:
        unfinished: the folder of unfinished work, removed once the run has finished.
        tags: of a run that begins.

    Raises:
        UserError: another process is at the same run, or the project's own run holds another.
        Unsent: the run is whole, and the store has not got all of it.
    """
    with _interruptible(), _sole(unfinished):
        journal = Journal(unfinished / JOURNAL)
        run_id = _continued(name, journal)
        if run_id is None:
            journal.remove()
            journal = Journal(unfinished / JOURNAL)
            run_id = _begun(kind, name, experiment_id, tags)
            address = without_secrets(mlflow.get_tracking_uri())
            journal.belongs(About(run_id=run_id, store=address, title=name))
        with lease.held(run_id), sending(journal, run_id):
            kept = Kept(run_id=run_id, journal=journal, finished=journal.finished)
            with nullcontext() if kept.finished else _noted(kept):
                yield kept
        shutil.rmtree(unfinished)


@contextmanager
def _noted(kept: Kept) -> Iterator[None]:
    """Write into the journal how the run begins and ends, and what the machine does meanwhile."""
    journal = kept.journal
    journal.write("batch", tags=lease.tags())
    journal.write("status", status="RUNNING", error="")
    step = 1 + journal.last_step(f"{machine.PREFIX}cpu_utilization_percentage")
    try:
        with machine.watched(kept.run_id, lambda values, step: _write(journal, values, step), step):
            yield
    except KeyboardInterrupt:
        journal.write("status", status="KILLED", error="")
        raise
    except BaseException as error:
        with suppress(UserError):  # of a full disk, which is what the error may tell of
            journal.write("status", status="FAILED", error=str(error)[:5000])
        raise
    journal.write("status", status="FINISHED", error="")


def _write(journal: Journal, values: Mapping[str, float], step: int) -> None:
    now = int(time.time() * 1000)
    points = [(name, float(value), now, step) for name, value in values.items()]
    with suppress(UserError):
        journal.write("batch", points=points)


@contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """This process alone works in `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            "the very same run is being trained by another process: wait for it, or change the seed"
        ) from error


def _continued(name: str, journal: Journal) -> str | None:
    """The ID of the run that the journal is of, where it can go on; None if it cannot.

    The fresh run that `mlflow run` made for this command then says where the work went on.
    """
    about, client = journal.about, mlflow.MlflowClient()
    if about is None:
        return None
    try:
        run = client.get_run(about.run_id)
    except mlflow.MlflowException as error:
        if is_away(error):
            raise
        return None
    if run.info.lifecycle_stage != "active":  # somebody deleted it
        return None
    project = os.environ.pop("MLFLOW_RUN_ID", None)
    if project and project != about.run_id:
        client.set_tag(project, "kind", "continuation")
        client.set_tag(project, "continues", about.run_id)
        client.set_tag(project, "mlflow.runName", f"went on with {name}")
    return about.run_id


def _begun(kind: str, name: str, experiment_id: str, tags: Mapping[str, str]) -> str:
    """The ID of the project's own run, or of a new one below the run that is going on."""
    client = mlflow.MlflowClient()
    told = {"mlflow.runName": name, "kind": kind, **lease.tags(), **tags}
    if project := os.environ.pop("MLFLOW_RUN_ID", None):
        _refuse_used(client, project)
        client.log_batch(project, tags=[RunTag(key, value) for key, value in told.items()])
        return project
    above = mlflow.active_run()
    parent = {"mlflow.parentRunId": above.info.run_id} if above else {}
    run = client.create_run(experiment_id, run_name=name, tags=resolve_tags(told | parent))
    run_id: str = run.info.run_id
    return run_id


def _refuse_used(client: mlflow.MlflowClient, run_id: str) -> None:
    """Two trainings in one run would be ranked as one that never had these figures.

    Raises:
        UserError: the run is not there or holds a training.
    """
    mend = "unset MLFLOW_RUN_ID, and a run is begun"
    try:
        run = client.get_run(run_id)
    except mlflow.MlflowException as error:
        if is_away(error):
            raise
        raise UserError(f"MLFLOW_RUN_ID is {run_id}, which is no run there; {mend}") from error
    if run.info.lifecycle_stage != "active":
        raise UserError(f"MLFLOW_RUN_ID is {run_id}, a run that was deleted; {mend}")
    if "key" in run.data.tags:
        raise UserError(
            f"MLFLOW_RUN_ID is {run_id}, which holds a training already "
            f"({run.data.tags.get('mlflow.runName', '')}); {mend}"
        )


def reap(experiment_id: str) -> int:
    """Mark as KILLED the runs that say RUNNING and that nobody is at any more.

    A lab's server lets nobody but who began a run do so: another user's is left as it is.
    """
    client = mlflow.MlflowClient()
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    return sum(_killed(client, run) for run in running if lease.is_over(run))


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
