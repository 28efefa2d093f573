"""Every picture of a run, by the name under which it is kept."""

import numpy as np

from leukemia import RESEARCH_ONLY
from leukemia.cells import POSITIVE, Cells
from leukemia.evaluation import figures
from leukemia.evaluation.metrics import NAMES, confusion
from leukemia.experiment import SHORT, Experiment, Outcome

CURVES = {"loss": ["loss"], "accuracy": ["acc"], "all_metrics": list(NAMES)}
SHOWN = 32  # cells on each half of the picture of made cells


def draw(experiment: Experiment, outcome: Outcome) -> dict[str, np.ndarray]:
    """Name -> uint8 (H, W, 3): confusion by side, curves, ROC and PR, made cells."""
    plan, index = experiment.plan, experiment.index
    stamp = f"{plan.arm}, seed {plan.seed}. {experiment.protocol_line()} {RESEARCH_ONLY}"
    pictures = _confusions(experiment, outcome, stamp)
    for name, shown in CURVES.items():
        title = f"{plan.name}: {name.replace('_', ' ')} by epoch"
        pictures[f"curve_{name}"] = figures.curves_figure(outcome.history, shown, title, stamp)
    test = outcome.scored["test"]
    pictures["roc_pr"] = figures.roc_pr_figure(
        test.labels, test.scores, index.positive, f"{plan.name}: test cells", stamp
    )
    if outcome.training_set.synthetic.any():
        pictures["made_cells"] = _made(experiment, outcome, stamp)
    return pictures


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
