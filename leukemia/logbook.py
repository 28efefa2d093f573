"""What a training run logs, and under which name.

The run carries the tags kind=train, technique, arm and the TERMS that `ranking` compares by;
its metrics are named as in `evaluation.metrics`, behind train_, val_ or test_.
"""

import io
import json
import math
import os
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import mlflow.keras
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.models import Model, infer_signature
from PIL import Image

from leukemia import audit, golden, pictures, provenance, tracking
from leukemia.audit_figure import audit_files, figure
from leukemia.cells import Cells, TrainingSet
from leukemia.data.index import Index
from leukemia.evaluation.by_subject import by_subject
from leukemia.evaluation.error_page import page
from leukemia.evaluation.reading import SHORT
from leukemia.experiment import Outcome, threads
from leukemia.names import WORKERS
from leukemia.plan import Experiment
from leukemia.tracking import ERRORS, MODEL, PREDICTIONS, SUBJECTS

SECONDS_BETWEEN = 2.0  # two requests with numbers: one of 25 epochs costs as much as one of 1
MOST_AT_ONCE = 1000  # metrics that MLflow takes in a request
MOST_ERRORS = 200  # rows of the page of errors: 13 MB at 210 px if all were noise
SERVED_WITH = ("keras", "mlflow", "numpy", "tensorflow")  # packages that a logged model needs


