"""Every picture of a run, by the name under which it is kept."""

import numpy as np

from leukemia import RESEARCH_ONLY
from leukemia.cells import POSITIVE, Cells
from leukemia.evaluation import plots
from leukemia.evaluation.by_subject import by_subject, worst
from leukemia.evaluation.calibration import reliability, rescale
from leukemia.evaluation.evaluate import SHORT
from leukemia.evaluation.metrics import METRICS, confusion
from leukemia.evaluation.predictions import Predictions
from leukemia.experiment import class_plots
from leukemia.experiment.config import Experiment
from leukemia.experiment.run import Outcome
from leukemia.model import grad_cam

CURVES = {"loss": ["loss"], "accuracy": ["acc"], "all_metrics": list(METRICS)}
SHOWN = 32  # cells on each half of the picture of made cells


def draw(experiment: Experiment, outcome: Outcome, cells: Cells) -> dict[str, np.ndarray]:
    """Name -> uint8 (H, W, 3): confusion by split, curves, ROC and PR, calibration, errors by
    subject, where the network looks, cells of each class, made cells.

    cells: those of the experiment's index, in its order.
    """
    config, index, test = experiment.config, experiment.index, outcome.predictions["test"]
    stamp = f"{config.title}. {experiment.protocol_line()} {RESEARCH_ONLY}"
    pictures = _confusions(experiment, outcome, stamp)
    for name, shown in CURVES.items():
        title = f"{config.name}: {name.replace('_', ' ')} by epoch"
        pictures[f"curve_{name}"] = plots.curves_figure(outcome.history, shown, title, stamp)
    title = f"{config.name}: test cells"
    pictures["roc_pr"] = plots.roc_pr_figure(test.labels, test.scores, index.positive, title, stamp)
    pictures["reliability"] = _reliability(experiment, outcome, title, stamp)
    pictures["subjects"] = plots.subjects_figure(
        worst(by_subject(test), len(test)), index.positive, index.negative,
        f"{config.name}: errors by test subject", stamp,
    )  # fmt: skip
    pictures["gradcam"] = _gradcam(experiment, outcome, cells, stamp)
    pictures |= _classes(experiment, outcome, cells, stamp)
    if outcome.training_set.synthetic.any():
        pictures["synthetic_cells"] = _made(experiment, outcome, stamp)
    return pictures


def surest_errors(test: Predictions) -> np.ndarray:
    """(m,) int: the rows of the cells that were called wrongly, the surest of them first."""
    wrong = np.flatnonzero(~test.right)
    return wrong[np.argsort(-np.abs(test.scores[wrong] - test.threshold), kind="stable")]


def _reliability(experiment: Experiment, outcome: Outcome, title: str, stamp: str) -> np.ndarray:
    test, temperature = outcome.predictions["test"], outcome.evaluation.temperature.value
    return plots.reliability_figure(
        reliability(test.labels, test.scores),
        reliability(test.labels, rescale(test.scores, temperature)),
        temperature,
        experiment.index.positive,
        title,
        stamp,
    )


def _gradcam(experiment: Experiment, outcome: Outcome, cells: Cells, stamp: str) -> np.ndarray:
    test, model = outcome.predictions["test"], outcome.classifier.model
    chosen = grad_cam.choose(test)
    shown = cells.take(experiment.split.rows["test"][chosen])
    return plots.gradcam_figure(
        shown,
        test.scores[chosen],
        grad_cam.grad_cam(model, shown.images, test.threshold),
        grad_cam.resolution(model),
        (experiment.index.positive, experiment.index.negative),
        f"{experiment.config.name}: test cells, the surest errors first",
        stamp,
        test.threshold,
    )


def _confusions(experiment: Experiment, outcome: Outcome, stamp: str) -> dict[str, np.ndarray]:
    pictures = {}
    for split, cells in outcome.predictions.items():
        size = f"{len(cells.labels)} real cells of {len(set(cells.subjects))} subjects"
        pictures[f"confusion_{SHORT[split]}"] = plots.confusion_figure(
            confusion(cells.labels, cells.scores, cells.threshold),
            experiment.index.positive,
            experiment.index.negative,
            f"{experiment.config.name}: {split}, {size}",
            stamp,
        )
    return pictures


def _classes(
    experiment: Experiment, outcome: Outcome, cells: Cells, stamp: str
) -> dict[str, np.ndarray]:
    """The class distribution, and raw and kept examples of each class."""
    name, geometry = experiment.config.name, experiment.config.geometry
    counts = class_plots.class_counts(experiment, outcome.training_set)
    chosen = class_plots.examples(experiment, cells)
    return {
        "class_distribution": class_plots.counts_figure(counts, f"{name}: cells by class", stamp),
        "raw_and_cropped": class_plots.examples_figure(chosen, geometry, "training cells", stamp),
    }


def _made(experiment: Experiment, outcome: Outcome, stamp: str) -> np.ndarray:
    made = outcome.training_set
    label = made.cells.labels[made.synthetic][0]
    real = ~made.synthetic & (made.cells.labels == label)
    name = experiment.index.positive if label == POSITIVE else experiment.index.negative
    return plots.real_and_made_figure(
        _first(made.cells, real),
        _first(made.cells, made.synthetic),
        experiment.config.name,
        name,
        stamp,
    )


def _first(cells: Cells, which: np.ndarray) -> np.ndarray:
    return cells.images[np.flatnonzero(which)[:SHOWN]]
