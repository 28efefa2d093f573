"""Records of runs in, one ordered row a technique out: pure, and without a server.

Ordered by a validation metric, the area under the ROC curve by default: it is the same wherever a
technique has put its scores, while balanced accuracy at 0.5 measures where the threshold sits
(docs/verdicts.md). Test metrics stand beside it and decide only whether two techniques
differ significantly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukemia.errors import UserError
from leukemia.evaluation import applicable, comparison, intervals
from leukemia.evaluation.comparison import Difference
from leukemia.evaluation.jackknife import Repeats, leave_out
from leukemia.evaluation.metrics import AT_BEST, METRICS, metric_of
from leukemia.evaluation.thresholds import at_best
from leukemia.ranking import networks as study
from leukemia.ranking import power, verdicts
from leukemia.ranking.networks import Block, Network
from leukemia.ranking.power import LEVEL, Pilot
from leukemia.ranking.verdicts import Contrast, Worth
from leukemia.splits import leaks_in

CHOICE = "auroc"  # the metric that the order goes by if no other is asked for
BASELINE = "baseline"
CONTROL = "control"  # the baseline in epochs as long as those of a technique that adds cells
SHOWN = [f"test_{name}" for name, metric in METRICS.items() if metric.shown]
CELLS = ["synthetic", "left_out"]  # that a technique added to training, and took out of it
COSTS = ["balance_s", "train_s", "peak_gib"]
ENERGY = ["balance_wh", "train_wh"]
LEADER = "it leads"  # why an arm is compared with another that is not its reference


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """An order of techniques and how far it can be trusted.

    table: one row an arm, best first (see `rank`). comparisons: one row a paired comparison (see
    `compare`). worth: of the whole way of choosing; None where the networks are too few. gain:
    over the baseline: that of `worth`, else the leader's on its own networks; None where there is
    no baseline to compare with, or it leads on its own. pilot: what differences vary by, for
    planning other studies; None where networks are too few to tell. metric: what it goes by.
    notes: what a reader must know, one line each.
    """

    table: pd.DataFrame
    comparisons: pd.DataFrame
    worth: Worth | None
    gain: Difference | None
    pilot: Pilot | None
    metric: str
    notes: tuple[str, ...]

    @property
    def references(self) -> dict[str, str]:
        """Each arm in the ranking's order -> the one that it is measured by, "" for none."""
        against = ["" if pd.isna(arm) else str(arm) for arm in self.table["against"]]
        return dict(zip(self.table["arm"].map(str), against, strict=True))

    @property
    def leader(self) -> str:
        """The ID of the best arm's best run on validation."""
        return str(self.table["run_id"].iloc[0])


def refuse_leaks(records: pd.DataFrame, waived: set[str]) -> str:
    """One line on the leaks that are waived; "" where no audit found any.

    Raises:
        UserError: the audit of a run found a leak that is not waived.
    """
    leaks = records["leaks"].map(leaks_in)
    kinds = set().union(*leaks)
    if kinds - waived:
        count = int(leaks.map(lambda of_run: bool(of_run - waived)).sum())
        raise UserError(
            f"the audit of {count} of {len(records)} runs found leaks "
            f"({', '.join(sorted(kinds - waived))}), so their figures flatter; see audit/ in a "
            f"run, mend the data or the protocol, or rank all the same with "
            f"waive={','.join(sorted(kinds))}"
        )
    if not kinds:
        return ""
    return f"WAIVED findings of the audit: {', '.join(sorted(kinds))}; these figures flatter"


