"""The technique's turn: what it is given, what it hands back, and whether that keeps its word."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from leukemia import RESEARCH_ONLY
from leukemia.cells import Cells, Indices, Labels, Names
from leukemia.contract import TechniqueContext, TrainingSet
from leukemia.errors import UserError
from leukemia.experiment.config import Experiment
from leukemia.model.classifier import Classifier
from leukemia.model.features import Features
from leukemia.report import Report, nothing
from leukemia.splits.audit import Audit, examine
from leukemia.splits.leaks import SyntheticCells
from leukemia.splits.protocol import SPLITS, splits_of_synthetic
from leukemia.synthetic.fixed_features import NAME, fixed_features

NOWHERE = "left out"  # the split of a cell that is in none


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """A technique's training set by split; only under the protocol that balances before it splits
    does `held_out` hold anything but real cells.

    training: the cells to train on. held_out: split -> real and synthetic cells as pooled.
    audit: the findings before training.
    """

    training: TrainingSet
    held_out: dict[str, Cells]
    audit: Audit


def context(
    experiment: Experiment,
    classifier: Classifier,
    features: Features,
    report: Report,
    folder: Path | None,
    saved: Callable[[], None] = nothing,
) -> TechniqueContext:
    """What the technique may use; `features` are those that the classifier starts from. A network
    from scratch has learned nothing, so that nothing is measured in it."""
    config = experiment.config
    network = f"{config.model.backbone}, weights {classifier.weights}"
    return TechniqueContext(
        rng=np.random.default_rng(config.seed),
        report=report,
        schedule=config.schedule,
        pretrained=classifier.pretrained,
        features=features if classifier.pretrained else fixed_features,
        network=network if classifier.pretrained else NAME,
        about=f"{config.title}. {experiment.protocol_line()} {RESEARCH_ONLY}",
        folder=folder,
        saved=saved,
    )


def balance(experiment: Experiment, cells: Cells, given: TechniqueContext) -> TrainingSet:
    """Let the technique work on the cells that its protocol shows it.

    Raises:
        UserError: the technique cannot balance these cells, or breaks its contract.
    """
    config, train = experiment.config, cells.take(experiment.shown)
    made: TrainingSet = config.technique.balance(train, config.settings, given)
    hold_to_contract(train, made, config.name)
    return made


def placed(experiment: Experiment, cells: Cells, made: TrainingSet) -> Balanced:
    """Put the synthetic cells into their splits, and audit the result."""
    split, config, shown = experiment.split, experiment.config, experiment.shown
    of_real = np.full(len(cells), NOWHERE, dtype="<U10")
    for name in SPLITS:
        of_real[split.rows[name]] = name
    of_synthetic = splits_of_synthetic(int(made.synthetic.sum()), split, config.split_seed)
    audit = examine(
        experiment.index.frame,
        experiment.subjects,
        of_real,
        experiment.pairs,
        _origins(cells.labels[shown], made, shown, of_synthetic),
        split.name,
    )
    of_all = np.concatenate([of_real[np.delete(shown, made.left_out)], of_synthetic])
    return Balanced(
        training=made.part(of_all == "train"),
        held_out={
            name: made.cells.take(of_all == name)
            if name in split.shown
            else cells.take(split.rows[name])
            for name in SPLITS[1:]
        },
        audit=audit,
    )


def hold_to_contract(train: Cells, made: TrainingSet, technique: str) -> None:
    """Refuse a training set that a technique may not hand back.

    Raises:
        UserError: training cells are gone that `left_out` does not name, or were changed or moved;
            a class is empty; images, flags or weights have another shape or type.
    """
    mend = f"mend leukemia/techniques/{technique}.py"
    kept = np.delete(train.cell_id, made.left_out)
    real = made.cells.cell_id[~made.synthetic]
    if made.synthetic[: len(kept)].any() or not np.array_equal(real, kept):
        raise UserError(
            f"technique {technique} handed back {len(real)} real cells where {len(train)} came "
            f"and {len(made.left_out)} are named as left out; cells come back in their order, "
            f"synthetic ones after them (leukemia.contract.without leaves cells out): {mend}"
        )
    if min(made.cells.counts()) == 0:
        raise UserError(f"technique {technique} left a class without a training cell: {mend}")
    if made.cells.images.dtype != np.uint8 or len(made.synthetic) != len(made.cells):
        raise UserError(
            f"technique {technique} handed back images of {made.cells.images.dtype} and "
            f"{len(made.synthetic)} flags for {len(made.cells)} cells; expected uint8 and one "
            f"flag a cell: {mend}"
        )
    stages = made.stages or ()
    for weights in (
        made.loss_weights, made.draw_weights,
        *(stage.loss_weights for stage in stages), *(stage.draw_weights for stage in stages),
    ):  # fmt: skip
        if weights is not None and len(weights) != len(made.cells):
            raise UserError(
                f"technique {technique} handed back {len(weights)} weights for "
                f"{len(made.cells)} cells; expected one a cell: {mend}"
            )


def threads() -> int:
    """Threads that TensorFlow works with: part of what a result can depend on."""
    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def _origins(
    labels: Labels, made: TrainingSet, shown: Indices, of_synthetic: Names
) -> SyntheticCells | None:
    """The splits of synthetic cells and the rows of the index that they come from; None if there
    are none. `shown`: the rows of the index that the technique saw; labels: theirs."""
    if not len(of_synthetic):
        return None
    if made.parents is not None:
        parents = np.where(made.parents < 0, -1, shown[made.parents])
        return SyntheticCells(splits=of_synthetic, parents=parents, copied=made.copied)
    label = made.cells.labels[made.synthetic][0]
    return SyntheticCells(
        splits=of_synthetic,
        parents=None,
        learned_from=shown[labels == label],
        copied=made.copied,
    )
