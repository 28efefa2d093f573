"""Whether a score of 0.8 means that 8 of 10 such cells are positive, and a way to mend it.

Cells of one subject are not independent, so a few subjects can move a bin by much.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

BINS = 10
TEMPERATURES = (0.05, 20.0)  # the bounds of the search
CLIP = 1e-7  # as in the loss: a score of 0 or 1 has no finite logit


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Cells by their score, in b bins: a score belongs to a bin if it is in (low, high].

    edges (b + 1,), mean_score (b,) and positive_share (b,) float64, NaN for an empty bin;
    count (b,) int64.
    """

    edges: np.ndarray
    mean_score: np.ndarray
    positive_share: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: how far share and score lie apart, weighted by cells."""
        full = self.count > 0
        apart = np.abs(self.mean_score - self.positive_share)[full]
        return float(np.average(apart, weights=self.count[full]))


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """What logits are divided by, and what that does to the loss of the cells it was fitted on.

    value: above 1 the scores were too sure, below 1 not sure enough.
    loss_before, loss_after: mean binary cross-entropy.
    at_bound: the search ended at one of TEMPERATURES, so that the best value is unknown.
    """

    value: float
    loss_before: float
    loss_after: float
    at_bound: bool

    @property
    def text(self) -> str:
        """One line for reports."""
        text = (
            f"temperature {self.value:.3g}, fitted on validation cells: "
            f"their loss {self.loss_before:.3f} becomes {self.loss_after:.3f}"
        )
        if not self.at_bound:
            return text
        low, high = TEMPERATURES
        return f"{text}; it stopped at a bound ({low:g} or {high:g}): do not use it"


def reliability(
    labels: np.ndarray, scores: np.ndarray, bins: int = BINS, equal_count: bool = False
) -> Bins:
    """Bins of labels (n,) 0/1 and scores (n,) in [0, 1]: equal widths, or equal counts.

    With `equal_count` equal scores stay in one bin, so that bins may be empty or uneven.
    Source: Naeini et al. 2015 (widths); Nguyen & O'Connor 2015 (counts).
    """
    scores = scores.astype(np.float64)
    places = np.linspace(0, 1, bins + 1)
    edges = np.quantile(scores, places) if equal_count else places
    of_cell = np.searchsorted(edges[1:-1], scores)
    count = np.bincount(of_cell, minlength=bins)
    full = np.where(count > 0, count, np.nan)
    mean_score = np.bincount(of_cell, weights=scores, minlength=bins) / full
    positive_share = np.bincount(of_cell, weights=labels, minlength=bins) / full
    return Bins(edges=edges, mean_score=mean_score, positive_share=positive_share, count=count)


def expected_calibration_error(
    labels: np.ndarray, scores: np.ndarray, bins: int = BINS, equal_count: bool = False
) -> float:
    """ECE of the positive class' probability against the share of positive cells, in [0, 1].

    Source: Naeini et al. 2015; Guo et al. 2017, equation 3, there for the called class.
    """
    return reliability(labels, scores, bins, equal_count).error


def fit_temperature(labels: np.ndarray, scores: np.ndarray) -> Temperature:
    """The temperature under which VALIDATION labels (n,) 0/1 are likeliest, given scores (n,).

    One number: it mends scores that are too sure or not sure enough on the whole, not a
    share of positives that differs between the sides. 1 where no other value is better.
    Source: Guo et al. 2017, section 4.2.
    """
    logits = log_odds(scores)
    towards = np.where(labels == 1, logits, -logits)

    def loss(log_temperature: float) -> float:
        return float(np.mean(np.logaddexp(0, -towards / np.exp(log_temperature))))

    # The loss is convex in 1 / T: it has one minimum, also over log T.
    bounds = np.log(TEMPERATURES)
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    before = loss(0.0)
    if best.fun >= before:
        return Temperature(value=1.0, loss_before=before, loss_after=before, at_bound=False)
    at_bound = bool(np.abs(bounds - best.x).min() < 1e-3)  # the search stops just short of it
    return Temperature(
        value=float(np.exp(best.x)),
        loss_before=before,
        loss_after=float(best.fun),
        at_bound=at_bound,
    )


def rescale(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores (n,) under a temperature: no order is reversed, no call at 0.5 changes.

    For calls at another threshold, rescale the threshold with the scores.

    float64: rounded to float32, scores just below 0.5 would become 0.5.
    """
    calibrated: np.ndarray = expit(log_odds(scores) / temperature)
    return calibrated


def log_odds(scores: np.ndarray) -> np.ndarray:
    """(n,) float64: the logits of scores (n,) in [0, 1], finite also at the ends."""
    logits: np.ndarray = logit(np.clip(scores.astype(np.float64), CLIP, 1 - CLIP))
    return logits
