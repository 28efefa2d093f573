"""Cells with the scores that a model gave them: the value that every evaluation starts from."""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Labels, Mask, Names, Scores
from leukemia.errors import UserError

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


def refuse_diverged(scores: Scores, of: str) -> None:
    """Nothing where every score is a number.

    Args:
        scores: (n,) of the cells that `of` names, for the message.

    Raises:
        UserError: some are NaN or infinite.
    """
    wrong = int(np.sum(~np.isfinite(scores)))
    if wrong:
        raise UserError(
            f"{wrong} of {len(scores)} scores of {of} are not finite: the network's weights have "
            f"diverged; use a lower learning rate (another budget), check the technique's loss and "
            f"weights, or start from other backbone weights"
        )
