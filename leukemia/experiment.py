"""One experiment: cells -> split -> technique -> classifier -> evaluation -> Outcome."""

import math
import os
import resource
import sys
import time
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from leukemia.cells import Cells, TrainingSet
from leukemia.classifier import Classifier, Spec, build
from leukemia.data.index import Index
from leukemia.data.store import Geometry
from leukemia.errors import UserError
from leukemia.evaluation.intervals import balanced_accuracy_interval
from leukemia.evaluation.metrics import metrics
from leukemia.protocol import SIDES, Split
from leukemia.report import Report
from leukemia.schedule import Schedule
from leukemia.techniques import defaults
from leukemia.training import History, Job, fit, scores

SHORT = {"train": "train", "validation": "val", "test": "test"}  # as metric names begin


@dataclass(frozen=True)
class Plan:
    """Everything that decides an experiment's outcome, but the cells and their split.

    name: the technique, technique: its module, settings: its Settings. budget: the name under
    which `schedule` (learning rates and epochs) was chosen. geometry: what the cells were
    decoded with. spec: the classifier.
    """

    name: str
    technique: ModuleType
    settings: Any
    budget: str
    schedule: Schedule
    geometry: Geometry
    spec: Spec
    seed: int
    batch_size: int = 32

    @property
    def arm(self) -> str:
        """The technique with the settings that were changed: `weighted(mode=thesis)`.

        What the budget sets is no change, nor is the choice of an earlier run's artifact.
        """
        usual = defaults(self.technique, self.budget)
        changed = {
            option.name: getattr(self.settings, option.name)
            for option in fields(self.settings)
            if getattr(self.settings, option.name) != getattr(usual, option.name)
            and "artifact" not in option.metadata
        }
        said = ",".join(f"{name}={value}" for name, value in changed.items())
        return f"{self.name}({said})" if said else self.name


@dataclass(frozen=True)
class Experiment:
    """Which cells, which of them on which side, and what is done with them."""

    index: Index
    split: Split
    plan: Plan

    def protocol_line(self) -> str:
        """What a figure of this experiment was measured on, in a sentence or two."""
        drawn = self.index.synthetic and f" SYNTHETIC DATA: {self.index.synthetic}."
        return f"Protocol {self.split.name}: no subject on two sides; {self.split.text}.{drawn}"


@dataclass(frozen=True)
class Scored:
    """The real cells of one side with the probability that the model gives each.

    labels (n,) int8, scores (n,) float32, subjects (n,) str, origin (n,) str.
    """

    labels: np.ndarray
    scores: np.ndarray
    subjects: np.ndarray
    origin: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    history: one row an epoch. scored: side -> Scored. metrics: {val_bal_acc: ...} from the
    final model, each side's real cells once. costs: seconds and GiB. training_set: with the
    made cells.
    """

    classifier: Classifier
    training_set: TrainingSet
    history: History
    scored: dict[str, Scored]
    metrics: dict[str, float]
    costs: dict[str, float]


def run(experiment: Experiment, cells: Cells, report: Report) -> Outcome:
    """Balance, train and evaluate; test cells are looked at once, after training.

    cells: those of the experiment's index, in its order.

    Same cells, split, plan and machine: same outcome, bit for bit.

    Raises:
        UserError: the technique cannot balance these cells, or training diverges.
    """
    tf.config.experimental.enable_op_determinism()
    plan = experiment.plan
    sides = {side: cells.take(experiment.split.rows[side]) for side in SIDES}
    classifier = build(plan.spec, plan.seed)
    start = time.perf_counter()
    training_set = balanced(sides["train"], plan, report)
    balanced_at = time.perf_counter()
    job = Job(training_set, sides["validation"], plan.batch_size, plan.seed, report)
    history = fit(classifier, job, plan.schedule)
    trained_at = time.perf_counter()
    scored = {side: score(classifier.model, side_cells) for side, side_cells in sides.items()}
    costs = {
        "balance_s": balanced_at - start,
        "train_s": trained_at - balanced_at,
        "peak_gib": peak_gib(),
    }
    return Outcome(classifier, training_set, history, scored, final_metrics(scored), costs)


def balanced(train: Cells, plan: Plan, report: Report) -> TrainingSet:
    """What the technique makes of the training cells, held to its contract."""
    rng = np.random.default_rng(plan.seed)
    made = plan.technique.balance(train, plan.settings, rng, report)
    _hold_to_contract(train, made, plan.name)
    return made


def score(model: keras.Model, cells: Cells) -> Scored:
    """The probability of the positive class for each cell."""
    return Scored(cells.labels, scores(model, cells), cells.subjects, cells.origin)


def final_metrics(scored: dict[str, Scored]) -> dict[str, float]:
    """Every metric of every side, and the test's interval over subjects; finite ones only."""
    found = {
        f"{SHORT[side]}_{name}": value
        for side, cells in scored.items()
        for name, value in metrics(cells.labels, cells.scores).items()
    }
    test = scored["test"]
    low, high = balanced_accuracy_interval(test.labels, test.scores, test.subjects)
    found |= {"test_ba_low": low, "test_ba_high": high}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def peak_gib() -> float:
    """The largest resident memory of this process so far, GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def threads() -> int:
    """Threads that TensorFlow works with: part of what a result can depend on."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def _hold_to_contract(train: Cells, made: TrainingSet, name: str) -> None:
    before, after = train.counts(), made.cells.counts()
    kept = len(made.cells) - int(made.synthetic.sum())
    if min(after[0] - before[0], after[1] - before[1]) < 0 or kept != len(train):
        raise UserError(
            f"technique {name} took training cells away ({before} became {after}); it may only "
            f"add cells or weigh them: mend leukemia/techniques/{name}.py"
        )
    if made.cells.images.dtype != np.uint8 or len(made.synthetic) != len(made.cells):
        raise UserError(
            f"technique {name} handed back images of {made.cells.images.dtype} and "
            f"{len(made.synthetic)} flags for {len(made.cells)} cells; expected uint8 and one "
            f"flag a cell: mend leukemia/techniques/{name}.py"
        )