def rank(records: pd.DataFrame, cells: Mapping[str, Network], metric: str = CHOICE) -> Ranking:
    """One row an arm, best first, from comparable records.

    cells: run ID -> its validation and test predictions. metric: a name in `metrics.METRICS`.

    Columns of the table: rank, tie (not significantly different from the leader on test cells),
    arm, runs, seeds, val and val_sd (mean and standard deviation over seeds; NaN for one seed),
    test, lo, hi (over subjects and networks), subjects, sd_subjects, sd_splits, sd_networks (what
    each adds to the deviation of `test`, NaN where it is not told apart), the means of SHOWN, CELLS
    and COSTS (NaN where no run has them), wh (NaN where the machine reports none), overfits (share
    of the runs whose verdict says so, of `verdicts` runs that have one), against (the arm that it
    is measured by), gain and gain_p (paired difference to that and its corrected p), lead and
    lead_p (to the leader), s_per_point (extra seconds for each percentage point gained, NaN where
    the gain's interval holds 0), run_id (the arm's run that is best on validation). Equal means are
    ordered by arm's name.
    """
    sign = metric_of(metric).sign
    if metric in AT_BEST:
        cells = {run_id: _called_at_best(network) for run_id, network in cells.items()}
    whole = networks_of(records, cells)
    rows = [
        _row(str(arm), runs, whole if _even(records) else networks_of(runs, cells), metric)
        for arm, runs in records.groupby("arm", sort=True)
    ]
    table = pd.DataFrame(rows).sort_values("val", ascending=sign < 0, kind="stable")
    table = table.reset_index(drop=True)
    contrasts = references(table)
    compared = compare(records, cells, whole, contrasts, str(table["arm"].iloc[0]), metric)
    table = _with_comparisons(table, compared, sign)
    table.insert(0, "rank", range(1, len(table) + 1))
    notes = (
        uneven(records),
        few(records),
        ties(table, compared),
        smallest(compared),
        shared(records),
    )
    worth = verdicts.worth(whole, metric, BASELINE)
    return Ranking(
        table=table,
        comparisons=compared,
        worth=worth,
        gain=worth.gain if worth else _leader_s_gain(records, cells, table, metric),
        pilot=_pilot(records, cells, whole, contrasts, metric),
        metric=metric,
        notes=tuple(filter(None, notes)),
    )


def references(table: pd.DataFrame) -> list[Contrast]:
    """What each arm is measured by: the control where it adds cells, else the baseline.

    A technique that adds cells makes epochs longer, and the control has epochs as long without
    any. The control itself is measured by the baseline. Without a baseline there are none.
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
    records: pd.DataFrame,
    cells: Mapping[str, Network],
    whole: study.Networks,
    contrasts: list[Contrast],
    leader: str,
    metric: str,
) -> pd.DataFrame:
    """Every contrast, and every other arm against the leader, on the same seeds and folds.

    Columns: arm, against, why, difference, lo, hi (paired, over subjects and networks), p,
    adjusted (p corrected for the choice and for all contrasts; NaN where there are too few
    networks for a verdict), detectable (the smallest difference that such a comparison finds in
    80 % of studies), mcnemar and delong (their p, clustered by subject; NaN where they do not hold,
    see `evaluation.applicable`).
    """
    told = {(each.arm, each.against) for each in contrasts}
    others = [str(arm) for arm in records["arm"].unique() if arm != leader]
    with_leader = [
        Contrast(arm=arm, against=leader, why=LEADER)
        for arm in sorted(others)
        if not {(arm, leader), (leader, arm)} & told
    ]
    rows = [
        row
        for contrast in [*contrasts, *with_leader]
        if (row := _compared(records, cells, whole, contrast, metric, len(contrasts)))
    ]
    columns = ["arm", "against", "why", "difference", "lo", "hi", "p", "detectable", "mcnemar",
               "delong"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    kept = [each for each in contrasts if _both(records, each)]
    of_contrasts, of_leader = np.split(table["p"].to_numpy(float), [len(kept)])
    adjusted = _adjusted(of_contrasts, kept, whole, records, metric)
    rest = np.full(len(of_leader), np.nan)
    if len(rest) and _even(records):
        rest = verdicts.against_leader(of_leader, whole)
        if contrasts and not (adjusted < LEVEL).any():  # nothing differs: then no leader does
            rest = np.where(np.isnan(rest), np.nan, 1.0)
    table.insert(7, "adjusted", np.concatenate([adjusted, rest]))
    return table


def networks_of(records: pd.DataFrame, cells: Mapping[str, Network]) -> study.Networks:
    """The networks that all arms of the records have."""
    return study.of_runs(
        {
            arm: {block: cells[run_id] for block, run_id in blocks.items()}
            for arm, blocks in _blocks(records).items()
        }
    )


def uneven(records: pd.DataFrame) -> str:
    """A warning where arms were run on different seeds or folds, else ""."""
    runs = {
        arm: ",".join(f"{repeat}/{fold}" for repeat, fold in sorted(blocks))
        for arm, blocks in _blocks(records).items()
    }
    if len(set(runs.values())) <= 1:
        return ""
    by_arm = "; ".join(f"{arm}: {of_arm}" for arm, of_arm in runs.items())
    return (
        f"the techniques ran on different seeds/folds ({by_arm}): their means are not of the same "
        f"splits, and pairs are compared where both ran"
    )


def few(records: pd.DataFrame) -> str:
    """A warning where there are too few networks for any verdict, else ""."""
    seeds, folds = repeat_of(records).nunique(), records["fold"].nunique()
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


def repeats_of(runs: pd.DataFrame, cells: Mapping[str, Network]) -> Repeats:
    """The test cells of one arm's runs: seeds, and within each its folds."""
    return [
        [cells[run_id].test for run_id in of_seed.sort_values("fold")["run_id"]]
        for _, of_seed in runs.groupby(repeat_of(runs))
    ]


