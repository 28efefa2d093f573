"""Runs of MLflow: where they are kept, how they begin and end, and how they are read back.

Only this module, `logbook`, `board`, `registry` and `server` speak to MLflow.
"""

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import mlflow
import numpy as np
import pandas as pd
import psutil
import requests
from filelock import FileLock, Timeout
from mlflow.entities import FileInfo, Run, ViewType

from leukemia.data.files import write_atomically
from leukemia.errors import UserError
from leukemia.evaluation.scored import Scored

EXPERIMENT = "leukemia"
LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` listens
MODEL = "model"  # name of the logged classifier within its run
PREDICTIONS = "predictions"  # folder of a run's scores, one CSV a side
SUBJECTS = "test_subjects.csv"  # a row for each test subject
INVENTORY = "inventory.json"  # path -> bytes of each artifact when all were there
ERRORS = "errors.html"  # table of the test cells that were called wrongly
SECONDS_TO_ANSWER = 10  # that a tracking server has
RUN_ID = "run_id"  # file in an unfinished run's folder
DOWNLOADS = 8  # at once
NOT_ALLOWED = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
SYSTEM_SECONDS = 5  # between two readings of the machine


def connect(experiment: str | None = None) -> str:
    """Choose the experiment (made if it is new) and return its ID.

    The store is MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the working folder. Inside
    `mlflow run` the experiment is that run's own.

    Raises:
        UserError: the store cannot be reached.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one a file: a flood
    mlflow.set_system_metrics_sampling_interval(SYSTEM_SECONDS)
    uri = mlflow.get_tracking_uri()
    try:
        if uri.startswith("http"):  # MLflow itself would try for minutes before it gives up
            requests.head(uri, timeout=SECONDS_TO_ANSWER)
        with _one_at_a_time(uri):  # several processes would migrate a fresh database at once
            inherited = os.environ.get("MLFLOW_EXPERIMENT_ID")
            if inherited and not experiment:
                return _inherit(inherited, uri)
            name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            _make(name, uri)
            return mlflow.set_experiment(name).experiment_id
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
        return mlflow.set_experiment(experiment_id=experiment_id).experiment_id
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
    """The address at which people see the runs: of the tracking server, else of `make ui`."""
    uri = mlflow.get_tracking_uri()
    return uri if uri.startswith("http") else LOCAL_UI


@contextmanager
def project_run(kind: str) -> Iterator[None]:
    """Inside `mlflow run`, its run under the name of what it does; elsewhere no run at all."""
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
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    with _sole(unfinished):
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
    """Mark as KILLED this machine's runs that say RUNNING but whose process is gone."""
    client = mlflow.MlflowClient()
    running = client.search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' and tags.host = '{socket.gethostname()}'"
    )
    dead = [run for run in running if not _alive(run.data.tags)]
    for run in dead:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(dead)


def records(experiment_id: str) -> pd.DataFrame:
    """The finished training runs of an experiment, one row each, as `ranking` reads them."""
    runs = _trained(experiment_id)
    if runs.empty:
        raise UserError(
            "no finished training runs in this experiment; train first, for example "
            "mlflow run . -e baseline -P data=PATH"
        )
    runs = runs.rename(columns=lambda name: name.removeprefix("metrics.").removeprefix("tags."))
    runs = runs.loc[:, ~runs.columns.duplicated()]
    missing = {"fold", "folds", "leaks"} - set(runs.columns)
    if missing:
        raise UserError(
            "the training runs of this experiment are of an older version, which audited "
            "nothing: train anew, or give another experiment"
        )
    return runs[runs["leaks"].notna()].astype({"seed": int, "fold": int})


def _trained(experiment_id: str) -> pd.DataFrame:
    """The finished training runs, as MLflow gives them."""
    return mlflow.search_runs(
        [experiment_id],
        "tags.kind = 'train' and attributes.status = 'FINISHED'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=50_000,
    )


def finished(experiment_id: str) -> dict[str, str]:
    """The key of each finished training run's plan -> its run ID (the latest's)."""
    runs = _trained(experiment_id)
    if "tags.key" not in runs:
        return {}
    runs = runs.sort_values("start_time")
    return dict(zip(runs["tags.key"], runs["run_id"], strict=True))


def test_cells(run_ids: Iterable[str], cache: Path) -> dict[str, Scored]:
    """The scored test cells of each run; kept in `cache`, since a finished run does not change.

    Subjects and origins are whole numbers that stand for names, the same number for the same
    name in all of these runs: 1,000 runs of 2,000 cells fit in 60 MB.
    """
    run_ids = list(run_ids)
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        paths = list(pool.map(lambda run_id: _test_file(run_id, cache), run_ids))
    subjects, origins = Numbers(), Numbers()
    found = {}
    for run_id, path in zip(run_ids, paths, strict=True):
        rows = pd.read_csv(path, engine="pyarrow", dtype={"subjects": str, "origin": str})
        found[run_id] = Scored(
            rows["labels"].to_numpy(np.int8),
            rows["scores"].to_numpy(np.float32),
            subjects.of(rows["subjects"]),
            origins.of(rows["origin"]),
        )
    return found


class Numbers:
    """A whole number for each name, in the order in which names are first seen."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, names: Iterable[str]) -> np.ndarray:
        """(n,) int32."""
        known = self._known
        return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


def _test_file(run_id: str, cache: Path) -> Path:
    """A local copy of a run's test predictions."""
    kept = cache / PREDICTIONS / run_id / "test.csv"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            came = download(run_id, f"{PREDICTIONS}/test.csv", Path(folder))
            write_atomically(kept, came.read_bytes())
    return kept


def log_texts(texts: Mapping[str, str]) -> None:
    """Keep texts as artifacts of the run that is going on, by path."""
    for path, text in texts.items():
        mlflow.log_text(text, path)


def log_files(paths: Iterable[Path]) -> None:
    """Keep files as artifacts of the run that is going on."""
    for path in paths:
        mlflow.log_artifact(str(path))


def download(run_id: str, artifact: str, folder: Path) -> Path:
    """A run's artifact as a local path.

    Raises:
        UserError: there is no such run or it has no such artifact.
    """
    try:
        found = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=artifact, dst_path=str(folder)
        )
    except Exception as error:
        raise UserError(
            f"run '{run_id}' has no artifact '{artifact}' ({str(error).splitlines()[0]}); give "
            f"the ID of a finished run that made one"
        ) from error
    return Path(found)


def contents(run_id: str) -> dict[str, int]:
    """Path -> bytes of each artifact that the store has of a run, its models' files among them;
    without the inventory, which is made of this."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    found = _files(lambda folder: client.list_artifacts(run_id, folder or None))
    for model in client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    ):
        inside = _files(partial(client.list_logged_model_artifacts, model.model_id))
        found |= {f"models/{model.name}/{path}": size for path, size in inside.items()}
    return {path: size for path, size in sorted(found.items()) if path != INVENTORY}


def _files(listing: Callable[[str], list[FileInfo]], folder: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for each in listing(folder):
        found |= _files(listing, each.path) if each.is_dir else {each.path: int(each.file_size)}
    return found


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
