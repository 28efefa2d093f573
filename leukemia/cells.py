"""The two values that flow through every experiment: cells, and what a technique makes of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from leukemia.images import LazyImages, lazy

POSITIVE = 1  # the sought class: ALL in C-NMC 2019
NEGATIVE = 0


@dataclass(frozen=True)
class Cells:
    """Images of single cells with what is known of each.

    images: (n, H, W, 3) uint8, RGB; of cells that were taken from others a stand-in for such an
        array, which is to be indexed, gone through, or made an array by `np.asarray`.
    labels: (n,) int8, 1 for the positive (sought) class, 0 for the other.
    subjects: (n,) str, the person (or smear) that the cell was taken from.
    origin: (n,) str, the file that the cell was read from, or `made:TECHNIQUE`.
    """

    images: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Cells":
        """The cells at `rows` ((m,) int, or (n,) bool), in that order; images are not copied."""
        images = _as_array(lazy(self.images).chosen(rows))
        return Cells(images, self.labels[rows], self.subjects[rows], self.origin[rows])

    def loaded(self) -> "Cells":
        """The same cells, their images in an array in memory."""
        return replace(self, images=np.asarray(self.images))

    def counts(self) -> tuple[int, int]:
        """Number of (negative, positive) cells."""
        positive = int(np.count_nonzero(self.labels == POSITIVE))
        return len(self) - positive, positive

    def minority(self) -> int:
        """The label of the rarer class; NEGATIVE where both are equally frequent."""
        negative, positive = self.counts()
        return POSITIVE if positive < negative else NEGATIVE

    def shortage(self) -> int:
        """How many more cells the rarer class needs to be as frequent as the other."""
        negative, positive = self.counts()
        return abs(negative - positive)

    def digest(self) -> str:
        """SHA-256 over the images and labels in order: equal digests mean equal cells."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        for image in self.images:
            sha.update(image.tobytes())
        sha.update(self.labels.tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class TrainingSet:
    """What a technique hands back: the cells to train on and how to use them.

    cells: the training cells as they came, then the made ones.
    synthetic: (n,) bool, true for the cells that the technique made.
    loss_weights: (n,) float32 factor of each cell in the loss, or None for equal weights.
    draw_weights: (n,) float64 probability of drawing each cell into an epoch (with
        replacement), summing to 1, or None to visit every cell once an epoch.
    parents: (made, k) int, the rows of the cells that each made cell was made of; None where
        every made cell was learned from all the cells of its class.
    epoch_size: cells in an epoch where not each cell once: they are then visited in turn.
    figures: what the technique measured of its work, by metric name.
    copied: why too many made cells are copies of real ones, "" where they are not.
    files: what else the run should keep, by artifact path (a trained generator).
    """

    cells: Cells
    synthetic: np.ndarray
    loss_weights: np.ndarray | None = None
    draw_weights: np.ndarray | None = None
    parents: np.ndarray | None = None
    epoch_size: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    copied: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    def part(self, rows: np.ndarray) -> "TrainingSet":
        """The cells at `rows` ((n,) bool) with their weights: what is left after a split."""
        loss, draw = self.loss_weights, self.draw_weights
        size = self.epoch_size and round(self.epoch_size * rows.mean())
        return replace(
            self,
            cells=self.cells.take(rows),
            synthetic=self.synthetic[rows],
            loss_weights=None if loss is None else loss[rows],
            draw_weights=None if draw is None else draw[rows] / draw[rows].sum(),
            epoch_size=size,
            parents=None,
        )


def unchanged(train: Cells) -> TrainingSet:
    """The training cells as they are, none of them synthetic."""
    return TrainingSet(train, np.zeros(len(train), bool))


def with_made(
    train: Cells,
    images: np.ndarray,
    maker: str,
    parents: np.ndarray | None = None,
    figures: Mapping[str, float] | None = None,
    copied: str = "",
    files: Mapping[str, bytes] | None = None,
) -> TrainingSet:
    """The training cells followed by `images` (m, H, W, 3) uint8 as cells of the rarer class.

    A made cell has no subject of its own: its subject is `made:MAKER`. A technique sees
    training cells only, so no made cell has a parent on another side, but under the protocol
    that balances before it splits.
    """
    made = np.full(len(images), f"made:{maker}")
    cells = Cells(
        _as_array(lazy(train.images).followed_by(lazy(images))),
        np.concatenate([train.labels, np.full(len(images), train.minority(), train.labels.dtype)]),
        np.concatenate([train.subjects, made]),
        np.concatenate([train.origin, made]),
    )
    synthetic = np.arange(len(cells)) >= len(train)
    return TrainingSet(
        cells,
        synthetic,
        parents=parents,
        figures=figures or {},
        copied=copied,
        files=files or {},
    )


def _as_array(images: LazyImages) -> np.ndarray:
    """Whoever is given cells uses their images as an array."""
    return cast(np.ndarray, images)
