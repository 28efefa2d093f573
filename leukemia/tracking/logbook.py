"""What a training run leaves, and under which name; it is written into the run's journal.

The run carries the tags kind=train, technique, arm and the TERMS that `ranking` compares by;
its metrics are named as in `evaluation.metrics.METRICS`, behind train_, val_ or test_.
"""

import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import mlflow
import mlflow.keras
import numpy as np
from mlflow.models import Model, infer_signature
from PIL import Image

from leukemia import RESEARCH_ONLY
from leukemia.cells import Cells
from leukemia.contract import TrainingSet
from leukemia.data.geometry import Geometry
from leukemia.data.index import Index
from leukemia.evaluation.evaluate import SHORT
from leukemia.evaluation.metrics import METRICS
from leukemia.experiment import artifacts, plots, provenance
from leukemia.experiment.balance import threads
from leukemia.experiment.config import Experiment
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.run import Outcome
from leukemia.splits import audit
from leukemia.tracking import WORKERS, manifest
from leukemia.tracking.journal import Journal

LONGEST_TAG = 5000  # characters
SERVED_WITH = ("keras", "mlflow", "numpy", "tensorflow")  # packages that a logged model needs


class Logbook:
    """Writes one training run into its journal; it is also the run's `Report`.

    seconds: spent on logging so far.
    """

    def __init__(self, journal: Journal):
        self._journal, self.seconds = journal, 0.0
        self._pictures: set[str] = set()
        # What the manifest binds: path -> SHA-256 and bytes of each file, and names of tags.
        self._files: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._bound: set[str] = set()

    def start(self, experiment: Experiment, options: ExperimentOptions) -> None:
        """All that is known before training: settings, data sets, code and environment.

        options: as they were asked for, `auto` among them.
        """
        with self._counted():
            params = options.shared() | _params(experiment)
            self._journal.write("batch", params={name: str(v) for name, v in params.items()})
            self._tags(_training_tags(experiment))
            self._code()
            for name, rows in experiment.split.rows.items():
                data_set = _data_set(experiment.index, rows, name)
                context = f"{experiment.split.name} {name}"
                self._journal.write("data_set", data_set=data_set, context=context)

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
        with self._kept() as folder:
            (folder / "code").mkdir()
            for path, text in texts.items():
                (folder / path).write_text(text, encoding="utf-8")

    def __call__(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        """Numbers (`*_done` is for the screen only) and pictures by step; those that an attempt
        before has written are left out."""
        with self._counted():
            pictures = {k: v for k, v in values.items() if isinstance(v, np.ndarray)}
            numbers = {k: v for k, v in values.items() if k not in pictures and k[-5:] != "_done"}
            new = {k: v for k, v in numbers.items() if step > self._journal.last_step(k)}
            self._metrics(new, step)
            self._images(pictures, step)

    def finish(self, experiment: Experiment, outcome: Outcome, cells: Cells) -> None:
        """Final metrics, costs, audit, pictures, made cells, predictions, errors and the model.

        cells: those of the experiment's index, in its order.
        """
        with self._counted():
            last = len(outcome.history)
            measured = _outcome_metrics(outcome)
            # At the last epoch's step: the later time makes them the run's.
            self._metrics(measured, last)
            self._tags(_outcome_tags(outcome))
            drawn = plots.draw(experiment, outcome, cells)
            self._images(drawn, last)
            self._tags({"pictures": ",".join(sorted(self._pictures))})
            with self._kept() as folder:
                artifacts.write(folder, experiment, outcome, cells, drawn)
            model = self._journal.room()
            _save_model(model, experiment, outcome)
            self._journal.write("model", folder=model.name)
        self._metrics({"log_s": self.seconds}, last)
        self._journal.write(
            "manifest",
            files=self._files,
            sizes=self._sizes,
            metrics=[name for name, value in measured.items() if math.isfinite(value)],
            tags=sorted(self._bound),
        )

    def finish_made(self, made: TrainingSet) -> None:
        """What a technique made and measured, where no classifier was trained."""
        with self._counted():
            self._metrics(made.metrics, 0)
            self._tags({name: text[:LONGEST_TAG] for name, text in made.notes.items()})
            with self._kept() as folder:
                artifacts.write_training_set(folder, made)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start

    @contextmanager
    def _kept(self) -> Iterator[Path]:
        """A folder of the journal; what the block puts there become artifacts."""
        folder = self._journal.room()
        yield folder
        written = manifest.digests(folder)
        self._files |= written
        self._sizes |= {path: (folder / path).stat().st_size for path in written}
        self._journal.write("files", folder=folder.name)

    def _tags(self, tags: Mapping[str, str]) -> None:
        self._bound |= set(tags)
        self._journal.write("batch", tags=dict(tags))

    def _metrics(self, values: Mapping[str, float | np.ndarray], step: int) -> None:
        """What is not finite is left out: MLflow would sort it to an end."""
        now = int(time.time() * 1000)
        numbers = {name: float(value) for name, value in values.items()}
        points = [(k, v, now, step) for k, v in numbers.items() if math.isfinite(v)]
        if points:
            self._journal.write("batch", points=points)

    def _images(self, named: Mapping[str, np.ndarray], step: int) -> None:
        self._pictures |= set(named)
        new = {k: v for k, v in named.items() if step > self._journal.last_step(k)}
        if not new:
            return
        folder, now = self._journal.room(), int(time.time() * 1000)
        for name, picture in new.items():
            Image.fromarray(picture).save(folder / f"{name}.png")
            file = f"{folder.name}/{name}.png"
            self._journal.write("picture", name=name, step=step, time=now, file=file)


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
        **({"pixels": pixels} if (pixels := _pixels(config.geometry)) else {}),
        **({"files": index.remarks[:LONGEST_TAG]} if index.remarks else {}),
        **{name: str(value) for name, value in terms.items()},
    }


def _pixels(geometry: Geometry) -> str:
    """What is unusual in how images became squares, `fit=pad, stain=macenko`; "" for nothing."""
    return ", ".join(f"{name}={value}" for name, value in geometry.unusual.items())


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


def _data_set(index: Index, rows: np.ndarray, split: str) -> dict[str, str]:
    """A split's rows of the index, as MLflow names and digests a data set."""
    frame = index.frame.iloc[rows].reset_index(drop=True)
    with warnings.catch_warnings():
        # MLflow registers its source of local files twice and warns of its own doubt.
        warnings.simplefilter("ignore", UserWarning)
        made = mlflow.data.from_pandas(
            frame, source=str(index.root), targets="label", name=f"{index.source}_{SHORT[split]}"
        )
    told: dict[str, str] = made.to_dict()
    return told


def _save_model(folder: Path, experiment: Experiment, outcome: Outcome) -> None:
    """The classifier as MLflow saves a model, into an empty folder."""
    trained, config, index = outcome.classifier.model, experiment.config, experiment.index
    bare = keras.Model(trained.inputs, trained.outputs, name=trained.name)  # no optimizer state
    example = outcome.training_set.cells.images[:1]
    mlflow.keras.save_model(
        path=str(folder),
        model=bare,
        signature=infer_signature(example, trained.predict_on_batch(example)),
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
        mlflow_model=Model(
            metadata={
                "positive": index.positive,
                "negative": index.negative,
                "crop": config.geometry.crop,
                "image_size": config.geometry.side,
                **config.geometry.unusual,
                "threshold": outcome.predictions["test"].threshold,
                "technique": config.arm,
                "cells": index.describe(),
                "protocol": experiment.protocol_line(),
                "use": RESEARCH_ONLY,
            }
        ),
    )