def repeat_of(runs: pd.DataFrame) -> pd.Series:
    """Of each run, which repetition of all folds it is part of: its seed, on its split.

    Runs of before had no seed of the split; it was that of the run.
    """
    seeds = runs["seed"].astype(int)
    splits = runs["split_seed"].astype(int) if "split_seed" in runs else seeds
    texts = [
        f"{seed}" if seed == split else f"{seed} of split {split}"
        for seed, split in zip(seeds, splits, strict=True)
    ]
    return pd.Series(texts, index=runs.index, name="repeat", dtype=str)


def _leader_s_gain(
    records: pd.DataFrame, cells: Mapping[str, Network], table: pd.DataFrame, metric: str
) -> Difference | None:
    """The leader minus the baseline where both ran; None where that is nothing."""
    leader = str(table["arm"].iloc[0])
    both = _both(records, Contrast(arm=leader, against=BASELINE, why=""))
    if leader == BASELINE or not both:
        return None
    pair = networks_of(records[records["arm"].isin([leader, BASELINE])], cells)
    gap = comparison.of_jackknives(*verdicts.gap(pair, leader, BASELINE, metric), metric)
    return comparison.with_luck(gap, metric, len(both)) if pair.repeats == 1 else gap


def _pilot(
    records: pd.DataFrame,
    cells: Mapping[str, Network],
    whole: study.Networks,
    contrasts: list[Contrast],
    metric: str,
) -> Pilot | None:
    """From the contrasts, or from the repeats of one technique, the baseline if it is there."""
    if contrasts and _even(records) and verdicts.enough(whole):
        gaps = [verdicts.gap(whole, each.arm, each.against, metric) for each in contrasts]
        parts = power.mean([power.components_of(one.less(other)) for one, other in gaps])
        return Pilot(components=parts, about=f"{len(contrasts)} differences of techniques")
    arms = sorted(_blocks(records), key=lambda arm: arm != BASELINE)
    own = networks_of(records[records["arm"] == arms[0]], cells)
    if own.repeats < verdicts.FEWEST:
        return None
    parts = power.of_one_technique(leave_out(own.alone(arms[0]), metric))
    return Pilot(
        components=parts,
        about=f"{own.repeats} repeats of {arms[0]} alone, which do not tell what a technique does "
        f"to single subjects in every network alike",
    )


def _adjusted(
    p: np.ndarray,
    contrasts: list[Contrast],
    whole: study.Networks,
    records: pd.DataFrame,
    metric: str,
) -> np.ndarray:
    """Corrected p of the contrasts; Holm's where the arms ran on different seeds and folds."""
    if _even(records):
        return verdicts.adjusted(contrasts, whole, metric)
    allowed = [_enough(_both(records, each)) for each in contrasts]
    return comparison.holm(np.where(np.array(allowed, bool), p, np.nan))


def _blocks(records: pd.DataFrame) -> dict[str, dict[Block, str]]:
    """Arm -> (repeat, fold) -> run ID."""
    blocks: dict[str, dict[Block, str]] = {}
    columns = (records["arm"], repeat_of(records), records["fold"], records["run_id"])
    for arm, repeat, fold, run_id in zip(*columns, strict=True):
        blocks.setdefault(str(arm), {})[repeat, int(fold)] = str(run_id)
    return dict(sorted(blocks.items()))


def _even(records: pd.DataFrame) -> bool:
    """Whether all arms ran on the same seeds and folds."""
    first, *others = (set(blocks) for blocks in _blocks(records).values())
    return all(first == other for other in others)


def _both(records: pd.DataFrame, contrast: Contrast) -> set[Block]:
    """The seeds and folds that both arms ran."""
    blocks = _blocks(records)
    return set(blocks.get(contrast.arm, {})) & set(blocks.get(contrast.against, {}))


def _enough(blocks: set[Block]) -> bool:
    return all(len({each[side] for each in blocks}) >= verdicts.FEWEST for side in (0, 1))


