"""Training in stages, reporting every epoch.

A stage that trains the head alone works on features of the frozen backbone, which do not change and
are computed once instead of every epoch. A stage that trains the network fine-tunes everything.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from leukemia.cells import Cells, Scores
from leukemia.contract import Loss, Stage, TrainingSet
from leukemia.errors import UserError
from leukemia.evaluation.metrics import Confusion, from_confusion, metrics
from leukemia.evaluation.predictions import refuse_diverged
from leukemia.images import Images
from leukemia.model.classifier import Classifier, feature_model
from leukemia.model.fused import trainable_features
from leukemia.model.inference import Inputs, exact, in_batches, predict
from leukemia.model.rows import (
    Rows,
    batches,
    order_of_epoch,
    rows_of,
    weighed,
    with_sampled,
)
from leukemia.model.unfinished import History as History  # whoever fits names it too
from leukemia.model.unfinished import Unfinished, fingerprint
from leukemia.report import Report, nothing

SECONDS_BETWEEN_PROGRESS = 5.0
COUNTERS = {
    "tp": keras.metrics.TruePositives,
    "fn": keras.metrics.FalseNegatives,
    "fp": keras.metrics.FalsePositives,
    "tn": keras.metrics.TrueNegatives,
}


@dataclass(frozen=True, kw_only=True)
class FitInputs:
    """What a classifier is fitted to, and how.

    stages: those to train, in order. report: is told of each epoch. threads: that inference uses.
    features: (n, S, S, 3) uint8 -> (n, d) float32 of the backbone as it was built, perhaps kept
        from an earlier run; None: they are computed.
    final: gives the probabilities of the validation cells after the last epoch, so that whoever
        needs them afterwards need not compute them again; None: as after any epoch.
    title: who trains, for the message where that diverges.
    folder: where the unfinished training lies, so that it can go on; None: it cannot. saved: called
        each time after that was brought up to date.
    """

    training: TrainingSet
    validation: Cells
    stages: tuple[Stage, ...]
    batch_size: int
    seed: int
    report: Report
    threads: int = 0
    features: Callable[..., NDArray[np.float32]] | None = None
    final: Callable[[], Scores] | None = None
    title: str = "the classifier"
    folder: Path | None = None
    saved: Callable[[], None] = nothing


def fit(classifier: Classifier, inputs: FitInputs) -> History:
    """Train the classifier's model in place; the history has one row an epoch.

    Reports at each epoch (from 1, through all stages) train_* and val_* metrics, the learning
    rate, whether the backbone trains (`unfrozen`) and the epoch's seconds; within an epoch
    `epoch_done`, a fraction. train_* come from the passes themselves, synthetic cells included,
    while the weights move (loss with the technique's weights); val_* from one pass after the
    epoch over real cells. Same seed, same weights on the same machine, however often it was killed
    and went on; one that goes on reports its past once more.

    Raises:
        UserError: loss or scores are no longer finite, a stage cannot do what the technique
            asks, or the unfinished training can be neither read nor kept.
    """
    keras.utils.set_random_seed(inputs.seed)
    check_stages(inputs)
    stages = [stage for stage in inputs.stages if stage.epochs]
    kept = _unfinished(classifier, inputs)
    history = list(kept.history)
    for row in history:
        inputs.report(int(row["epoch"]), {k: v for k, v in row.items() if k != "epoch"})
    trained: tuple[FitModel, Rows, Inputs] | None = None
    for place, stage in enumerate(stages):
        end = sum(each.epochs for each in stages[: place + 1])
        left = range(max(end - stage.epochs, len(history)) + 1, end + 1)
        if not left:  # as it left the classifier
            (classifier.freeze if stage.trains == "head" else classifier.unfreeze)()
            continue
        root = _root(stages, place)
        if trained is None or root == place:
            trained = _prepared(classifier, inputs, stages[root], root, left.start)
            if len(history) > sum(each.epochs for each in stages[:root]):
                kept.restore(trained[0].optimizer)
        model, rows, validation = trained
        rows = weighed(rows, inputs.training, stage)
        model.optimizer.learning_rate = stage.learning_rate
        for epoch in left:
            last = place == len(stages) - 1 and epoch == end
            scores = inputs.final if inputs.final and last else _scores_of(model, validation)
            history.append(_epoch(model, rows, inputs, stage, epoch, scores))
            kept.save(history, model.optimizer, stage.trains, epoch == end)
    return history


def check_stages(inputs: FitInputs) -> None:
    """Refuse what no stage could do.

    Raises:
        UserError: synthetic features without a stage that trains the head alone, or beside a draw
            or changed batches.
    """
    training = inputs.training
    if training.feature_sampler is None:
        return
    heads = [stage for stage in inputs.stages if stage.trains == "head" and stage.epochs]
    if not heads:
        raise UserError(
            "the technique adds synthetic features, but no stage trains the head alone: start "
            "from pretrained weights, or give the technique stages with trains='head'"
        )
    draws = [training.draw_weights, *(stage.draw_weights for stage in heads)]
    if training.change or any(each is not None for each in draws):
        raise UserError(
            "synthetic features go together neither with changed batches nor with a weighted "
            "draw: mend the technique"
        )


class FitModel(keras.Model):
    """A network under training: its output is the logit, its predictions are probabilities."""

    def predict_step(self, data: tf.Tensor) -> tf.Tensor:
        """Called by Keras."""
        return ops.sigmoid(super().predict_step(data))

    def compute_metrics(
        self, x: tf.Tensor, y: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Called by Keras; a soft label counts as the class that it is nearer to."""
        measured: dict[str, tf.Tensor] = super().compute_metrics(
            x, ops.cast(y >= 0.5, "float32"), ops.sigmoid(y_pred), sample_weight
        )
        return measured


class Logit(keras.layers.Layer):
    """The head without its sigmoid, on the head's own variables: (b, d) -> (b, 1) float32."""

    def __init__(self, head: keras.layers.Dense):
        super().__init__(name="logit", dtype="float32")
        self.head = head
        self.built = True

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Called by Keras."""
        return ops.add(ops.matmul(features, self.head.kernel), self.head.bias)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Called by Keras."""
        return (*shape[:-1], 1)


def head_model(classifier: Classifier) -> FitModel:
    """(b, d) float32 features -> (b, 1) logits, on the variables of the classifier's head."""
    classifier.freeze()
    head = classifier.model.get_layer("probability")
    inputs = keras.Input((head.kernel.shape[0],))
    return FitModel(inputs, Logit(head)(inputs), name="head")


def network_model(classifier: Classifier) -> FitModel:
    """(b, S, S, 3) uint8 -> (b, 1) logits, on all variables of the classifier."""
    classifier.unfreeze()
    below = trainable_features(classifier)
    head = classifier.model.get_layer("probability")
    return FitModel(below.inputs, Logit(head)(below.output), name="network")


def compile_for(model: FitModel, loss: Loss | None, counts: NDArray[np.float32]) -> None:
    """Ready a model to be trained with a loss; None: binary cross-entropy.

    counts: (2,) float32, what the loss is told of the classes.
    """

    def of_cells(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        assert loss
        return loss(labels, logits, counts)

    model.compile(
        optimizer=keras.optimizers.Adam(),  # each stage sets its own learning rate
        loss=of_cells if loss else keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            *(counter(name=name) for name, counter in COUNTERS.items()),
            keras.metrics.AUC(name="auroc"),
            keras.metrics.AUC(curve="PR", name="auprc"),
        ],
        jit_compile=False,  # 3 to 4 times slower on a CPU
    )
    # Without its variables there, TensorFlow traces the first step twice: 12 s for ResNet-50.
    model.optimizer.build(model.trainable_variables)


def _unfinished(classifier: Classifier, inputs: FitInputs) -> Unfinished:
    def mark() -> str:
        return fingerprint(
            classifier,
            inputs.training,
            inputs.validation,
            inputs.stages,
            inputs.batch_size,
            inputs.seed,
        )

    return Unfinished(classifier, inputs.folder, mark, inputs.saved)


def _root(stages: list[Stage], place: int) -> int:
    """The stage whose model and optimizer the one at `place` goes on with; its own if none."""
    before, stage = stages[place - 1], stages[place]
    goes_on = (before.trains, before.loss) == (stage.trains, stage.loss) and not stage.fresh_head
    return _root(stages, place - 1) if place and goes_on else place


def _prepared(
    classifier: Classifier, inputs: FitInputs, stage: Stage, place: int, epoch: int
) -> tuple[FitModel, Rows, Inputs]:
    """The model that a stage trains, its rows, and what the model takes for validation cells."""
    training, validation = inputs.training, inputs.validation
    if stage.fresh_head:
        _draw_head(classifier, [inputs.seed, place])
    rows = rows_of(training)
    if stage.trains == "network":
        model = network_model(classifier)
        held_out: Inputs = validation.images
    else:
        model = head_model(classifier)
        # Only before anything was trained is the backbone the one that features were kept of.
        kept = inputs.features if place == 0 else None
        extract = kept or _extractor(classifier, inputs.threads)
        held_out = extract(validation.images)
        if training.change:
            rows = replace(rows, extract=extract, width=held_out.shape[1])
        else:
            features = extract(rows.inputs, _progress(inputs.report, epoch))
            rows = replace(rows, inputs=features)
        rows = with_sampled(rows, training, np.random.default_rng([inputs.seed, place]))
    compile_for(model, stage.loss or training.loss, rows.counts)
    return model, rows, held_out


def _extractor(classifier: Classifier, threads: int) -> Callable[..., NDArray[np.float32]]:
    """Images to features of the classifier's backbone as it is now."""
    network = exact(feature_model(classifier), threads)

    def extract(
        images: Images, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        return in_batches(network, images, progress)

    return extract


def _draw_head(classifier: Classifier, key: list[int]) -> None:
    """Give the head new weights, as when it was built."""
    head = classifier.model.get_layer("probability")
    seed = int(np.random.default_rng(key).integers(2**31))
    head.kernel.assign(keras.initializers.GlorotUniform(seed)(head.kernel.shape))
    head.bias.assign(np.zeros(head.bias.shape, np.float32))


def _scores_of(model: FitModel, inputs: Inputs) -> Callable[[], Scores]:
    return lambda: predict(model, inputs)[:, 0]


def _epoch(
    model: FitModel,
    rows: Rows,
    inputs: FitInputs,
    stage: Stage,
    epoch: int,
    scores_now: Callable[[], Scores],
) -> dict[str, float]:
    start = time.perf_counter()
    order = order_of_epoch(rows, inputs.seed, epoch)
    drawn = batches(rows, order, inputs.batch_size, (inputs.seed, epoch))
    progress = EpochProgress(_progress(inputs.report, epoch), len(drawn))
    try:
        logs = model.fit(drawn, verbose=0, shuffle=False, callbacks=[progress]).history
    except tf.errors.OpError as error:  # what a batch's making raised comes wrapped in it
        raised = re.search(r"UserError: (.*)", str(error))
        if not raised:
            raise
        raise UserError(raised[1]) from error
    train = _train_metrics({name: values[-1] for name, values in logs.items()})
    if not math.isfinite(train["loss"]):
        raise UserError(
            f"{inputs.title}: training loss is {train['loss']} in epoch {epoch}: the weights have "
            f"diverged; use a lower learning rate (another budget), check the technique's loss "
            f"and weights, or start from other backbone weights"
        )
    scores = scores_now()  # of weights after the last step, whose loss was of those before it
    refuse_diverged(scores, f"{inputs.title}'s validation cells in epoch {epoch}")
    held_out = metrics(inputs.validation.labels, scores)
    row = {
        **{f"train_{name}": value for name, value in train.items()},
        **{f"val_{name}": value for name, value in held_out.items()},
        "lr": stage.learning_rate,
        "unfrozen": float(stage.trains == "network"),
        "epoch_seconds": time.perf_counter() - start,
    }
    inputs.report(epoch, row)
    return {"epoch": epoch, **row}


def _train_metrics(logs: dict[str, float]) -> dict[str, float]:
    counts = Confusion(**{name: int(logs[name]) for name in COUNTERS})
    kept = {name: float(logs[name]) for name in ("loss", "auroc", "auprc")}
    return kept | from_confusion(counts)


def _progress(report: Report, epoch: int) -> Callable[[float], None]:
    """A listener to fractions that passes them on at most every few seconds."""
    last = time.monotonic()

    def tell(done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_PROGRESS:
            last = time.monotonic()
            report(epoch, {"epoch_done": done})

    return tell


class EpochProgress(keras.callbacks.Callback):
    """Passes the fraction of an epoch's batches that are done to a listener."""

    def __init__(self, tell: Callable[[float], None], batches: int):
        super().__init__()
        self._tell, self._batches = tell, batches

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras after each step."""
        self._tell((batch + 1) / self._batches)
