"""Cells with what a model said of them: the value that every evaluation starts from."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scored:
    """Real cells with the probability that a model gives each of being the positive class.

    labels (n,) int8 0/1, scores (n,) float32 in [0, 1], subjects (n,) str, origin (n,) str (the
    cell's file, by which two models' scores of one cell are paired).
    """

    labels: np.ndarray
    scores: np.ndarray
    subjects: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)