def _compared(
    records: pd.DataFrame,
    cells: Mapping[str, Network],
    whole: study.Networks,
    contrast: Contrast,
    metric: str,
    contrasts: int,
) -> dict[str, object]:
    """A row of `compare`, {} where the arms ran on no common seed and fold."""
    both = _both(records, contrast)
    if not both:
        return {}
    arms = contrast.arm, contrast.against
    pair = whole if _even(records) else networks_of(records[records["arm"].isin(arms)], cells)
    of_arm, of_other = verdicts.gap(pair, *arms, metric)
    gap, of_one_seed = comparison.of_jackknives(of_arm, of_other, metric), pair.repeats == 1
    known = verdicts.enough(pair) and not np.isnan(gap.p)
    tests = {"mcnemar": np.nan, "delong": np.nan}
    if of_one_seed:
        gap = comparison.with_luck(gap, metric, len(both))
        a, b = ([[cells[_blocks(records)[arm][block]].test for block in sorted(both)]]
                for arm in arms)  # fmt: skip
        if not applicable.not_mcnemar(a):
            tests["mcnemar"] = comparison.mcnemar(a, b).p
        if not applicable.not_delong(a):
            tests["delong"] = comparison.delong(a, b).p
    return {
        "arm": contrast.arm, "against": contrast.against, "why": contrast.why,
        "difference": gap.value, "lo": gap.low, "hi": gap.high, "p": gap.p,
        "detectable": power.detectable_with(of_arm.less(of_other), contrasts) if known else np.nan,
        **tests,
    }  # fmt: skip


def _row(arm: str, runs: pd.DataFrame, own: study.Networks, metric: str) -> dict[str, object]:
    chosen = f"val_{metric}"
    lowest_first = not metric_of(metric).higher_is_better
    best = runs.sort_values([chosen, "seed", "fold"], ascending=[lowest_first, True, True]).iloc[0]
    by_seed = runs.groupby(repeat_of(runs))[chosen].mean()
    counts = own.alone(arm)
    interval = intervals.of_counts(counts, metric_of(metric))
    spread = power.spread(leave_out(counts, metric), _splits(runs, own))
    energy = [runs[name].mean() for name in ENERGY if name in runs]
    return {
        "arm": arm,
        "runs": len(runs),
        "seeds": len(by_seed),
        "val": by_seed.mean(),
        "val_sd": by_seed.std(ddof=1),
        "test": interval.value,
        "lo": interval.low,
        "hi": interval.high,
        "subjects": interval.subjects,
        **{f"sd_{name}": value for name, value in spread.items()},
        **{name: _mean(runs, name) for name in (*SHOWN, *CELLS, *COSTS)},
        "wh": sum(energy) if energy else float("nan"),
        "overfits": _mean(runs, "overfits"),
        "verdicts": int(runs["overfits"].notna().sum()) if "overfits" in runs else 0,
        "run_id": best["run_id"],
    }


def _called_at_best(network: Network) -> Network:
    """Both sides as called from the threshold that is best on validation."""
    validation, test = (
        at_best(network.validation, side) for side in (network.validation, network.test)
    )
    return Network(validation=validation, test=test)


def _splits(runs: pd.DataFrame, own: study.Networks) -> list[int]:
    """The seed of the split of each repeat, in the order of `own`."""
    splits = runs["split_seed"] if "split_seed" in runs else runs["seed"]
    by_repeat = dict(zip(repeat_of(runs), splits.astype(int), strict=True))
    return [by_repeat[repeat] for repeat in dict.fromkeys(repeat for repeat, _ in own.blocks)]


def _mean(runs: pd.DataFrame, name: str) -> float:
    """The mean over the runs that have the metric; NaN where none has."""
    return float(runs[name].mean()) if name in runs else float("nan")


def _with_comparisons(table: pd.DataFrame, compared: pd.DataFrame, sign: int) -> pd.DataFrame:
    """The table with each arm's difference to its reference and to the leader, and its price.

    sign: -1 where a lower value of the metric is better.
    """
    leader = table["arm"].iloc[0]
    told = compared[compared["why"] != LEADER].set_index("arm")
    table["against"] = table["arm"].map(told["against"])
    table["gain"], table["gain_p"] = (
        table["arm"].map(told[name]) for name in ("difference", "adjusted")
    )
    turned = compared.rename(columns={"arm": "against", "against": "arm"})
    turned["difference"] = -turned["difference"]
    with_leader = pd.concat([compared, turned])
    with_leader = with_leader[with_leader["against"] == leader].set_index("arm")
    table["lead"], table["lead_p"] = (
        table["arm"].map(with_leader[name]) for name in ("difference", "adjusted")
    )
    table["tie"] = (table["arm"] != leader) & ~(table["lead_p"] < LEVEL)
    seconds = (table["balance_s"] + table["train_s"]).set_axis(table["arm"])
    usual = table["against"].map(seconds)
    extra = seconds.to_numpy() - usual
    sure = table["arm"].map(told["lo"] * told["hi"]) > 0
    gained = 100 * sign * table["gain"]
    table["s_per_point"] = (extra / gained).where((gained > 0) & sure)
    return table
