"""One experiment: cells -> technique -> audit -> classifier -> evaluation -> Outcome."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from leukemia import RESEARCH_ONLY, energy
from leukemia.audit import Audit, MadeCells, examine
from leukemia.cells import Cells, TrainingSet
from leukemia.classifier import Classifier, build
from leukemia.errors import UserError
from leukemia.evaluation.reading import Reading, read
from leukemia.evaluation.scored import Scored
from leukemia.features import Features
from leukemia.inference import measuring
from leukemia.memory import peak_gib
from leukemia.plan import Experiment, Plan
from leukemia.protocol import SIDES, sides_of_made
from leukemia.report import Report
from leukemia.techniques import Workshop
from leukemia.thesis.counting import as_the_thesis_counts
from leukemia.training import History, Job, fit


@dataclass(frozen=True)
class Balanced:
    """What a technique made, by side: only under the protocol that balances first does
    anything but training cells lie in `held_out`.

    training: the cells to train on. held_out: side -> (made cells and real ones) as pooled.
    audit: what was found before training.
    """

    training: TrainingSet
    held_out: dict[str, Cells]
    audit: Audit


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    training_set: with the made cells. audit: what was found before training. history: one
    row an epoch. scored: side -> its real cells, from the final model, each once. reading: what
    they are worth. thesis: the thesis' way of counting, where its protocol was asked for.
    costs: seconds, GiB and, where the machine counts them, watt-hours.
    """

    classifier: Classifier
    training_set: TrainingSet
    audit: Audit
    history: History
    scored: dict[str, Scored]
    reading: Reading
    thesis: dict[str, float]
    costs: dict[str, float]


def run(
    experiment: Experiment,
    cells: Cells,
    report: Report,
    folder: Path | None = None,
    cache: Path | None = None,
) -> Outcome:
    """Balance, audit, train and evaluate; test cells are looked at once, after training.

    cells: those of the experiment's index, in its order. folder: where a technique may leave
    unfinished work, so that the same experiment goes on with it. cache: where features of cells
    are kept for all experiments that start from the same network.

    Same cells, split, plan and machine: same outcome, bit for bit.

    Raises:
        UserError: the technique cannot balance these cells, or training diverges.
    """
    tf.config.experimental.enable_op_determinism()
    plan, rows = experiment.plan, experiment.split.rows
    classifier = build(plan.spec, plan.seed)
    clock = Clock()
    features = features_of(experiment, cells, classifier, report, cache)
    clock.note("features")
    balanced = balance(
        experiment, cells, workshop(experiment, cells, classifier, features, report, folder)
    )
    clock.note("balance")
    validation = cells.take(rows["validation"])
    final = Final(classifier, validation)
    job = Job(
        balanced.training, validation, plan.batch_size, plan.seed, report, features, final.scores
    )
    history = fit(classifier, job, plan.schedule)
    clock.note("train")
    scored = {
        side: final.validation
        if side == "validation"
        else score(final.judge, cells.take(rows[side]))
        for side in SIDES
    }
    return Outcome(
        classifier,
        balanced.training,
        balanced.audit,
        history,
        scored,
        read(scored, history, plan.sensitivity),
        thesis_figures(experiment, final.judge, balanced),
        clock.costs | {"peak_gib": peak_gib()},
    )


def only_balanced(
    experiment: Experiment,
    cells: Cells,
    report: Report,
    folder: Path | None = None,
    cache: Path | None = None,
) -> TrainingSet:
    """What the technique makes of the training cells, without a classifier; as `run`."""
    tf.config.experimental.enable_op_determinism()
    classifier = build(experiment.plan.spec, experiment.plan.seed)
    features = features_of(experiment, cells, classifier, report, cache)
    given = workshop(experiment, cells, classifier, features, report, folder)
    return balance(experiment, cells, given).training


def features_of(
    experiment: Experiment,
    cells: Cells,
    classifier: Classifier,
    report: Report,
    cache: Path | None,
) -> Features:
    """What the network below the head makes of images; that of the training and validation cells
    is kept, since every technique needs it."""
    features = Features(classifier, threads(), cache)
    for side in SIDES[:2]:
        features.keep(
            cells.take(experiment.split.rows[side]).images,
            lambda done: report(1, {"epoch_done": done}),
        )
    return features


