"""What a technique is given and what it hands back: everything that a technique's author imports.

A technique speaks in values. It may add cells, leave cells out, weigh or draw them, bring a loss,
change batches as they pass, train in other stages, add synthetic features, or decide otherwise: a
field of `TrainingSet` carries each, and `experiment.run` composes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leukemia.cells import Cells, Indices, Labels, Mask, Scores
from leukemia.images import Images, Pixels, lazy
from leukemia.report import Report, nothing, silent


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The cells of one training step.

    images: (b, S, S, 3) uint8. labels: (b,) float32 in [0, 1], soft where classes are mixed.
    weights: (b,) float32, the factor of each cell in the loss.
    """

    images: Pixels
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SyntheticFeatures:
    """Synthetic rows for a stage that trains the head alone.

    features: (m, d) float32. labels: (m,) int8, class indices.
    """

    features: NDArray[np.float32]
    labels: Labels


# (labels (b, 1) float32 in [0, 1], logits (b, 1) float32, counts (2,) float32: training cells of
# the negative and the positive class) -> (b,) float32. Written in keras.ops or TensorFlow.
Loss = Callable[[Any, Any, NDArray[np.float32]], Any]
# A batch and its own generator, seeded by (seed, epoch, step) -> the changed batch, as many cells.
BatchChange = Callable[[Batch, np.random.Generator], Batch]
# (features (n, d) float32, labels (n,) int8, generator) -> synthetic rows, at the start of a stage.
FeatureSampler = Callable[[NDArray[np.float32], Labels, np.random.Generator], SyntheticFeatures]
# (images (n, S, S, 3) uint8) -> (n, d) float32, to measure distances in.
Features = Callable[[Images], NDArray[np.float32]]
# (labels (n,), scores (n,)) of the VALIDATION cells -> the score from which a cell is positive.
Decision = Callable[[Labels, Scores], float]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training.

    learning_rate: Adam's. epochs: passes over the training set.
    trains: `head`: the backbone stays as it is; `network`: everything learns.
    fresh_head: the head starts anew from weights drawn from the seed.
    loss_weights, draw_weights, loss: as in TrainingSet, for this stage alone; None: the set's own.
    """

    learning_rate: float
    epochs: int
    trains: Literal["head", "network"] = "network"
    fresh_head: bool = False
    loss_weights: NDArray[np.float32] | None = None
    draw_weights: NDArray[np.float64] | None = None
    loss: Loss | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Two-stage transfer learning: first the head on a frozen backbone, then the whole network."""

    transfer: Stage
    fine_tune: Stage

    @property
    def epochs(self) -> int:
        """Passes over the training set in both stages."""
        return self.transfer.epochs + self.fine_tune.epochs

    def stages(self, pretrained: bool) -> tuple[Stage, Stage]:
        """The stages to train; a backbone that starts from scratch has nothing to transfer, so
        that it learns in both."""
        first = replace(self.transfer, trains="head" if pretrained else "network")
        return first, replace(self.fine_tune, trains="network")


def schedule(transfer: tuple[float, int], fine_tune: tuple[float, int]) -> Schedule:
    """A Schedule from the (learning rate, epochs) of each stage, as papers give them."""
    first, second = (
        Stage(learning_rate=rate, epochs=epochs) for rate, epochs in (transfer, fine_tune)
    )
    return Schedule(transfer=first, fine_tune=second)


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """What a technique hands back: the cells to train on and how to use them.

    cells: the training cells that are kept, in their order, then the synthetic ones.
    synthetic: (n,) bool, true for the cells that the technique made.
    left_out: (k,) int, the rows of the training cells that are not trained on.
    loss_weights: (n,) float32 factor of each cell in the loss, or None for equal weights.
    draw_weights: (n,) float64 probability of drawing each cell into an epoch (with
        replacement), summing to 1, or None to visit every cell once an epoch.
    loss: of each cell, in place of binary cross-entropy.
    change: changes each batch of cells as it passes.
    stages: in place of those that the budget sets.
    feature_sampler: adds synthetic features to the stages that train the head alone.
    decide: chooses the score from which a cell is called positive; None: 0.5.
    parents: (m, k) int, the rows of the training cells that each synthetic cell was made of;
        None where every synthetic cell was learned from all the cells of its class.
    epoch_size: cells in an epoch where not each cell once: they are then visited in turn.
    most_copies: the share of synthetic cells that may be copies of training cells: those found are
        then dropped, and more refuse the run. None: copies are what the technique makes (turned
        cells, a blend near its parent), so that they are counted and nothing follows.
    metrics: what the technique measured of its work, by metric name.
    notes: what it has to say of its work, by tag name.
    files: what else the run should keep, by artifact path (a trained generator).
    copied: why too many synthetic cells are copies: the review writes it, no technique.
    """

    cells: Cells
    synthetic: Mask
    left_out: Indices = field(default_factory=lambda: np.zeros(0, int))
    loss_weights: NDArray[np.float32] | None = None
    draw_weights: NDArray[np.float64] | None = None
    loss: Loss | None = None
    change: BatchChange | None = None
    stages: tuple[Stage, ...] | None = None
    feature_sampler: FeatureSampler | None = None
    decide: Decision | None = None
    parents: Indices | None = None
    epoch_size: int | None = None
    most_copies: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    copied: str = ""

    def part(self, rows: Mask) -> "TrainingSet":
        """The cells at `rows` ((n,) bool) with their weights: what is left after a split."""
        size = self.epoch_size and round(self.epoch_size * rows.mean())
        stages = self.stages and tuple(
            replace(
                stage,
                loss_weights=_rows_of(stage.loss_weights, rows),
                draw_weights=_drawn_of(stage.draw_weights, rows),
            )
            for stage in self.stages
        )
        return replace(
            self,
            cells=self.cells.take(rows),
            synthetic=self.synthetic[rows],
            loss_weights=_rows_of(self.loss_weights, rows),
            draw_weights=_drawn_of(self.draw_weights, rows),
            stages=stages,
            epoch_size=size,
            parents=None,
        )


