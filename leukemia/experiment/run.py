"""One experiment: cells -> technique -> review -> audit -> classifier -> evaluation -> Outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path

import numpy as np
import tensorflow as tf

from leukemia.cells import Cells, Scores
from leukemia.contract import TrainingSet
from leukemia.errors import UserError
from leukemia.evaluation.doubled_counts import as_the_thesis_counts
from leukemia.evaluation.evaluate import Evaluation, evaluate
from leukemia.evaluation.predictions import THRESHOLD, Predictions, refuse_diverged
from leukemia.experiment.balance import Balanced, balance, context, placed, threads
from leukemia.experiment.clock import Clock
from leukemia.experiment.config import Experiment
from leukemia.experiment.review import reviewed
from leukemia.model.classifier import Classifier, build
from leukemia.model.features import Features
from leukemia.model.inference import Predictor, measuring
from leukemia.model.rows import effective_prior
from leukemia.model.training import FitInputs, History, fit
from leukemia.report import Report, nothing, silent
from leukemia.splits.audit import Audit
from leukemia.splits.protocol import SPLITS

CLASSIFIER = "classifier"  # the folder of its unfinished training


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment gives.

    training_set: with the synthetic cells. audit: its findings before training. history: one row
    an epoch. predictions: split -> its real cells, by the final model, each once. evaluation: of
    these. thesis: the thesis' way of counting, where its protocol was asked for.
    costs: seconds, GiB and, where the machine counts them, watt-hours.
    """

    classifier: Classifier
    training_set: TrainingSet
    audit: Audit
    history: History
    predictions: dict[str, Predictions]
    evaluation: Evaluation
    thesis: dict[str, float]
    costs: dict[str, float]


def run(
    experiment: Experiment,
    cells: Cells,
    report: Report = silent,
    folder: Path | None = None,
    cache: Path | None = None,
) -> Outcome:
    """Balance, review, audit, train and evaluate; test cells are looked at once, after training.

    The same cells, split and config on the same machine give the same outcome, bit for bit.

    Args:
        cells: those of the experiment's index, in its order.
        folder: where technique and classifier leave unfinished work, so that the same experiment
            goes on with it, to the same outcome; its costs add up.
        cache: where features of cells are kept for all experiments that start from the same
            network.

    Raises:
        UserError: the technique cannot balance these cells, loss or scores are no longer finite,
            the threshold that the technique decides on is not, or unfinished work can be neither
            read nor kept.
    """
    tf.config.experimental.enable_op_determinism()
    config, rows = experiment.config, experiment.split.rows
    clock = Clock(folder)
    with clock.step("features"):
        classifier = build(config.model, config.seed)
        features = features_of(experiment, cells, classifier, report, cache, clock.keep)
    given = context(experiment, classifier, features, report, folder, clock.keep)
    with clock.step("balance"):
        made = balance(experiment, cells, given)
    with clock.step("review"):
        balanced = placed(experiment, cells, reviewed(experiment, cells, made, given))
    answers = Answers(classifier, {s: cells.take(rows[s]) for s in SPLITS}, config.arm)
    training = balanced.training
    stages = training.stages or given.stages()
    with clock.step("train"):
        history = fit(
            classifier,
            FitInputs(
                training=training, validation=answers.cells["validation"],
                stages=stages, batch_size=config.batch_size,
                seed=config.seed, report=report, threads=threads(), features=features,
                final=lambda: answers.scores("validation"), title=config.arm,
                folder=folder and folder / CLASSIFIER, saved=clock.keep,
            ),
        )  # fmt: skip
    predictions = answers.predictions(training)
    return Outcome(
        classifier=classifier,
        training_set=training,
        audit=balanced.audit,
        history=history,
        predictions=predictions,
        evaluation=evaluate(
            predictions, history, config.sensitivity, effective_prior(training, stages)
        ),
        thesis=_thesis_metrics(
            experiment, answers.predictor(), balanced, predictions["test"].threshold
        ),
        costs=clock.costs,
    )


def only_balanced(
    experiment: Experiment,
    cells: Cells,
    report: Report,
    folder: Path | None = None,
    cache: Path | None = None,
) -> TrainingSet:
    """The training set that the technique makes, reviewed, without training a classifier; as
    `run`."""
    tf.config.experimental.enable_op_determinism()
    classifier = build(experiment.config.model, experiment.config.seed)
    features = features_of(experiment, cells, classifier, report, cache)
    given = context(experiment, classifier, features, report, folder)
    made = reviewed(experiment, cells, balance(experiment, cells, given), given)
    return placed(experiment, cells, made).training


def features_of(
    experiment: Experiment,
    cells: Cells,
    classifier: Classifier,
    report: Report,
    cache: Path | None,
    saved: Callable[[], None] = nothing,
) -> Features:
    """Features of the classifier's backbone as it was built; those of training and validation
    cells are kept in `cache`, since every technique needs them. saved: called as they are kept."""
    features = Features(classifier, threads(), cache)

    def kept(done: float) -> None:
        saved()
        report(1, {"epoch_done": done})

    for split in SPLITS[:2]:
        features.keep(cells.take(experiment.split.rows[split]).images, kept)
    return features


class Answers:
    """The trained classifier's scores of each split, computed once; not before it is trained."""

    def __init__(self, classifier: Classifier, cells: dict[str, Cells], title: str = "the model"):
        self.cells, self._title = cells, title
        self.predictor = remembered(lambda: measuring(classifier.model, threads()))
        self.scores = remembered(self._scores)

    def _scores(self, split: str) -> Scores:
        scores: Scores = self.predictor()(self.cells[split].images)
        refuse_diverged(scores, f"{self._title}'s {split} cells")
        return scores

    def predictions(self, training: TrainingSet) -> dict[str, Predictions]:
        """Split -> its cells with scores and the threshold that the technique decides on.

        Raises:
            UserError: that threshold is not finite.
        """
        validation = self.cells["validation"]
        threshold = THRESHOLD
        if training.decide:
            threshold = float(training.decide(validation.labels, self.scores("validation")))
        if not np.isfinite(threshold):
            raise UserError(
                f"the technique's decide gave a threshold of {threshold}; expected a finite "
                f"score: mend the technique"
            )
        return {
            split: _predictions(cells, self.scores(split), threshold)
            for split, cells in self.cells.items()
        }


def _predictions(cells: Cells, scores: Scores, threshold: float) -> Predictions:
    return Predictions(
        labels=cells.labels,
        scores=scores,
        subjects=cells.subjects,
        cell_id=cells.cell_id,
        threshold=threshold,
    )


def _thesis_metrics(
    experiment: Experiment, predictor: Predictor, balanced: Balanced, threshold: float
) -> dict[str, float]:
    """The thesis' own way of counting, under its protocol; else nothing."""
    if not experiment.split.balances_first:
        return {}
    pooled = {"train": balanced.training.cells, **balanced.held_out}
    return as_the_thesis_counts(
        {
            split: _predictions(cells, predictor(cells.images), threshold)
            for split, cells in pooled.items()
        }
    )
