"""Sends a run's journal to MLflow, entry by entry, beside a training or after it."""

import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.models import Model
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image

from leukemia.errors import UserError, first_line
from leukemia.tracking import MANIFEST, MODEL, UNSENT, logged_model, manifest, records
from leukemia.tracking.journal import FILES, Entry, Journal
from leukemia.tracking.patience import Patience, named

BETWEEN_S = 2.0  # two requests with numbers: one of 25 epochs costs as much as one of 1
LOOK_S = 1.0  # between two looks for entries
REFUSED_S = 30.0  # until what the store refuses is tried again
MOST_AT_ONCE = 1000  # metrics that MLflow takes in a request
LAST_WAIT_S = 60.0  # for a store that is away when all else is done
DATA_SET_TRIES = 5
SENT_AGAIN = 3  # times that files are sent once more which the store has lost
COMPRESSED = "+compressed.webp"  # ends the name of a picture's second file
STAY = ("artifact_path", "model_uuid", "model_id", "run_id")  # what a model's place decides

log = logging.getLogger(__name__)


class Unsent(UserError):
    """Results wait on this machine: MLflow has not got all of them yet."""

    exit_code = UNSENT


class Sender:
    """Sends what a journal holds in a thread of its own, until it is closed."""

    def __init__(self, journal: Journal, run_id: str):
        self._journal, self._run_id, self._client = journal, run_id, mlflow.MlflowClient()
        self._closing, self._ended = threading.Event(), threading.Event()
        self._patience = Patience(
            f"the training goes on; results wait in {journal.folder}", self._ended
        )
        self._refused = ""
        self._first = True  # what was sent when a former process was killed may be there already
        self._thread = threading.Thread(target=self._work, name="sender", daemon=True)
        self._thread.start()

    def close(self, wait_s: float = LAST_WAIT_S) -> None:
        """Send the rest and end.

        wait_s: for a store that is away.

        Raises:
            Unsent: something could not be sent.
        """
        self._refused = ""
        self._closing.set()
        self._journal.wake()
        while self._thread.is_alive():
            self._thread.join(LOOK_S)
            if self._refused or self._patience.away_s > wait_s:
                self._ended.set()
        if self._journal.waiting:
            why = self._refused or "it does not answer"
            raise Unsent(
                f"{named()} has not got all of run {self._run_id} ({why}); its results wait in "
                f"{self._journal.folder}: `leukemia sync` sends them"
            )

    def _work(self) -> None:
        while not self._ended.is_set():
            entries = self._journal.next(0 if self._closing.is_set() else LOOK_S)
            if entries:
                self._send(entries)
            elif self._closing.is_set():
                return

    def _send(self, entries: list[Entry]) -> None:
        try:
            self._patience(lambda: self._sent(entries))
        except Exception as error:  # it refuses, or is away and nobody waits any longer
            self._refuse(error)
            return
        self._refused = ""
        self._journal.sent(entries)
        if entries[0].kind == "batch":
            self._closing.wait(BETWEEN_S)

    def _sent(self, entries: list[Entry]) -> None:
        send(self._client, self._run_id, self._journal, entries, maybe_there=self._first)
        self._first = False

    def _refuse(self, error: Exception) -> None:
        self._first = True
        if self._ended.is_set():
            return
        if not self._refused:
            log.warning(
                "%s refuses what run %s sends (%s); the training goes on, results wait in %s",
                named(), self._run_id, first_line(error)[:300], self._journal.folder,
            )  # fmt: skip
        self._refused = first_line(error)[:300]
        self._closing.wait(REFUSED_S)


def send(
    client: mlflow.MlflowClient,
    run_id: str,
    journal: Journal,
    entries: list[Entry],
    maybe_there: bool = True,
) -> None:
    """Send entries that `Journal.next` gave: one, or batches.

    maybe_there: they may have been sent before, by a process that could not note it.
    """
    first, place = entries[0], journal.folder / FILES
    content = first.content
    if first.kind == "batch":
        _send_batches(client, run_id, entries)
    elif first.kind == "data_set":
        _send_data_set(client, run_id, content)
    elif first.kind == "files":
        client.log_artifacts(run_id, str(place / content["folder"]))
    elif first.kind == "picture":
        _send_picture(client, run_id, place, content, maybe_there)
    elif first.kind == "model":
        _send_model(client, run_id, place / content["folder"])
    elif first.kind == "manifest":
        _bind(client, run_id, journal, content)
    else:
        _end(client, run_id, content["status"], content["error"])


def _send_batches(client: mlflow.MlflowClient, run_id: str, entries: list[Entry]) -> None:
    """Metrics, tags and parameters; `mlflow run` has logged its own parameters as typed."""
    points = [Metric(*point) for each in entries for point in each.content.get("points", ())]
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    for each in entries:
        tags |= each.content.get("tags", {})
        params |= each.content.get("params", {})
    if params:
        there = client.get_run(run_id).data.params
        params = {name: value for name, value in params.items() if name not in there}
    if tags or params:
        client.log_batch(
            run_id,
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
    for start in range(0, len(points), MOST_AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + MOST_AT_ONCE])


def _send_data_set(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, Any]) -> None:
    data_set = Dataset(**content["data_set"])
    tags = [InputTag("mlflow.data.context", content["context"])]
    for tries_left in range(DATA_SET_TRIES, 0, -1):
        try:
            client.log_inputs(run_id, [DatasetInput(data_set, tags)])
            return
        except mlflow.MlflowException as error:
            # Two runs that log the same cells at once both find them missing, and one insert fails.
            if "unique" not in str(error).lower() or tries_left == 1:
                raise
            time.sleep(random.uniform(0.1, 1))


