"""Two-stage transfer learning, reporting every epoch.

Stage 1 trains the head on a frozen backbone, whose features do not change then and are
computed once instead of every epoch. Stage 2 fine-tunes everything. A backbone that starts
from scratch has nothing to transfer: it trains in both stages.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from leukemia.cells import Cells, TrainingSet
from leukemia.classifier import Classifier
from leukemia.classifier import features as features_of
from leukemia.errors import UserError
from leukemia.evaluation.metrics import Confusion, from_confusion, metrics
from leukemia.report import Report
from leukemia.schedule import Schedule, Stage
from leukemia.twin import trainable_twin

SECONDS_BETWEEN_NEWS = 5.0
PREDICT_BATCH = 32
COUNTERS = {
    "tp": keras.metrics.TruePositives,
    "fn": keras.metrics.FalseNegatives,
    "fp": keras.metrics.FalsePositives,
    "tn": keras.metrics.TrueNegatives,
}

History = list[dict[str, float]]


@dataclass(frozen=True)
class Inputs:
    """What a model is given for the training and the validation cells: images or features."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Job:
    """What stays the same through both stages.

    features: gives what the frozen backbone does, and may have kept it; None: it is computed.
    final: after the last epoch, gives the probabilities of the validation cells, so that who needs
    them afterwards need not compute them again; None: they are computed as after any epoch.
    """

    training: TrainingSet
    validation: Cells
    batch_size: int
    seed: int
    report: Report
    features: Callable[..., np.ndarray] | None = None
    final: Callable[[], np.ndarray] | None = None

    @property
    def images(self) -> Inputs:
        """The cells themselves."""
        return Inputs(self.training.cells.images, self.validation.images)


def fit(classifier: Classifier, job: Job, schedule: Schedule) -> History:
    """Train the classifier's model in place; the history has one row an epoch.

    Reports at each epoch (from 1, through both stages) train_* and val_* metrics, the
    learning rate, whether the backbone trains (`thawed`) and the epoch's seconds; within an
    epoch `epoch_done`, a fraction. train_*
    come from the passes themselves, synthetic cells included, while the weights move (loss
    with the technique's weights); val_* from one pass after the epoch over real cells.
    Same seed, same weights on the same machine.

    Raises:
        UserError: the loss is no longer finite.
    """
    keras.utils.set_random_seed(job.seed)
    history = transfer(classifier, job, schedule.transfer) if classifier.pretrained else []
    model = thawed(classifier)
    if not classifier.pretrained:
        history = train(model, job.images, job, schedule.transfer, 1)
    history += train(model, job.images, job, schedule.fine_tune, len(history) + 1, job.final)
    return history


