"""Which arm is compared with which, and why; each comparison with its interval and verdict."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from leukemia.evaluation import applicable, comparison
from leukemia.evaluation.comparison import Difference
from leukemia.evaluation.jackknife import Repeats
from leukemia.ranking import power, verdicts
from leukemia.ranking.arms import Arms
from leukemia.ranking.networks import Block
from leukemia.ranking.power import LEVEL
from leukemia.ranking.verdicts import Contrast

BASELINE = "baseline"
CONTROL = "control"  # the baseline in epochs as long as those of a technique that adds cells
LEADER = "it leads"  # why an arm is compared with another that is not its reference
PLANNED = "the plan's contrast"  # why, where neither is the other's reference


def references(table: pd.DataFrame) -> list[Contrast]:
    """What each arm is measured by: the control where it adds cells, else the baseline.

    A technique that adds cells makes epochs longer, and the control has epochs as long without
    any. The control itself is measured by the baseline. Without a baseline there are none.

    Args:
        table: a ranking's, with arm and synthetic.
    """
    arms, contrasts = list(table["arm"]), []
    for arm, added in zip(arms, table["synthetic"], strict=True):
        if arm == BASELINE or BASELINE not in arms:
            continue
        if added > 0 and arm != CONTROL and CONTROL in arms:
            why = "its epochs are longer, and the control's as long"
            contrasts.append(Contrast(arm=arm, against=CONTROL, why=why))
        elif added > 0 and arm != CONTROL:
            why = "its epochs are longer: run control to tell that from the technique"
            contrasts.append(Contrast(arm=arm, against=BASELINE, why=why))
        else:
            contrasts.append(Contrast(arm=arm, against=BASELINE, why="nothing else differs"))
    return contrasts


def compare(
    arms: Arms,
    contrasts: Sequence[Contrast],
    leader: str,
    metric: str,
    planned: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Every contrast, and every other arm against the leader, on the same seeds and folds.

    planned: the arms of the contrast that was named before the study, which has most of the level
    for itself.

    Columns: arm, against, why, difference, lo, hi (paired, over subjects and networks), p,
    adjusted (p corrected for the choice and for all contrasts; NaN where there are too few
    networks for a verdict), detectable (the smallest difference that such a comparison finds in
    80 % of studies), mcnemar and delong (their p, clustered by subject; NaN where they do not hold,
    see `evaluation.applicable`).
    """
    contrasts = _with_planned(contrasts, planned)
    told = {(each.arm, each.against) for each in contrasts}
    with_leader = [
        Contrast(arm=arm, against=leader, why=LEADER)
        for arm in arms.runs
        if arm != leader and not {(arm, leader), (leader, arm)} & told
    ]
    kept, rest = (
        [each for each in some if arms.both(each.arm, each.against)]
        for some in (contrasts, with_leader)
    )
    columns = ["arm", "against", "why", "difference", "lo", "hi", "p", "detectable", "mcnemar",
               "delong"]  # fmt: skip
    rows = [_compared(arms, each, metric, _sharing(each, contrasts)) for each in (*kept, *rest)]
    table = pd.DataFrame(rows, columns=columns)
    of_contrasts, of_leader = np.split(table["p"].to_numpy(float), [len(kept)])
    adjusted = _adjusted(of_contrasts, kept, arms, metric)
    differs = bool((adjusted < LEVEL).any()) or all(each.planned for each in contrasts)
    table.insert(7, "adjusted", np.concatenate([adjusted, _of_leader(of_leader, arms, differs)]))
    return table


def gain(arms: Arms, leader: str, metric: str) -> Difference | None:
    """The leader minus the baseline where both ran; None where that is nothing."""
    both = arms.both(leader, BASELINE)
    if leader == BASELINE or not both:
        return None
    pair = arms.of(leader, BASELINE)
    gap = comparison.of_jackknives(*verdicts.gap(pair, leader, BASELINE, metric), metric)
    return comparison.with_luck(gap, metric, len(both)) if pair.repeats == 1 else gap