def _send_picture(
    client: mlflow.MlflowClient,
    run_id: str,
    place: Path,
    content: Mapping[str, Any],
    maybe_there: bool,
) -> None:
    """A picture as MLflow logs it, in two files; over what a process that was killed has left of
    them, since MLflow would draw another name."""
    with Image.open(place / content["file"]) as picture:
        name = _name_there(client, run_id, content) if maybe_there else ""
        if not name:
            client.log_image(
                run_id, np.asarray(picture), key=content["name"], step=content["step"],
                timestamp=content["time"], synchronous=True,
            )  # fmt: skip
            return
        with TemporaryDirectory() as folder:
            picture.save(Path(folder) / f"{name}.png")
            compress_image_size(picture).save(Path(folder) / f"{name}{COMPRESSED}")
            client.log_artifacts(run_id, folder, "images")


def _name_there(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, Any]) -> str:
    """What the files of a picture are called in the store; "" where there is none."""
    for file in client.list_artifacts(run_id, "images"):
        if file.path.startswith(_start_of(content)):
            name: str = Path(file.path).name
            return name.removesuffix(COMPRESSED).removesuffix(".png")
    return ""


def _start_of(content: Mapping[str, Any]) -> str:
    return f"images/{content['name']}+step+{content['step']}+timestamp+{content['time']}+"


def _send_model(client: mlflow.MlflowClient, run_id: str, folder: Path) -> None:
    """Log a saved model as the one model of the run."""
    for former in records.models_of(run_id):  # of an attempt that could not note it
        client.delete_logged_model(former.model_id)

    def save_model(path: str, mlflow_model: Model, **settings: object) -> None:
        """As MLflow calls it: the saved model, at its place."""
        shutil.copytree(folder, path)
        saved = vars(Model.load(folder))
        vars(mlflow_model).update({name: saved[name] for name in saved if name not in STAY})
        mlflow_model.save(os.path.join(path, "MLmodel"))

    Model.log(
        artifact_path=None,
        flavor=SimpleNamespace(__name__="mlflow.keras", save_model=save_model),
        name=MODEL,
        run_id=run_id,
        validate_serving_input=False,  # loads and runs the model anew: seconds, and a test does it
    )


def _bind(
    client: mlflow.MlflowClient, run_id: str, journal: Journal, content: Mapping[str, Any]
) -> None:
    """Write the manifest of all that the run has left, once all of it is in the store.

    Raises:
        UserError: the store has lost files, again and again.
    """
    sizes = _whole(client, run_id, journal, content["sizes"])
    [model] = records.models_of(run_id)
    with logged_model.fetched(f"models:/{model.model_id}") as logged:
        model_sha256 = logged.digest
    run = client.get_run(run_id)
    whole = manifest.Manifest(
        run=run_id,
        model=model.model_id,
        model_sha256=model_sha256,
        sizes=sizes,
        files=content["files"],
        metrics={name: run.data.metrics[name] for name in content["metrics"]},
        tags={name: run.data.tags[name] for name in content["tags"]},
        params=run.data.params,
    )
    client.log_text(run_id, whole.text, MANIFEST)
    client.set_tag(run_id, manifest.TAG, whole.sha256)


def _whole(
    client: mlflow.MlflowClient, run_id: str, journal: Journal, written: Mapping[str, int]
) -> dict[str, int]:
    """Path -> bytes of what the store has, where that is all that was written."""
    for left in range(SENT_AGAIN, -1, -1):
        there = records.contents(run_id)
        lost = _lost(journal, there, written)
        if not lost and len(records.models_of(run_id)) == 1:
            return there
        if left:
            for entry in journal.again(("files", "picture", "model")):
                send(client, run_id, journal, [entry])
    raise UserError(
        f"the store has lost {len(lost)} of the files that run {run_id} wrote "
        f"({', '.join(lost[:3])}), also when they were sent again; look after the store"
    )


def _lost(journal: Journal, there: Mapping[str, int], written: Mapping[str, int]) -> list[str]:
    """What was sent and is not in the store, or not whole: files, pictures, parts of the model.

    A picture's name ends in letters that MLflow draws, and the model's description is written anew.
    """
    lost = [path for path, size in written.items() if there.get(path) != size]
    for entry in journal.again(("picture",)):
        start = _start_of(entry.content)
        if sum(path.startswith(start) for path in there) < 2:
            lost.append(start)
    for entry in journal.again(("model",)):
        folder = journal.folder / FILES / entry.content["folder"]
        inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        names = (f"models/{MODEL}/{path.as_posix()}" for path in inside)
        lost += [name for name in names if name not in there]
    return lost


def _end(client: mlflow.MlflowClient, run_id: str, status: str, error: str) -> None:
    """Give the run its status; an error is a tag, which a later attempt takes away."""
    if error:
        client.set_tag(run_id, "error", error[:5000])
    elif "error" in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, "error")
    if status == "RUNNING":
        client.update_run(run_id, status=status)
    else:
        client.set_terminated(run_id, status)


@contextmanager
def sending(journal: Journal, run_id: str) -> Iterator[None]:
    """Send beside the block; what it leaves is sent when it ends, whatever it ends with."""
    sender = Sender(journal, run_id)
    try:
        yield
    except BaseException:
        try:
            sender.close(BETWEEN_S)
        except Unsent as unsent:
            log.warning("%s", unsent)
        raise
    sender.close()
