"""Runs of MLflow that are over in a moment: written to the store as they go."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow.entities import Run as Run  # entry points, which do not import mlflow, name it too

from leukemia.tracking import lease
from leukemia.tracking.interrupts import interruptible
from leukemia.tracking.patience import Patience


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
    with interruptible():
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
            waiting(lambda: client.update_run(run_id, status="FINISHED"))
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


def log_texts(texts: Mapping[str, str]) -> None:
    """Keep texts as artifacts of the run that is going on, by path."""
    for path, text in texts.items():
        mlflow.log_text(text, path)


def log_files(paths: Iterable[Path]) -> None:
    """Keep files as artifacts of the run that is going on."""
    for path in paths:
        mlflow.log_artifact(str(path))
