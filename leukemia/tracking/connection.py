"""The store of runs and the experiment that a command works on."""

import getpass
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
import requests

from leukemia.errors import UserError, first_line
from leukemia.tracking import machine, moved, store
from leukemia.tracking.patience import asked, without_secrets

EXPERIMENT = "leukemia"
ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"  # where MLflow takes its folder for artifacts from
LOCAL_UI = "http://127.0.0.1:5000"  # where `make ui` listens
SECONDS_TO_ANSWER = 10  # that a tracking server has
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
    _name_user()
    uri = _secrets_apart(mlflow.get_tracking_uri())
    told = without_secrets(uri)
    try:
        if uri.startswith("http"):  # MLflow itself would try for minutes before it gives up
            asked(uri, SECONDS_TO_ANSWER)
        with _one_at_a_time(uri):  # several processes would migrate a fresh database at once
            if file := store.of(uri):
                uri = _plain(uri, file)
                store.hold_to_ready(file)
                moved.hold_to_place(file)
                # MLflow makes this folder as it opens a database, and by itself one whose name has
                # %20 for a blank.
                os.environ[ROOT] = moved.beside(file).as_uri()
            inherited = os.environ.get("MLFLOW_EXPERIMENT_ID")
            if inherited and not experiment:
                return _inherit(inherited, uri)
            name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
            _make(name, uri)
            chosen: str = mlflow.set_experiment(name).experiment_id
            return chosen
    except UserError:
        raise
    except requests.exceptions.SSLError as error:
        raise UserError(
            f"tracking server {told}: its certificate is not trusted ({first_line(error)[:200]}); "
            f"name its authority's file in MLFLOW_TRACKING_SERVER_CERT_PATH"
        ) from error
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


def _plain(uri: str, file: Path) -> str:
    """The address of an SQLite file with its folder's name as it is: of one with %20 for a blank
    MLflow makes a second folder, of that very name."""
    if "%" not in uri:
        return uri
    plain = store.SQLITE + str(file).replace("%", "%25").replace("?", "%3F")
    os.environ["MLFLOW_TRACKING_URI"] = plain
    mlflow.set_tracking_uri(plain)
    return plain


def _secrets_apart(uri: str) -> str:
    """The store's address without name and password: they go where MLflow takes them from, so that
    no link, tag or message repeats them.

    Raises:
        UserError: it cannot be told where the password ends.
    """
    parts, plain = urlsplit(uri), without_secrets(uri)
    if not uri.startswith("http") or plain == uri:
        return uri
    if "@" not in parts.netloc:
        raise UserError(
            f"the address of tracking server {plain} has a password with a /, ? or # as it is; "
            f"write %2F, %3F or %23, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    for name, value in (("USERNAME", parts.username), ("PASSWORD", parts.password)):
        os.environ.setdefault(f"MLFLOW_TRACKING_{name}", unquote(value or ""))
    os.environ["MLFLOW_TRACKING_URI"] = plain
    mlflow.set_tracking_uri(plain)
    return plain


def _name_user() -> None:
    """Give a user whom the system has no name for, as in containers, one that MLflow can note."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user-{os.getuid()}"


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
    """Make the experiment if it is new: on a local database with its artifacts beside that.

    Raises:
        UserError: it was deleted.
    """
    there = mlflow.get_experiment_by_name(name)
    if there is not None and there.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment '{name}' was deleted; restore it with `mlflow experiments restore "
            f"--experiment-id {there.experiment_id}`, or name another one with --experiment"
        )
    if there is None:
        file = store.of(uri)
        mlflow.create_experiment(name, moved.beside(file).as_uri() if file else None)


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    file = store.of(uri)
    with store.alone(file) if file else nullcontext():
        yield


def server() -> str:
    """The address at which people see the runs: the tracking server's, else that of `make ui`."""
    uri = mlflow.get_tracking_uri()
    return without_secrets(uri) if uri.startswith("http") else LOCAL_UI
