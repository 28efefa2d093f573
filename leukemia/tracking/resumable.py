"""Runs that take long: kept on disk, sent as they go, and gone on with where they were."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import RunTag
from mlflow.tracking.context.registry import resolve_tags

from leukemia.errors import UserError
from leukemia.tracking import lease, machine
from leukemia.tracking.interrupts import interruptible
from leukemia.tracking.journal import About, Journal
from leukemia.tracking.patience import is_away, without_secrets
from leukemia.tracking.sender import sending
from leukemia.tracking.unfinished import alone, journal_in


@dataclass(frozen=True, kw_only=True)
class ResumableRun:
    """A run whose results are on disk before they are sent.

    finished: an earlier attempt has finished it, and only what it could not send is sent.
    """

    run_id: str
    journal: Journal
    finished: bool


@contextmanager
def resumable_run(
    kind: str, name: str, experiment_id: str, unfinished: Path, tags: Mapping[str, str]
) -> Iterator[ResumableRun]:
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
    unfinished.mkdir(parents=True, exist_ok=True)
    with interruptible(), alone(unfinished) as nobody_else:
        if not nobody_else:
            raise UserError(
                "the very same run is being trained by another process: wait for it, or change "
                "the seed"
            )
        journal = journal_in(unfinished)
        run_id = _continued(name, journal)
        if run_id is None:
            journal.remove()
            journal = journal_in(unfinished)
            run_id = _begun(kind, name, experiment_id, tags)
            address = without_secrets(mlflow.get_tracking_uri())
            journal.belongs(About(run_id=run_id, store=address, title=name))
        with lease.held(run_id), sending(journal, run_id):
            run = ResumableRun(run_id=run_id, journal=journal, finished=journal.finished)
            with nullcontext() if run.finished else _noted(run):
                yield run
        shutil.rmtree(unfinished)


@contextmanager
def _noted(run: ResumableRun) -> Iterator[None]:
    """Write into the journal how the run begins and ends, and what the machine does meanwhile."""
    journal = run.journal
    journal.write("batch", tags=lease.tags())
    journal.write("status", status="RUNNING", error="")
    step = 1 + journal.last_step(f"{machine.PREFIX}cpu_utilization_percentage")
    try:
        with machine.watched(run.run_id, lambda values, step: _write(journal, values, step), step):
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
