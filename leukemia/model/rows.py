"""What a stage of training draws its batches from, in an order that seed and epoch decide."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from leukemia.cells import Indices
from leukemia.contract import Batch, BatchChange, Stage, TrainingSet
from leukemia.errors import UserError
from leukemia.images import Pixels
from leukemia.model.inference import Inputs

Extractor = Callable[[Pixels], NDArray[np.float32]]  # (b, S, S, 3) uint8 -> (b, d) float32


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What one stage draws its batches from.

    inputs: (n, S, S, 3) uint8 images, or (n, d) float32 features. labels, weights: (n,) float32.
    draw_weights, epoch_size: as in TrainingSet. change: of each batch of images.
    extract: turns the images of a batch into features, `width` of each; None: the model takes
    `inputs` as they are.
    """

    inputs: Inputs
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    draw_weights: NDArray[np.float64] | None = None
    epoch_size: int | None = None
    change: BatchChange | None = None
    extract: Extractor | None = None
    width: int = 0

    @property
    def counts(self) -> NDArray[np.float32]:
        """(2,) float32: rows of the negative and of the positive class."""
        return np.bincount(self.labels.astype(int), minlength=2).astype(np.float32)

    @property
    def positive_share(self) -> float:
        """The share of positive rows in an epoch, each as often as it is drawn and as heavy as it
        counts in the loss."""
        seen = self.weights.astype(np.float64)
        if self.draw_weights is not None:
            seen = seen * self.draw_weights
        return float(np.average(self.labels, weights=seen))


def rows_of(training: TrainingSet, stage: Stage | None = None) -> Rows:
    """The training cells as rows of images, with the weights that a stage gives them."""
    count = len(training.cells)
    rows = Rows(
        inputs=training.cells.images,
        labels=training.cells.labels.astype(np.float32),
        weights=np.ones(count, np.float32),
        epoch_size=training.epoch_size,
        change=training.change,
    )
    return weighed(rows, training, stage)


def effective_prior(training: TrainingSet, stages: Sequence[Stage]) -> float:
    """The share of positive cells that the last stage of training saw, by draw and weight.

    It is what the network's probabilities rest on, whatever the earlier stages saw. NaN where it is
    not known: under a loss of the technique's own, or where batches are changed or features
    sampled while it trains.
    """
    last = [stage for stage in stages if stage.epochs][-1]
    samples = training.feature_sampler is not None and last.trains == "head"
    if training.loss or last.loss or training.change or samples:
        return float("nan")
    return rows_of(training, last).positive_share


def order_of_epoch(rows: Rows, seed: int, epoch: int) -> Indices:
    """(m,) int: the rows of an epoch in order, a pure function of seed and epoch."""
    rng = np.random.default_rng([seed, epoch])
    count = len(rows.labels)
    size = rows.epoch_size or count
    if rows.draw_weights is not None:
        return rng.choice(count, size, p=rows.draw_weights)
    turns = -(-size // count)
    return np.concatenate([rng.permutation(count) for _ in range(turns)])[:size]


def batches(
    rows: Rows, order: Indices, batch_size: int, key: tuple[int, int] = (0, 0)
) -> tf.data.Dataset:
    """(inputs, (b, 1) float32 labels, (b,) float32 loss weights) in the given order of rows.

    key: seed and epoch, from which each batch's own generator is made.
    """

    def drawn() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Batch by batch, changed where the technique changes batches."""
        for step, start in enumerate(range(0, len(order), batch_size)):
            chosen = order[start : start + batch_size]
            batch = Batch(
                images=rows.inputs[chosen],
                labels=rows.labels[chosen],
                weights=rows.weights[chosen],
            )
            if rows.change:
                batch = _changed(batch, rows.change, np.random.default_rng([*key, step]))
            inputs = rows.extract(batch.images) if rows.extract else batch.images
            yield inputs, batch.labels[:, None], batch.weights

    shape, dtype = rows.inputs.shape[1:], rows.inputs.dtype
    if rows.extract:
        shape, dtype = (rows.width,), np.dtype(np.float32)
    # Sizes are left open: a last batch of its own would have TensorFlow trace the step anew.
    shapes = (
        tf.TensorSpec((None, *shape), dtype),
        tf.TensorSpec((None, 1), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )
    count = -(-len(order) // batch_size)
    dataset = tf.data.Dataset.from_generator(drawn, output_signature=shapes)
    options = tf.data.Options()
    # Its thread sleeps twice as long each time, and an epoch would not end before it wakes:
    # 10 s for one of 6.
    options.autotune.enabled = False
    counted = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return counted.prefetch(1).with_options(options)


def _changed(batch: Batch, change: BatchChange, rng: np.random.Generator) -> Batch:
    """The batch as a technique changes it, held to its contract."""
    made = change(batch, rng)
    if made.images.dtype != np.uint8 or made.images.shape != batch.images.shape:
        raise UserError(
            f"the technique's change of a batch gave images {made.images.shape} of "
            f"{made.images.dtype}, expected {batch.images.shape} of uint8: mend the technique"
        )
    labels = np.asarray(made.labels, np.float32)
    if labels.shape != batch.labels.shape or labels.min() < 0 or labels.max() > 1:
        raise UserError(
            f"the technique's change of a batch gave labels {labels.shape}, expected "
            f"{batch.labels.shape} between 0 and 1: mend the technique"
        )
    return replace(made, labels=labels, weights=np.asarray(made.weights, np.float32))


def with_sampled(rows: Rows, training: TrainingSet, rng: np.random.Generator) -> Rows:
    """Rows of features with those after them that the technique makes of them."""
    if training.feature_sampler is None:
        return rows
    labels = training.cells.labels
    made = training.feature_sampler(np.asarray(rows.inputs), labels, rng)
    return replace(
        rows,
        inputs=np.concatenate([rows.inputs, made.features.astype(np.float32)]),
        labels=np.concatenate([rows.labels, made.labels.astype(np.float32)]),
        weights=np.concatenate([rows.weights, np.ones(len(made.labels), np.float32)]),
    )


def weighed(rows: Rows, training: TrainingSet, stage: Stage | None) -> Rows:
    """The rows with a stage's weights and draw, else with those of the training set; synthetic
    features count once each."""
    loss, draw = training.loss_weights, training.draw_weights
    if stage and stage.loss_weights is not None:
        loss = stage.loss_weights
    if stage and stage.draw_weights is not None:
        draw = stage.draw_weights
    weights = np.ones(len(rows.labels), np.float32)
    if loss is not None:
        weights[: len(loss)] = loss
    return replace(rows, weights=weights, draw_weights=draw)