def _with_planned(contrasts: Sequence[Contrast], planned: tuple[str, str] | None) -> list[Contrast]:
    """The contrasts, the planned one known as such and among them."""
    if planned is None:
        return list(contrasts)
    marked = [replace(each, planned={each.arm, each.against} == set(planned)) for each in contrasts]
    if any(each.planned for each in marked):
        return marked
    extra = Contrast(arm=planned[0], against=planned[1], why=PLANNED, planned=True)
    return [*marked, extra]


def _sharing(contrast: Contrast, contrasts: Sequence[Contrast]) -> float:
    """How many contrasts, as it were, share the level with one."""
    if contrast.planned:
        return 1 / verdicts.PLANNED_PART
    others = sum(not each.planned for each in contrasts)
    part = 1 if others == len(contrasts) else 1 - verdicts.PLANNED_PART
    return max(others, 1) / part


def _adjusted(p: np.ndarray, contrasts: Sequence[Contrast], arms: Arms, metric: str) -> np.ndarray:
    """Corrected p of the contrasts, of which one may be planned."""
    numbers = range(len(contrasts))
    one, rest = ([n for n in numbers if contrasts[n].planned == is_it] for is_it in (True, False))
    of_one, of_rest = (
        _of_family(p[some], [contrasts[number] for number in some], arms, metric)
        for some in (one, rest)
    )
    if one:
        of_one[0], of_rest = verdicts.with_planned(of_one[0], of_rest)
    adjusted = np.empty(len(contrasts))
    adjusted[one], adjusted[rest] = of_one, of_rest
    return adjusted


def _of_family(p: np.ndarray, contrasts: Sequence[Contrast], arms: Arms, metric: str) -> np.ndarray:
    """p corrected for a family; Holm's where the arms ran on different seeds and folds."""
    if arms.even:
        return verdicts.adjusted(contrasts, arms.whole, metric)
    allowed = [_enough(arms.both(each.arm, each.against)) for each in contrasts]
    return comparison.holm(np.where(np.array(allowed, bool), p, np.nan))


def _of_leader(p: np.ndarray, arms: Arms, differs: bool) -> np.ndarray:
    """Corrected p of comparisons with the leader.

    differs: whether any contrast differs, or there is none: where nothing does, no leader does.
    """
    if not len(p) or not arms.even:
        return np.full(len(p), np.nan)
    corrected = verdicts.against_leader(p, arms.whole)
    return corrected if differs else np.where(np.isnan(corrected), np.nan, 1.0)


def _enough(blocks: Sequence[Block]) -> bool:
    return all(len({each[side] for each in blocks}) >= verdicts.FEWEST for side in (0, 1))


def _compared(arms: Arms, contrast: Contrast, metric: str, contrasts: float) -> dict[str, object]:
    """A row of `compare`. contrasts: how many share the level."""
    both = arms.both(contrast.arm, contrast.against)
    pair = arms.of(contrast.arm, contrast.against)
    of_arm, of_other = verdicts.gap(pair, contrast.arm, contrast.against, metric)
    gap, of_one_seed = comparison.of_jackknives(of_arm, of_other, metric), pair.repeats == 1
    known = verdicts.enough(pair) and not np.isnan(gap.p)
    tests = {"mcnemar": np.nan, "delong": np.nan}
    if of_one_seed:
        gap = comparison.with_luck(gap, metric, len(both))
        tests = _tests(*(arms.of_one_seed(arm, both) for arm in (contrast.arm, contrast.against)))
    return {
        "arm": contrast.arm, "against": contrast.against, "why": contrast.why,
        "difference": gap.value, "lo": gap.low, "hi": gap.high, "p": gap.p,
        "detectable": power.detectable_with(of_arm.less(of_other), contrasts) if known else np.nan,
        **tests,
    }  # fmt: skip


def _tests(a: Repeats, b: Repeats) -> dict[str, float]:
    """p of the tests of these very networks, NaN where a test does not hold."""
    return {
        "mcnemar": np.nan if applicable.not_mcnemar(a) else comparison.mcnemar(a, b).p,
        "delong": np.nan if applicable.not_delong(a) else comparison.delong(a, b).p,
    }
