"""What a training run logs, and under which name.

The run carries the tags kind=train, technique, arm and the TERMS that `ranking` compares by;
its metrics are named as in `evaluation.metrics.METRICS`, behind train_, val_ or test_.
"""

import math
import os
import random
import re
import tempfile
import time
import warnings
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
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.models import Model, infer_signature

from leukemia import RESEARCH_ONLY
from leukemia.cells import Cells
from leukemia.contract import TrainingSet
from leukemia.data.index import Index
from leukemia.evaluation.evaluate import SHORT
from leukemia.evaluation.metrics import METRICS
from leukemia.experiment import artifacts, plots, provenance
from leukemia.experiment.balance import threads
from leukemia.experiment.config import Experiment
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.run import Outcome
from leukemia.splits import audit
from leukemia.tracking import MANIFEST, MODEL, WORKERS, logged_model, manifest, records

SECONDS_BETWEEN = 2.0  # two requests with numbers: one of 25 epochs costs as much as one of 1
MOST_AT_ONCE = 1000  # metrics that MLflow takes in a request
DATASET_TRIES = 5
LONGEST_TAG = 5000  # characters
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
        # What the manifest binds: path -> SHA-256 of each file, and names of tags.
        self._files: dict[str, str] = {}
        self._bound: set[str] = set()
        self._there = _logged(self._client, run)

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *error: object) -> None:
        with self._counted():
            self._send()

    def start(self, experiment: Experiment, options: ExperimentOptions) -> None:
        """All that is known before training: settings, data sets, code and environment.

        options: as they were asked for, `auto` among them.
        """
        with self._counted():
            self._params(options.shared() | _params(experiment))
            self._tags(_training_tags(experiment))
            self._code()
            for name, rows in experiment.split.rows.items():
                _log_dataset(experiment.index, rows, name, experiment.split.name)

    def _code(self) -> None:
        state = provenance.code()
        self._tags(
            {
                "code": provenance.code_digest(),
                "git_commit": state.commit,
                "git_dirty": str(state.dirty).lower(),
            }
        )
        texts = {"code/environment.txt": provenance.environment()}
        if state.dirty:
            texts["code/uncommitted.diff"] = state.diff
        for path, text in texts.items():
            self._client.log_text(self._run_id, text, path)
            self._files[path] = manifest.digest(text.encode())

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
            measured = _outcome_metrics(outcome)
            self._metrics(measured, last)
            self._tags(_outcome_tags(outcome))
            drawn = plots.draw(experiment, outcome, cells)
            self._images(drawn, last)
            self._tags({"pictures": ",".join(sorted(self._pictures))})
            with tempfile.TemporaryDirectory() as folder:
                artifacts.write(Path(folder), experiment, outcome, cells, drawn)
                self._client.log_artifacts(self._run_id, folder)
                self._files |= manifest.digests(Path(folder))
            self._send()
            self._bind(self._model(experiment, outcome), measured)
        self._metrics({"log_s": self.seconds}, last)

    def _model(self, experiment: Experiment, outcome: Outcome) -> str:
        """Log the classifier as the one model of the run; its ID."""
        for former in records.models_of(self._run_id):  # of a run that was killed after this
            self._client.delete_logged_model(former.model_id)
        return _log_model(experiment, outcome)

    def _bind(self, model: str, measured: Mapping[str, float]) -> None:
        """Write the manifest of all that the run leaves."""
        run = self._client.get_run(self._run_id)
        with logged_model.fetched(f"models:/{model}") as logged:
            model_sha256 = logged.digest
        whole = manifest.Manifest(
            run=self._run_id,
            model=model,
            model_sha256=model_sha256,
            sizes=records.contents(self._run_id),
            files=self._files,
            metrics={name: run.data.metrics[name] for name in measured if name in run.data.metrics},
            tags={name: run.data.tags[name] for name in self._bound},
            params=run.data.params,
        )
        self._client.log_text(self._run_id, whole.text, MANIFEST)
        self._client.set_tag(self._run_id, manifest.TAG, whole.sha256)

    def finish_made(self, made: TrainingSet) -> None:
        """What a technique made and measured, where no classifier was trained."""
        with self._counted():
            self._metrics(made.metrics, 0)
            self._tags({name: text[:LONGEST_TAG] for name, text in made.notes.items()})
            with tempfile.TemporaryDirectory() as folder:
                artifacts.write_training_set(Path(folder), made)
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
        self._bound |= set(tags)
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
        # As MLflow names them.
        if picture := re.match(r"(\w+)[+%]step[+%](\d+)", Path(file.path).name):
            last[picture[1]] = max(last.get(picture[1], -1), int(picture[2]))
    return last


