"""Cells with the scores that a model gave them: the value that every evaluation starts from."""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Labels, Mask, Names, Scores

THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Real cells with the probability that a model gives each of being the positive class.

    labels (n,) int8 0/1, scores (n,) float32 in [0, 1], subjects (n,) str, cell_id (n,) str (the
    cell's file, by which two models' scores of one cell are paired). threshold: the score from
    which a cell is called positive.
    """

    labels: Labels
    scores: Scores
    subjects: Names
    cell_id: Names
    threshold: float = THRESHOLD

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def calls(self) -> Mask:
        """(n,) bool: whether each cell is called positive."""
        # In float32 a threshold from float64 scores would be rounded, perhaps past a score.
        return self.scores.astype(np.float64) >= self.threshold

    @property
    def right(self) -> Mask:
        """(n,) bool: whether each cell is called by its label."""
        right: Mask = self.calls == (self.labels == 1)
        return right