def unchanged(train: Cells) -> TrainingSet:
    """The training cells as they are, none of them synthetic."""
    return TrainingSet(cells=train, synthetic=np.zeros(len(train), bool))


def without(train: Cells, rows: Indices) -> TrainingSet:
    """The training cells but those at `rows` ((k,) int)."""
    left_out = np.unique(rows)
    kept = np.setdiff1d(np.arange(len(train)), left_out)
    return TrainingSet(
        cells=train.take(kept), synthetic=np.zeros(len(kept), bool), left_out=left_out
    )


def with_synthetic(
    train: Cells, images: Images, maker: str, parents: Indices | None = None
) -> TrainingSet:
    """The training cells followed by `images` (m, H, W, 3) uint8 as cells of the rarer class.

    A synthetic cell has no subject of its own: its subject is `synthetic:MAKER`. A technique sees
    training cells only, so no synthetic cell has a parent in another split, but under the protocol
    that balances before it splits.
    """
    name = np.full(len(images), f"synthetic:{maker}")
    cells = Cells(
        images=lazy(train.images).followed_by(lazy(images)),
        labels=np.concatenate(
            [train.labels, np.full(len(images), train.minority(), train.labels.dtype)]
        ),
        subjects=np.concatenate([train.subjects, name]),
        cell_id=np.concatenate([train.cell_id, name]),
    )
    return TrainingSet(cells=cells, synthetic=np.arange(len(cells)) >= len(train), parents=parents)


@dataclass(frozen=True, kw_only=True)
class TechniqueContext:
    """What a technique may use besides the training cells.

    rng: its only source of chance. report: the listener that it tells of its progress.
    schedule: the learning rates and epochs that the budget sets. pretrained: whether the backbone
        starts from weights that were learned elsewhere.
    features: images (n, S, S, 3) uint8 -> (n, d) float32, to measure distances in: pooled features
        of the pretrained network that `network` names, or the fixed features where none is there.
    about: what metrics here are measured on, for whoever looks at them.
    folder: where unfinished work lies so that it can go on; None: it cannot. saved: to be called
        each time after work was left there: what was spent until then stays part of the costs.
    """

    rng: np.random.Generator
    report: Report = silent
    schedule: Schedule | None = None
    pretrained: bool = False
    features: Features | None = None
    network: str = ""
    about: str = ""
    folder: Path | None = None
    saved: Callable[[], None] = nothing

    def stages(self) -> tuple[Stage, ...]:
        """The stages that the budget sets, to be changed or added to."""
        assert self.schedule, "a technique with stages of its own needs the budget's schedule"
        return self.schedule.stages(self.pretrained)


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A field of a technique's Settings with the text that `--help` prints.

    choices: the values that the option takes.
    artifact: the option takes a run ID, and the technique is given the path of this
        artifact of that run instead (downloaded by whoever starts the experiment).
    """
    return field(default=default, metadata={"help": help, **metadata})


def _rows_of(weights: NDArray[np.float32] | None, rows: Mask) -> NDArray[np.float32] | None:
    return None if weights is None else weights[rows]


def _drawn_of(weights: NDArray[np.float64] | None, rows: Mask) -> NDArray[np.float64] | None:
    return None if weights is None else weights[rows] / weights[rows].sum()