def _params(experiment: Experiment) -> dict[str, Any]:
    config, split = experiment.config, experiment.split
    stages = {
        f"{name}_{field}": value
        for name, stage in asdict(config.schedule).items()
        for field, value in stage.items()
    }
    sizes = {f"n_{SHORT[name]}": len(rows) for name, rows in split.rows.items()}
    return {
        **asdict(config.settings),
        **stages,
        **sizes,
        "backbone": config.model.backbone,
        "batch_size": config.batch_size,
        "crop": config.geometry.crop,
        "precision": config.model.precision,
        "scaling": config.model.scaling,
        "split_seed": config.split_seed,
        "fold": split.fold,
        "folds": split.folds,
        "sensitivity": config.sensitivity,
        "split": split.text,
        "threads": threads(),
    }


def _training_tags(experiment: Experiment) -> dict[str, str]:
    """What a training run is, and the TERMS it can be compared by."""
    index, config = experiment.index, experiment.config
    terms = {
        "data_digest": index.digest[:16],
        "protocol": experiment.split.name,
        "folds": experiment.split.folds,
        "budget": config.budget,
        "image_size": config.geometry.side,
        "crop": config.geometry.crop,
        "scaling": config.model.scaling,
        "backbone": config.model.backbone,
        "precision": config.model.precision,
        "batch_size": config.batch_size,
    }
    return {
        "technique": config.name,
        "arm": config.arm,
        "seed": str(config.seed),
        "split_seed": str(config.split_seed),
        "fold": str(config.fold),
        "key": config.key(index),
        "positive": index.positive,
        "negative": index.negative,
        "cells": index.describe(),
        "protocol_line": experiment.protocol_line(),
        "simulated_data": index.simulated,
        "metrics": ",".join(METRICS),
        "workers": os.environ.get(WORKERS, "1"),
        **({"outside": index.outside} if index.outside else {}),
        **{name: str(value) for name, value in terms.items()},
    }


def _outcome_metrics(outcome: Outcome) -> dict[str, float]:
    """What was measured, and how many cells the technique added and left out."""
    training = outcome.training_set
    return {
        **outcome.evaluation.metrics,
        **outcome.thesis,
        **outcome.costs,
        **training.metrics,
        "synthetic": float(training.synthetic.sum()),
        "left_out": float(len(training.left_out)),
    }


def _outcome_tags(outcome: Outcome) -> dict[str, str]:
    """What was found, in words; `leaks` names the kinds that the audit found, with commas."""
    evaluation = outcome.evaluation
    return {
        "weights": outcome.classifier.weights,
        "note": outcome.classifier.note,
        "leaks": ",".join(sorted({each.kind for each in outcome.audit.blocking})),
        "audit": audit.as_text(outcome.audit)[:LONGEST_TAG],
        **{name: text[:LONGEST_TAG] for name, text in outcome.training_set.notes.items()},
        "verdict": evaluation.verdict.text,
        "calibration": evaluation.temperature.text,
        "operating": evaluation.operating.text,
        "interval_method": evaluation.intervals["bal_acc"].method,
    }


def _log_dataset(index: Index, rows: np.ndarray, split: str, protocol: str) -> None:
    frame = index.frame.iloc[rows].reset_index(drop=True)
    with warnings.catch_warnings():
        # MLflow registers its source of local files twice and warns of its own doubt.
        warnings.simplefilter("ignore", UserWarning)
        dataset = mlflow.data.from_pandas(
            frame, source=str(index.root), targets="label", name=f"{index.source}_{SHORT[split]}"
        )
    for tries_left in range(DATASET_TRIES, 0, -1):
        try:
            mlflow.log_input(dataset, context=f"{protocol} {split}")
            return
        except mlflow.MlflowException as error:
            # Two runs that log the same cells at once both find them missing, and one insert fails.
            if "unique" not in str(error).lower() or tries_left == 1:
                raise
            time.sleep(random.uniform(0.1, 1))


def _save_keras(path: str, validate_serving_input: bool, **settings: Any) -> None:
    """mlflow.keras writes an input example before its folder exists (mlflow issue 16183)."""
    os.makedirs(path)
    mlflow.keras.save_model(path=path, **settings)


_KERAS = SimpleNamespace(__name__="mlflow.keras", save_model=_save_keras)


def _log_model(experiment: Experiment, outcome: Outcome) -> str:
    """The ID of the logged model."""
    trained, config, index = outcome.classifier.model, experiment.config, experiment.index
    bare = keras.Model(trained.inputs, trained.outputs, name=trained.name)  # no optimizer state
    example = outcome.training_set.cells.images[:1]
    signature = infer_signature(example, trained.predict_on_batch(example))
    info = Model.log(
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
            "crop": config.geometry.crop,
            "image_size": config.geometry.side,
            "threshold": outcome.predictions["test"].threshold,
            "technique": config.arm,
            "cells": index.describe(),
            "protocol": experiment.protocol_line(),
            "use": RESEARCH_ONLY,
        },
    )
    return str(info.model_id)