def workshop(
    experiment: Experiment,
    cells: Cells,
    classifier: Classifier,
    features: Features,
    report: Report,
    folder: Path | None,
) -> Workshop:
    """What the technique has at hand: features are those that the classifier starts from."""
    plan, split = experiment.plan, experiment.split
    return Workshop(
        np.random.default_rng(plan.seed),
        report,
        None if split.balances_first else cells.take(split.rows["validation"]),
        features,
        f"{plan.spec.backbone}, weights {classifier.weights}",
        f"{plan.title}. {experiment.protocol_line()} {RESEARCH_ONLY}",
        folder,
    )


def balance(experiment: Experiment, cells: Cells, given: Workshop) -> Balanced:
    """What the technique makes of the cells that its protocol shows it, parted into sides."""
    split, plan = experiment.split, experiment.plan
    shown = split.rows["train"]
    if split.balances_first:
        shown = np.sort(np.concatenate([split.rows[side] for side in SIDES]))
    made = balanced(cells.take(shown), plan, given)
    real = np.full(len(cells), "left out", dtype="<U10")
    for side in SIDES:
        real[split.rows[side]] = side
    synthetic = sides_of_made(int(made.synthetic.sum()), split, plan.seed)
    found = examine(
        experiment.index.frame,
        experiment.subjects,
        real,
        experiment.pairs,
        _origins(made, shown, synthetic),
        split.name,
    )
    sides = np.concatenate([real[shown], synthetic])
    held_out = {which: made.cells.take(sides == which) for which in SIDES[1:]}
    return Balanced(made.part(sides == "train"), held_out, found)


def balanced(train: Cells, plan: Plan, given: Workshop) -> TrainingSet:
    """What the technique makes of the training cells, held to its contract."""
    made = plan.technique.balance(train, plan.settings, given)
    _hold_to_contract(train, made, plan.name)
    return made


def score(judge: Callable[[np.ndarray], np.ndarray], cells: Cells) -> Scored:
    """The probability of the positive class for each cell."""
    return Scored(cells.labels, judge(cells.images), cells.subjects, cells.origin)


def thesis_figures(
    experiment: Experiment, judge: Callable[[np.ndarray], np.ndarray], balanced: Balanced
) -> dict[str, float]:
    """The thesis' own way of counting, under its protocol; else nothing."""
    if not experiment.split.balances_first:
        return {}
    pooled = {"train": balanced.training.cells, **balanced.held_out}
    return as_the_thesis_counts({side: score(judge, cells) for side, cells in pooled.items()})


class Final:
    """What the trained classifier says; not to be asked before it is trained."""

    def __init__(self, classifier: Classifier, cells: Cells):
        """cells: those for validation, which the last epoch and the outcome both look at."""
        self._classifier, self._cells = classifier, cells

    @cached_property
    def judge(self) -> Callable[[np.ndarray], np.ndarray]:
        """Images to probabilities, as the figures of a run are measured."""
        return measuring(self._classifier.model, threads())

    @cached_property
    def validation(self) -> Scored:
        """The validation cells, looked at once."""
        return score(self.judge, self._cells)

    def scores(self) -> np.ndarray:
        """Their probabilities."""
        return self.validation.scores


class Clock:
    """Seconds and, where the machine counts them, watt-hours of each step."""

    def __init__(self) -> None:
        self.costs: dict[str, float] = {}
        self._then = time.perf_counter(), energy.read()

    def note(self, step: str) -> None:
        """What was spent since the last note belongs to `step`."""
        now = time.perf_counter(), energy.read()
        self.costs[f"{step}_s"] = now[0] - self._then[0]
        self.costs[f"{step}_wh"] = energy.watt_hours(self._then[1], now[1])
        self._then = now


def threads() -> int:
    """Threads that TensorFlow works with: part of what a result can depend on."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def _origins(made: TrainingSet, shown: np.ndarray, sides: np.ndarray) -> MadeCells | None:
    """Where made cells lie and which rows of the index they come from; None if none were made."""
    if not len(sides):
        return None
    if made.parents is not None:
        return MadeCells(sides, np.where(made.parents < 0, -1, shown[made.parents]))
    label = made.cells.labels[made.synthetic][0]
    learned_from = shown[made.cells.labels[: len(shown)] == label]
    return MadeCells(sides, None, learned_from, made.copied)


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
