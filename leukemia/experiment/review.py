"""The review of synthetic cells: one for whatever makes them, and no technique's own."""

from dataclasses import replace

import numpy as np

from leukemia.cells import Cells, Mask
from leukemia.contract import TechniqueContext, TrainingSet
from leukemia.experiment.config import Experiment
from leukemia.synthetic.review import Kind, review


def reviewed(
    experiment: Experiment, cells: Cells, made: TrainingSet, given: TechniqueContext
) -> TrainingSet:
    """The technique's training set with figures, notes and files about its synthetic cells.

    They are measured against validation cells of their class, whom no technique has seen, and
    against the training cells. Copies are dropped where the technique asks for that. A training
    set without synthetic cells comes back as it is.

    cells: those of the experiment's index, in its order. given: what the technique was given.
    """
    if not made.synthetic.any():
        return made
    assert given.features, "synthetic cells are measured in features"
    label = made.cells.labels[made.synthetic][0]
    train = cells.take(experiment.shown)
    of_class = made.synthetic & (made.cells.labels == label)
    found = review(
        Kind(images=made.cells.take(of_class).images, subjects=_comes_from(made, of_class, train)),
        _of_label(train, label),
        None if experiment.split.balances_first else _unseen(experiment, cells, label),
        given.features, given.network, made.most_copies, given.about, experiment.config.seed,
    )  # fmt: skip
    kept = np.ones(len(made.cells), bool)
    if made.most_copies is not None:
        kept[np.flatnonzero(of_class)[found.copies]] = False
    return replace(
        _kept(made, kept),
        metrics={**made.metrics, **found.metrics},
        notes={**made.notes, "review": found.text, "review_features": given.network},
        files={**made.files, **found.files},
        copied=found.refusal,
    )


def _comes_from(made: TrainingSet, which: Mask, train: Cells) -> np.ndarray | None:
    """(m, k) str: the subjects whose cells each synthetic cell was made of; None where all were
    learned from all cells, so that none is nearer to some subject than the others."""
    if made.parents is None:
        return None
    parents = made.parents[which[made.synthetic]]
    known = np.where(parents < 0, parents[:, :1], parents)  # fewer parents than others have
    return train.subjects[known]


def _of_label(cells: Cells, label: int) -> Kind:
    chosen = cells.take(cells.labels == label)
    return Kind(images=chosen.images, subjects=chosen.subjects)


def _unseen(experiment: Experiment, cells: Cells, label: int) -> Kind | None:
    """The validation cells of a class, where there are two to measure against."""
    unseen = _of_label(cells.take(experiment.split.rows["validation"]), label)
    return unseen if len(unseen.images) > 1 else None


def _kept(made: TrainingSet, kept: Mask) -> TrainingSet:
    """The training set without some of its synthetic cells."""
    if kept.all():
        return made
    parents = None if made.parents is None else made.parents[kept[made.synthetic]]
    return replace(made.part(kept), parents=parents)
