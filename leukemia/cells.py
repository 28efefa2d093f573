"""Cells, the value that flows through every experiment, and the classes that they belong to."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leukemia.images import Images, lazy

# The arrays that flow from room to room, by their dtype.
Labels = NDArray[np.int8]  # class indices
Names = NDArray[np.str_]  # of subjects, files or splits
Indices = NDArray[np.int64]  # rows of other arrays
Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]  # probabilities of the positive class

POSITIVE = 1  # ALL in C-NMC 2019
NEGATIVE = 0


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of a data set; the label of a cell is the index of its class.

    names: in the order of their indices.
    positive: the index of the positive class.
    """

    names: tuple[str, ...]
    positive: int

    def name(self, label: int) -> str:
        """The name of the class with this index."""
        return self.names[label]

    @property
    def positive_name(self) -> str:
        """The name of the positive class."""
        return self.names[self.positive]

    @property
    def negative_name(self) -> str:
        """The name of the negative class; of several, all their names."""
        return " or ".join(name for name in self.names if name != self.positive_name)

    def labels(self, names: Names) -> Labels:
        """(n,) int8: the class index of each of the class names (n,) str."""
        index = {name: label for label, name in enumerate(self.names)}
        return np.array([index[name] for name in names], np.int8)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Images of single cells, and the label, subject and file of each.

    images: (n, H, W, 3) uint8, RGB: an array, or `LazyImages`, which are used like one.
    labels: (n,) int8, class indices: 1 for the positive class, 0 for the negative one.
    subjects: (n,) str, the person (or smear) that the cell was taken from.
    cell_id: (n,) str, the file that the cell was read from, or `synthetic:TECHNIQUE`.
    """

    images: Images
    labels: Labels
    subjects: Names
    cell_id: Names

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Indices | Mask) -> "Cells":
        """The cells at `rows` ((m,) int, or (n,) bool), in that order; images are not copied."""
        return Cells(
            images=lazy(self.images).chosen(rows),
            labels=self.labels[rows],
            subjects=self.subjects[rows],
            cell_id=self.cell_id[rows],
        )

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
