"""A verdict on overfitting by one rule for every run; the thesis looked at plots instead."""

from dataclasses import dataclass

import numpy as np

FEWEST = 3  # epochs
TOLERANCE = 0.05  # of the lowest validation loss
LEAST_RISE = 0.01  # nats: 5 % of a loss near 0 would be noise

RULE = (
    f"A run overfits if validation loss in both of its last two epochs is more than "
    f"{TOLERANCE:.0%} (and {LEAST_RISE:g}) above its lowest, and training loss has fallen since "
    f"the lowest. A rise in the very last epoch alone may be chance, so it decides nothing, nor do "
    f"fewer than {FEWEST} epochs. Where a frozen backbone is unfrozen, only epochs "
    f"of fine-tuning count: other weights learn at another rate there, and a jump at the boundary "
    f"is not overfitting."
)

History = list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a run overfits.

    overfits: None where the rule cannot decide.
    epoch: the epoch with the lowest validation loss (the first of equal ones), or None.
    rise: mean validation loss of the end minus the lowest. The end is the last two epochs after
        the lowest, or the only one; 0 where the lowest is the last.
    fall: training loss at `epoch` minus its mean over the same end.
        rise and fall are NaN where there are too few epochs.
    text: one line for reports.
    """

    overfits: bool | None
    epoch: int | None
    rise: float
    fall: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Losses from the epoch with the lowest validation loss to the end.

    epoch, lowest: that epoch and its validation loss. end: (0,), (1,) or (2,) validation losses
    of the last epochs after it. fall: as in Verdict.
    """

    epoch: int
    lowest: float
    end: np.ndarray
    fall: float

    @property
    def rise(self) -> float:
        """Mean validation loss at the end minus the lowest; 0 without an end."""
        return float(self.end.mean()) - self.lowest if len(self.end) else 0.0

    @property
    def above(self) -> np.ndarray:
        """Bool, of the shape of `end`: whether the loss has risen beyond `bound`."""
        return self.end > bound(self.lowest)


def verdict_on(history: History, fine_tune_from: int | None = None) -> Verdict:
    """The verdict by RULE on a run's losses.

    Args:
        history: one row an epoch, with `epoch`, `train_loss` and `val_loss`. Training loss may
            include synthetic cells and loss weights: only its fall counts.
        fine_tune_from: the first epoch that trains a backbone which was frozen before; None if
            there is none (from scratch, the backbone trains from the start). A lower validation
            loss before that epoch does not decide, but the text mentions it.
    """
    rows = [row for row in history if row["epoch"] >= (fine_tune_from or 0)] or history
    if len(rows) < FEWEST:
        few = f"cannot be told: {len(rows)} epochs count, at least {FEWEST} are needed"
        return Verdict(overfits=None, epoch=None, rise=float("nan"), fall=float("nan"), text=few)
    trend = _trend(rows)
    overfits, text = _decide(trend)
    text += _remark(history[: len(history) - len(rows)], trend)
    return Verdict(
        overfits=overfits, epoch=trend.epoch, rise=trend.rise, fall=trend.fall, text=text
    )


def bound(lowest: float) -> float:
    """The highest validation loss that does not yet count as a rise from `lowest`."""
    return lowest + max(TOLERANCE * lowest, LEAST_RISE)


def _trend(rows: History) -> Trend:
    validation = np.array([row["val_loss"] for row in rows])
    train = np.array([row["train_loss"] for row in rows])
    at = int(np.argmin(validation))
    end = slice(max(at + 1, len(rows) - 2), None)
    fall = train[at] - train[end].mean() if at + 1 < len(rows) else 0.0
    return Trend(
        epoch=int(rows[at]["epoch"]),
        lowest=float(validation[at]),
        end=validation[end],
        fall=float(fall),
    )


def _decide(trend: Trend) -> tuple[bool | None, str]:
    lowest = f"{trend.lowest:.3f} at epoch {trend.epoch}"
    if not len(trend.end):
        return False, f"does not overfit: validation loss is lowest in the last epoch ({lowest})"
    moved = f"by {trend.rise:.3f} ({lowest} to {trend.lowest + trend.rise:.3f} at the end)"
    if not trend.above.any():
        return False, f"does not overfit: validation loss rose only {moved}"
    if not trend.above.all():
        return False, f"does not overfit: of the last two epochs one is near the lowest ({lowest})"
    if len(trend.end) == 1:
        return None, f"cannot be told: validation loss rose {moved}, in the last epoch only"
    if trend.fall <= 0:
        return False, (
            f"does not overfit: validation loss rose {moved}, but training loss did not fall"
        )
    return True, (
        f"overfits after epoch {trend.epoch}: validation loss rose {moved} while training loss "
        f"fell by {trend.fall:.3f}"
    )


def _remark(before: History, trend: Trend) -> str:
    """A clause for the text where epochs that do not count had a lower validation loss."""
    best = min(before, key=lambda row: row["val_loss"], default=None)
    if best is None or trend.lowest <= bound(best["val_loss"]):
        return ""
    return (
        f"; fine-tuning never came back to the {best['val_loss']:.3f} of epoch "
        f"{best['epoch']:.0f}, before it"
    )
