"""What a reader of a ranking must know, one line each."""

import pandas as pd

from leukemia.ranking import power, verdicts
from leukemia.ranking.arms import Arms
from leukemia.ranking.power import LEVEL


def of(
    arms: Arms, records: pd.DataFrame, table: pd.DataFrame, compared: pd.DataFrame
) -> tuple[str, ...]:
    """The lines of a ranking's records, table and comparisons."""
    lines = uneven(arms), few(arms), ties(table, compared), smallest(compared), shared(records)
    return tuple(filter(None, lines))


def uneven(arms: Arms) -> str:
    """A warning where arms were run on different seeds or folds, else ""."""
    if arms.even:
        return ""
    by_arm = "; ".join(
        f"{arm}: {','.join(f'{repeat}/{fold}' for repeat, fold in sorted(blocks))}"
        for arm, blocks in arms.runs.items()
    )
    return (
        f"the techniques ran on different seeds/folds ({by_arm}): their means are not of the same "
        f"splits, and pairs are compared where both ran"
    )


def few(arms: Arms) -> str:
    """A warning where there are too few networks for any verdict, else ""."""
    blocks = {block for of_arm in arms.runs.values() for block in of_arm}
    seeds, folds = (len({block[side] for block in blocks}) for side in (0, 1))
    if seeds >= verdicts.FEWEST and folds >= verdicts.FEWEST:
        return ""
    what = "one network an arm" if seeds * folds == 1 else f"{seeds} seed(s) x {folds} fold(s)"
    return (
        f"NO VERDICT: {what}: their luck is not measured, so nothing is called different; "
        f"intervals of differences allow for the luck of a typical network where it is known; a "
        f"verdict needs {verdicts.FEWEST} seeds and {verdicts.FEWEST} folds or more"
    )


def ties(table: pd.DataFrame, compared: pd.DataFrame) -> str:
    """The arms that do not differ significantly from the leader, in a line; "" where all do."""
    tied = table["arm"][1:][table["tie"][1:].astype(bool)]
    if tied.empty or compared["adjusted"].isna().all():
        return ""
    return (
        f"TIE: on these test cells {table['arm'].iloc[0]} does not differ significantly from "
        f"{', '.join(tied)} (paired difference over subjects and networks, p corrected for the "
        f"choice and for all comparisons not below {LEVEL:g}); their order may be chance"
    )


def smallest(compared: pd.DataFrame) -> str:
    """The minimum detectable difference, in a line; "" where it is not known."""
    known = compared["detectable"].dropna()
    if known.empty:
        return ""
    return (
        f"MINIMUM DETECTABLE DIFFERENCE: these networks and subjects find a true difference of "
        f"{known.min():.3f} to {known.max():.3f} in {power.ASKED:.0%} of studies; a smaller one is "
        f"mostly missed, so a tie does not say that techniques are equal"
    )


def shared(records: pd.DataFrame) -> str:
    """A warning where runs went side by side, else ""."""
    at_a_time = sorted(set(records.get("workers", pd.Series(dtype=str)).fillna("1")), key=int)
    if at_a_time in ([], ["1"]):
        return ""
    return (
        f"COSTS: runs shared the machine ({' or '.join(at_a_time)} at a time): their seconds are "
        f"longer than alone, and energy is that of all"
    )
