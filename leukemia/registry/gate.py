"""What a classifier must show before it is registered. Pure: values in, reasons to refuse out.

The audit is asked before this, by `ranking.refuse_leaks`: without a clean or waived one there is no
ranking, and so no classifier to register.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from leukemia.evaluation.metrics import metric_of
from leukemia.ranking.comparisons import BASELINE
from leukemia.ranking.rank import Ranking
from leukemia.registry import GAINS

# The most that a probability may differ on golden cells: another processor sums in another order.
SAME = 1e-4
# The metrics of a run of the first versions, which did not log what they set out to compute.
FIRST = ("loss", "acc", "bal_acc", "sens", "spec", "prec", "f1", "wf1", "auroc", "auprc")


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the choice gains over the baseline on the same test cells, with its 95 % interval.

    net: it is of networks and subjects that had no say in the choice (`ranking.verdicts.Worth`).
    """

    value: float
    low: float
    high: float
    net: bool

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run whose classifier is to be registered.

    arm: its technique. names: of the metrics that it set out to compute. metrics: those that it
    logged, by their full names. expected, there: path -> bytes of each artifact, when it was
    logged and in the store now. difference: on golden cells, or why there is none. gain: over the
    baseline; None where that is not known.
    """

    arm: str
    metrics: Mapping[str, float]
    expected: Mapping[str, int]
    there: Mapping[str, int]
    difference: float | str
    gain: Gain | None
    names: tuple[str, ...] = FIRST


def names_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The metrics that a run set out to compute, by its tags."""
    return tuple(tags["metrics"].split(",")) if "metrics" in tags else FIRST


def gain_of(ranking: Ranking) -> Gain | None:
    """The gain over the baseline, above 0 where it is one; None where the leader is the baseline
    or there is none."""
    gap = ranking.gain
    if gap is None or ranking.table["arm"].iloc[0] == BASELINE:
        return None
    net = ranking.worth is not None
    if metric_of(ranking.metric).higher_is_better:
        return Gain(value=gap.value, low=gap.low, high=gap.high, net=net)
    return Gain(value=-gap.value, low=-gap.high, high=-gap.low, net=net)


def refusals(candidate: Candidate, asked: str) -> list[str]:
    """Why it is not to be registered, a line each; none: it is.

    asked: of the gain's interval, one of GAINS.
    """
    rules = (_figures(candidate), _gain(candidate, asked), _store(candidate), _answers(candidate))
    return [reason for reason in rules if reason]


def _figures(candidate: Candidate) -> str:
    wanted = [f"{side}_{name}" for side in ("val", "test") for name in candidate.names]
    values = dict.fromkeys(wanted, math.nan) | dict(candidate.metrics)
    wrong = ", ".join(sorted(name for name in values if not math.isfinite(values[name])))
    if not wrong:
        return ""
    return f"figures are missing or not finite ({wrong}); train it anew on cells of both classes"


def _gain(candidate: Candidate, asked: str) -> str:
    assert asked in GAINS
    gain = candidate.gain
    if asked == "any" or (candidate.arm == BASELINE and asked == "possible"):
        return ""
    if candidate.arm == BASELINE:
        return "the leader is the baseline itself, which gains nothing over itself"
    if gain is None:
        return (
            f"nothing is known of its gain over {BASELINE}, which was not run on the same seeds "
            f"and folds; run it, or ask for gain=any"
        )
    if asked == "sure" and not gain.net:
        return (
            f"its gain over {BASELINE}, {gain}, is of too few networks to be sure of: train 2 "
            f"seeds and 2 folds or more"
        )
    if asked == "sure" and not gain.low > 0:
        return f"its gain over {BASELINE}, {gain}, is not surely above 0"
    if not gain.high > 0:
        return f"its gain over {BASELINE}, {gain}, is surely none"
    return ""


def _store(candidate: Candidate) -> str:
    if not candidate.expected:
        return "its manifest names no artifact; train it anew with this version"
    lost = [
        path if path not in candidate.there else f"{path} ({candidate.there[path]} of {size} bytes)"
        for path, size in candidate.expected.items()
        if candidate.there.get(path) != size
    ]
    if not lost:
        return ""
    few = ", ".join(sorted(lost)[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    return f"{len(lost)} of {len(candidate.expected)} artifacts are not in the store ({few}{more})"


def _answers(candidate: Candidate) -> str:
    apart = candidate.difference
    if isinstance(apart, str):
        return apart
    if apart <= SAME:
        return ""
    return (
        f"loaded back, the model answers otherwise than when it was measured: {apart:.1e} apart on "
        f"golden cells, {SAME:.0e} are allowed"
    )
