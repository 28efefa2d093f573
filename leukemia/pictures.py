"""Every picture of a run, by the name under which it is kept."""

import numpy as np

from leukemia import RESEARCH_ONLY, explain
from leukemia.cells import POSITIVE, Cells
from leukemia.evaluation import figures
from leukemia.evaluation.by_subject import by_subject, worst
from leukemia.evaluation.calibration import reliability, rescale
from leukemia.evaluation.metrics import NAMES, THRESHOLD, confusion
from leukemia.evaluation.reading import SHORT
from leukemia.evaluation.scored import Scored
from leukemia.experiment import Outcome
from leukemia.plan import Experiment

CURVES = {"loss": ["loss"], "accuracy": ["acc"], "all_metrics": list(NAMES)}
SHOWN = 32  # cells on each half of the picture of made cells


def draw(experiment: Experiment, outcome: Outcome, cells: Cells) -> dict[str, np.ndarray]:
    """Name -> uint8 (H, W, 3): confusion by side, curves, ROC and PR, calibration, errors by
    subject, where the network looks, made cells.

    cells: those of the experiment's index, in its order.
    """
    plan, index, test = experiment.plan, experiment.index, outcome.scored["test"]
    stamp = f"{plan.title}. {experiment.protocol_line()} {RESEARCH_ONLY}"
    pictures = _confusions(experiment, outcome, stamp)
    for name, shown in CURVES.items():
        title = f"{plan.name}: {name.replace('_', ' ')} by epoch"
        pictures[f"curve_{name}"] = figures.curves_figure(outcome.history, shown, title, stamp)
    title = f"{plan.name}: test cells"
    pictures["roc_pr"] = figures.roc_pr_figure(
        test.labels, test.scores, index.positive, title, stamp
    )
    pictures["reliability"] = _reliability(experiment, outcome, title, stamp)
    pictures["subjects"] = figures.subjects_figure(
        worst(by_subject(test), len(test)), index.positive, index.negative,
        f"{plan.name}: errors by test subject", stamp,
    )  # fmt: skip
    pictures["gradcam"] = _gradcam(experiment, outcome, cells, stamp)
    if outcome.training_set.synthetic.any():
        pictures["made_cells"] = _made(experiment, outcome, stamp)
    return pictures


def surest_errors(test: Scored) -> np.ndarray:
    """(m,) int: the rows of the cells that were called wrongly, the surest of them first."""
    wrong = np.flatnonzero((test.scores >= THRESHOLD) != (test.labels == 1))
    return wrong[np.argsort(-np.abs(test.scores[wrong] - THRESHOLD), kind="stable")]


def _reliability(experiment: Experiment, outcome: Outcome, title: str, stamp: str) -> np.ndarray:
    test, temperature = outcome.scored["test"], outcome.reading.temperature.value
    return figures.reliability_figure(
        reliability(test.labels, test.scores),
        reliability(test.labels, rescale(test.scores, temperature)),
        temperature,
        experiment.index.positive,
        title,
        stamp,
    )


def _gradcam(experiment: Experiment, outcome: Outcome, cells: Cells, stamp: str) -> np.ndarray:
    test, model = outcome.scored["test"], outcome.classifier.model
    chosen = explain.choose(test)
    shown = cells.take(experiment.split.rows["test"][chosen])
    return figures.gradcam_figure(
        shown,
        test.scores[chosen],
        explain.heat(model, shown.images),
        explain.resolution(model),
        (experiment.index.positive, experiment.index.negative),
        f"{experiment.plan.name}: test cells, the surest errors first",
        stamp,
    )


def _confusions(experiment: Experiment, outcome: Outcome, stamp: str) -> dict[str, np.ndarray]:
    pictures = {}
    for side, cells in outcome.scored.items():
        size = f"{len(cells.labels)} real cells of {len(set(cells.subjects))} subjects"
        pictures[f"confusion_{SHORT[side]}"] = figures.confusion_figure(
            confusion(cells.labels, cells.scores),
            experiment.index.positive,
            experiment.index.negative,
            f"{experiment.plan.name}: {side}, {size}",
            stamp,
        )
    return pictures


def _made(experiment: Experiment, outcome: Outcome, stamp: str) -> np.ndarray:
    made = outcome.training_set
    label = made.cells.labels[made.synthetic][0]
    real = ~made.synthetic & (made.cells.labels == label)
    name = experiment.index.positive if label == POSITIVE else experiment.index.negative
    return figures.real_and_made_figure(
        _first(made.cells, real),
        _first(made.cells, made.synthetic),
        experiment.plan.name,
        name,
        stamp,
    )


def _first(cells: Cells, which: np.ndarray) -> np.ndarray:
    return cells.images[np.flatnonzero(which)[:SHOWN]]