class Logbook:
    """Logs one training run; it is also the run's `Report`. Leave it through `with`: numbers are
    sent together, at most every few seconds, and the last of them then.

    seconds: spent on logging so far.
    """

    def __init__(self, run: Run):
        self._client, self._run_id, self.seconds = mlflow.MlflowClient(), run.info.run_id, 0.0
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()
        self._pictures: set[str] = set()
        self._there = _logged(self._client, run)

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *error: object) -> None:
        with self._counted():
            self._send()

    def start(self, experiment: Experiment) -> None:
        """All that is known before training: settings, data sets, code and environment."""
        with self._counted():
            self._params(_params(experiment))
            self._tags(_training_tags(experiment))
            _log_code()
            for side, rows in experiment.split.rows.items():
                _log_dataset(experiment.index, rows, side, experiment.split.name)

    def __call__(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        """Numbers as one request (`*_done` is for the screen only), pictures by step."""
        with self._counted():
            pictures = {k: v for k, v in values.items() if isinstance(v, np.ndarray)}
            self._metrics(
                {k: v for k, v in values.items() if k not in pictures and k[-5:] != "_done"}, step
            )
            self._images(pictures, step)

    def finish(self, experiment: Experiment, outcome: Outcome, cells: Cells) -> None:
        """Final metrics, costs, audit, pictures, made cells, predictions, errors and the model.

        cells: those of the experiment's index, in its order.
        """
        with self._counted():
            last = len(outcome.history)
            made = dict(outcome.training_set.figures)
            figures = outcome.reading.metrics | outcome.thesis | outcome.costs | made
            self._metrics(figures, last)
            self._tags(_outcome_tags(outcome))
            drawn = pictures.draw(experiment, outcome, cells)
            self._images(drawn, last)
            self._tags({"pictures": ",".join(sorted(self._pictures))})
            with tempfile.TemporaryDirectory() as folder:
                _write_files(Path(folder), experiment, outcome, drawn)
                shown = experiment.split.rows["test"][: golden.CELLS]
                golden.write(Path(folder), cells.images[shown], outcome.scored["test"].scores)
                self._client.log_artifacts(self._run_id, folder)
            self._client.log_text(self._run_id, _errors(experiment, outcome, cells), ERRORS)
            _log_model(experiment, outcome)
            inventory = json.dumps(tracking.contents(self._run_id), indent=1)
            self._client.log_text(self._run_id, inventory, tracking.INVENTORY)
        self._metrics({"log_s": self.seconds}, last)

    def finish_made(self, made: TrainingSet) -> None:
        """What a technique made and measured, where no classifier was trained."""
        with self._counted():
            self._metrics(made.figures, 0)
            with tempfile.TemporaryDirectory() as folder:
                _write_made(Path(folder), made)
                self._client.log_artifacts(self._run_id, folder)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start

    def _params(self, params: Mapping[str, Any]) -> None:
        """Log what is not there yet: `mlflow run` has logged its own parameters as typed."""
        there = self._client.get_run(self._run_id).data.params
        new = [Param(name, str(value)) for name, value in params.items() if name not in there]
        self._client.log_batch(self._run_id, params=new)

    def _tags(self, tags: Mapping[str, str]) -> None:
        self._client.log_batch(self._run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def _metrics(self, values: Mapping[str, float | np.ndarray], step: int) -> None:
        """What is not finite is left out: MLflow would sort it to an end."""
        now = int(time.time() * 1000)
        numbers = {name: float(value) for name, value in values.items()}
        self._waiting += [
            Metric(k, v, now, step)
            for k, v in numbers.items()
            if math.isfinite(v) and step > self._there.get(k, -1)
        ]
        if time.monotonic() - self._sent > SECONDS_BETWEEN or len(self._waiting) > MOST_AT_ONCE / 2:
            self._send()

    def _send(self) -> None:
        for start in range(0, len(self._waiting), MOST_AT_ONCE):
            batch = self._waiting[start : start + MOST_AT_ONCE]
            self._client.log_batch(self._run_id, metrics=batch)
        self._waiting, self._sent = [], time.monotonic()

    def _images(self, named: Mapping[str, np.ndarray], step: int) -> None:
        self._pictures |= set(named)
        for name, picture in named.items():
            if step <= self._there.get(name, -1):
                continue
            self._client.log_image(self._run_id, picture, key=name, step=step, synchronous=True)


def _logged(client: mlflow.MlflowClient, run: Run) -> dict[str, int]:
    """The last step of each metric and picture that a run which goes on has already."""
    run_id = run.info.run_id
    last = {
        name: max(each.step for each in client.get_metric_history(run_id, name))
        for name in client.get_run(run_id).data.metrics
        if not name.startswith("system/")
    }
    for file in client.list_artifacts(run_id, "images") if last else []:
        found = re.match(r"(\w+)[+%]step[+%](\d+)", Path(file.path).name)  # as MLflow names them
        if found:
            last[found[1]] = max(last.get(found[1], -1), int(found[2]))
    return last


def _params(experiment: Experiment) -> dict[str, Any]:
    plan, split = experiment.plan, experiment.split
    stages = {
        f"{name}_{field}": value
        for name, stage in asdict(plan.schedule).items()
        for field, value in stage.items()
    }
    sizes = {f"n_{SHORT[side]}": len(rows) for side, rows in split.rows.items()}
    return {
        **asdict(plan.settings),
        **stages,
        **sizes,
        "backbone": plan.spec.backbone,
        "batch_size": plan.batch_size,
        "crop": plan.geometry.crop,
        "precision": plan.spec.precision,
        "scaling": plan.spec.scaling,
        "fold": split.fold,
        "folds": split.folds,
        "sensitivity": plan.sensitivity,
        "split": split.text,
        "threads": threads(),
    }


def _training_tags(experiment: Experiment) -> dict[str, str]:
    """What a training run is, and the TERMS it can be compared by."""
    index, plan = experiment.index, experiment.plan
    terms = {
        "data_digest": index.digest[:16],
        "protocol": experiment.split.name,
        "folds": experiment.split.folds,
        "budget": plan.budget,
        "image_size": plan.geometry.side,
        "crop": plan.geometry.crop,
        "scaling": plan.spec.scaling,
        "backbone": plan.spec.backbone,
        "precision": plan.spec.precision,
        "batch_size": plan.batch_size,
    }
    return {
        "technique": plan.name,
        "arm": plan.arm,
        "seed": str(plan.seed),
        "fold": str(plan.fold),
        "key": plan.key(index),
        "positive": index.positive,
        "negative": index.negative,
        "cells": index.describe(),
        "protocol_line": experiment.protocol_line(),
        "synthetic_data": index.synthetic,
        "workers": os.environ.get(WORKERS, "1"),
        **{name: str(value) for name, value in terms.items()},
    }


def _outcome_tags(outcome: Outcome) -> dict[str, str]:
    """What was found, in words; `leaks` names the kinds that the audit found, with commas."""
    reading = outcome.reading
    return {
        "weights": outcome.classifier.weights,
        "note": outcome.classifier.note,
        "leaks": ",".join(sorted({each.kind for each in outcome.audit.blocking})),
        "audit": audit.as_text(outcome.audit)[:5000],
        "verdict": reading.verdict.text,
        "calibration": reading.temperature.text,
        "operating": reading.operating.text,
        "interval_method": reading.intervals["bal_acc"].method,
    }


def _log_code() -> None:
    state = provenance.code()
    mlflow.set_tags({"git_commit": state.commit, "git_dirty": str(state.dirty).lower()})
    if state.dirty:
        mlflow.log_text(state.diff, "code/uncommitted.diff")
    mlflow.log_text(provenance.environment(), "code/environment.txt")


def _log_dataset(index: Index, rows: np.ndarray, side: str, protocol: str) -> None:
    frame = index.frame.iloc[rows].reset_index(drop=True)
    with warnings.catch_warnings():
        # MLflow registers its source of local files twice and warns of its own doubt.
        warnings.simplefilter("ignore", UserWarning)
        dataset = mlflow.data.from_pandas(
            frame, source=str(index.root), targets="label", name=f"{index.source}_{SHORT[side]}"
        )
    mlflow.log_input(dataset, context=f"{protocol} {side}")


def _write_files(
    folder: Path, experiment: Experiment, outcome: Outcome, drawn: Mapping[str, np.ndarray]
) -> None:
    for place in ("figures", PREDICTIONS):
        (folder / place).mkdir()
    for name, picture in drawn.items():
        Image.fromarray(picture).save(folder / "figures" / f"{name}.png")
    for side, cells in outcome.scored.items():
        pd.DataFrame(vars(cells)).to_csv(folder / PREDICTIONS / f"{side}.csv", index=False)
    by_subject(outcome.scored["test"]).to_csv(folder / SUBJECTS, index=False)
    about = f"{experiment.plan.title}. {experiment.protocol_line()} {pictures.RESEARCH_ONLY}"
    audit_files(outcome.audit, figure(outcome.audit, about), folder / "audit")
    _write_made(folder, outcome.training_set)


def _write_made(folder: Path, made: TrainingSet) -> None:
    for name, content in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if made.synthetic.any():
        _zip(folder / "made_cells.zip", made.cells.images[made.synthetic])


def _errors(experiment: Experiment, outcome: Outcome, cells: Cells) -> str:
    """The test cells that were called wrongly, the surest first, as a page with pictures."""
    index, test = experiment.index, outcome.scored["test"]
    wrong = pictures.surest_errors(test)
    shown = wrong[:MOST_ERRORS]
    names = np.array([index.negative, index.positive])
    table = pd.DataFrame(
        {
            "cell": test.origin[shown],
            "subject": test.subjects[shown],
            "true": names[test.labels[shown]],
            "called": names[1 - test.labels[shown]],
            f"probability of {index.positive}": [f"{score:.4f}" for score in test.scores[shown]],
        }
    )
    about = (
        f"{experiment.plan.title}: {len(wrong)} of {len(test)} test cells were called wrongly; "
        f"{len(shown)} are shown, the surest calls first. Click a heading to sort. "
        f"{experiment.protocol_line()} {pictures.RESEARCH_ONLY}"
    )
    return page(table, cells.images[experiment.split.rows["test"][shown]], about)


def _zip(path: Path, images: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, image in enumerate(images):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png", compress_level=1)
            archive.writestr(f"made_{number:05d}.png", png.getvalue())


def _save_keras(path: str, validate_serving_input: bool, **settings: Any) -> None:
    """mlflow.keras writes an input example before its folder exists (mlflow issue 16183)."""
    os.makedirs(path)
    mlflow.keras.save_model(path=path, **settings)


_KERAS = SimpleNamespace(__name__="mlflow.keras", save_model=_save_keras)


def _log_model(experiment: Experiment, outcome: Outcome) -> None:
    trained, plan, index = outcome.classifier.model, experiment.plan, experiment.index
    bare = keras.Model(trained.inputs, trained.outputs, name=trained.name)  # no optimizer state
    example = outcome.training_set.cells.images[:1]
    signature = infer_signature(example, trained.predict_on_batch(example))
    Model.log(
        artifact_path=None,
        flavor=_KERAS,
        model=bare,
        name=MODEL,
        signature=signature,
        input_example=example,
        validate_serving_input=False,  # loads and runs the model anew: seconds, and a test does it
        pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
        metadata={
            "positive": index.positive,
            "negative": index.negative,
            "crop": plan.geometry.crop,
            "image_size": plan.geometry.side,
            "technique": plan.arm,
            "cells": index.describe(),
            "protocol": experiment.protocol_line(),
            "use": pictures.RESEARCH_ONLY,
        },
    )