def predict(
    model: keras.Model, images: np.ndarray, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """The model's outputs for (n, S, S, 3) uint8, in order: (n, ...) float32."""
    return in_batches(model.predict_on_batch, images, progress)


def in_batches(
    answer: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """The answers (n, ...) to images (n, S, S, 3) uint8, asked for in batches of equal size:
    another size would build a graph anew (seconds for ResNet-50), and round otherwise."""
    outputs = []
    for start in range(0, len(images), PREDICT_BATCH):
        rows = np.arange(start, start + PREDICT_BATCH).clip(max=len(images) - 1)
        outputs.append(answer(images[rows]))
        if progress:
            progress(min(1.0, (start + PREDICT_BATCH) / len(images)))
    return np.concatenate(outputs)[: len(images)]


def scores(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """(n,) float32: the probability of the positive class for (n, S, S, 3) uint8."""
    return predict(model, images)[:, 0]


def rows_of_epoch(training: TrainingSet, seed: int, epoch: int) -> np.ndarray:
    """(n,) int: the cells of an epoch in order, a pure function of seed and epoch."""
    rng = np.random.default_rng([seed, epoch])
    count = len(training.cells)
    size = training.epoch_size or count
    if training.draw_weights is not None:
        return rng.choice(count, size, p=training.draw_weights)
    turns = -(-size // count)
    return np.concatenate([rng.permutation(count) for _ in range(turns)])[:size]


def transfer(classifier: Classifier, job: Job, stage: Stage) -> History:
    """Stage 1: the head alone, on features of the frozen backbone; a row an epoch, as `fit`."""
    model = classifier.model
    classifier.freeze()
    extract = job.features or partial(predict, features_of(classifier))
    images = job.images
    features = Inputs(extract(images.train, _news(job.report, 1)), extract(images.validation))
    shared = model.get_layer("probability")  # the very layer of the model: it learns here
    inputs = keras.Input(features.train.shape[1:])
    head = keras.Model(inputs, shared(inputs), name="head")
    _compile(head)
    return train(head, features, job, stage, 1)


def _compile(model: keras.Model) -> None:
    model.compile(
        optimizer=keras.optimizers.Adam(),  # each stage sets its own learning rate
        loss="binary_crossentropy",
        metrics=[
            *(counter(name=name) for name, counter in COUNTERS.items()),
            keras.metrics.AUC(name="auroc"),
            keras.metrics.AUC(curve="PR", name="auprc"),
        ],
        jit_compile=False,  # 3 to 4 times slower on a CPU
    )
    # Without its variables there, TensorFlow traces the first step twice: 12 s for ResNet-50.
    model.optimizer.build(model.trainable_variables)


def thawed(classifier: Classifier) -> keras.Model:
    """The classifier's twin, which trains its variables, ready to do so from end to end."""
    classifier.thaw()
    model = trainable_twin(classifier)
    _compile(model)
    return model


def train(
    model: keras.Model,
    inputs: Inputs,
    job: Job,
    stage: Stage,
    first: int,
    final: Callable[[], np.ndarray] | None = None,
) -> History:
    """Train a compiled model for a stage's epochs, numbered from `first`; a row an epoch, as
    `fit`. final: gives the validation cells' probabilities after the last, as in `Job`."""
    model.optimizer.learning_rate = stage.learning_rate

    def usual() -> np.ndarray:
        return predict(model, inputs.validation)[:, 0]

    last = first + stage.epochs - 1
    return [
        _epoch(model, inputs, job, stage, epoch, final if final and epoch == last else usual)
        for epoch in range(first, last + 1)
    ]


def _epoch(
    model: keras.Model,
    inputs: Inputs,
    job: Job,
    stage: Stage,
    epoch: int,
    scores_now: Callable[[], np.ndarray],
) -> dict[str, float]:
    start = time.perf_counter()
    order = rows_of_epoch(job.training, job.seed, epoch)
    drawn = batches(inputs.train, job.training, order, job.batch_size)
    news = EpochNews(_news(job.report, epoch), len(drawn))
    logs = model.fit(drawn, verbose=0, shuffle=False, callbacks=[news]).history
    train = _train_metrics({name: values[-1] for name, values in logs.items()})
    if not math.isfinite(train["loss"]):
        raise UserError(
            f"training loss is {train['loss']} in epoch {epoch}: the weights have diverged; "
            f"use a lower learning rate (another budget) or other backbone weights"
        )
    held_out = metrics(job.validation.labels, scores_now())
    row = {
        **{f"train_{name}": value for name, value in train.items()},
        **{f"val_{name}": value for name, value in held_out.items()},
        "lr": stage.learning_rate,
        "thawed": float(model.name != "head"),
        "epoch_seconds": time.perf_counter() - start,
    }
    job.report(epoch, row)
    return {"epoch": epoch, **row}


def _train_metrics(logs: dict[str, float]) -> dict[str, float]:
    counts = Confusion(**{name: int(logs[name]) for name in COUNTERS})
    kept = {name: float(logs[name]) for name in ("loss", "auroc", "auprc")}
    return kept | from_confusion(counts)


def _news(report: Report, epoch: int) -> Callable[[float], None]:
    """Tells of the fraction done, at most every few seconds."""
    last = time.monotonic()

    def tell(done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_NEWS:
            last = time.monotonic()
            report(epoch, {"epoch_done": done})

    return tell


class EpochNews(keras.callbacks.Callback):
    """Passes the fraction of an epoch's batches that are done to a listener."""

    def __init__(self, tell: Callable[[float], None], batches: int):
        super().__init__()
        self._tell, self._batches = tell, batches

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Called by Keras after each step."""
        self._tell((batch + 1) / self._batches)


def batches(
    inputs: np.ndarray, training: TrainingSet, order: np.ndarray, batch_size: int
) -> tf.data.Dataset:
    """(inputs, (m, 1) float32 labels, (m,) float32 loss weights) in the given order of rows."""
    labels = training.cells.labels.astype(np.float32)
    weights = training.loss_weights
    weights = np.ones(len(labels), np.float32) if weights is None else weights

    def drawn() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield inputs[rows], labels[rows, None], weights[rows]

    # Sizes are left open: a last batch of its own would have TensorFlow trace the step anew.
    shapes = (
        tf.TensorSpec((None, *inputs.shape[1:]), inputs.dtype),
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
