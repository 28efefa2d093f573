"""Records of runs in, one ordered row a technique out: pure, and without a server.

Ordered by a validation metric, balanced accuracy by default. Test metrics stand beside it and
decide only whether two techniques differ significantly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukemia.errors import UserError
from leukemia.evaluation import comparison, intervals
from leukemia.evaluation.jackknife import Repeats
from leukemia.evaluation.metrics import METRICS, metric_of
from leukemia.evaluation.predictions import Predictions
from leukemia.splits import leaks_in

CHOICE = "bal_acc"  # the metric that the order goes by if no other is asked for
LEVEL = 0.05  # two techniques differ significantly where the corrected p is below
BASELINE = "baseline"
SHOWN = [f"test_{name}" for name, metric in METRICS.items() if metric.shown]
CELLS = ["synthetic", "left_out"]  # that a technique added to training, and took out of it
COSTS = ["balance_s", "train_s", "peak_gib"]
ENERGY = ["balance_wh", "train_wh"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """An order of techniques and how far it can be trusted.

    table: one row an arm, best first (see `rank`). comparisons: one row a paired comparison.
    metric: what it goes by. notes: what a reader must know, one line each.
    """

    table: pd.DataFrame
    comparisons: pd.DataFrame
    metric: str
    notes: tuple[str, ...]

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


def rank(records: pd.DataFrame, tested: Mapping[str, Predictions], metric: str = CHOICE) -> Ranking:
    """One row an arm, best first, from comparable records.

    tested: run ID -> its test predictions. metric: a name in `metrics.METRICS`.

    Columns of the table: rank, tie (not significantly different from the leader on test cells),
    arm, runs, seeds, val and val_sd (mean and standard deviation over seeds; 0 for one seed),
    test, lo, hi (over subjects and seeds), subjects, the means of SHOWN, CELLS and COSTS (NaN
    where no run has them), wh (NaN where the machine reports none), overfits (share of the runs
    whose verdict says so, of `verdicts` runs that have one), base and base_p, lead and lead_p
    (paired differences and corrected p), s_per_point (extra seconds for each percentage point
    gained over the baseline, NaN without a gain), run_id (the arm's run that is best on
    validation). Equal means are ordered by arm's name.
    """
    sign = metric_of(metric).sign
    rows = [_row(str(arm), runs, tested, metric) for arm, runs in records.groupby("arm", sort=True)]
    table = pd.DataFrame(rows).sort_values("val", ascending=sign < 0, kind="stable")
    table = table.reset_index(drop=True)
    compared = compare(records, tested, list(table["arm"]), metric)
    table = _with_comparisons(table, compared, sign)
    table.insert(0, "rank", range(1, len(table) + 1))
    notes = tuple(filter(None, [uneven(records), ties(table), shared(records)]))
    return Ranking(table=table, comparisons=compared, metric=metric, notes=notes)


def compare(
    records: pd.DataFrame, tested: Mapping[str, Predictions], order: list[str], metric: str
) -> pd.DataFrame:
    """Every arm against the baseline and against the leader, on the same seeds and folds.

    Columns: arm, against, difference, lo, hi (paired, over subjects and seeds), p, holm (p
    corrected for all the comparisons here), mcnemar and delong (their p, clustered by subject;
    NaN with several seeds: they test networks as trained, so that over seeds p is too small).
    """
    pairs = [(arm, order[0]) for arm in order[1:]]
    if BASELINE in order[1:]:  # with the leader it is compared already
        pairs += [(arm, BASELINE) for arm in order[1:] if arm != BASELINE]
    rows = []
    for arm, against in pairs:
        a, b = _paired(records, tested, arm, against)
        if not a:
            continue
        gap = comparison.difference(a, b, metric)
        of_one_seed = len(a) == 1
        rows.append(
            {
                "arm": arm, "against": against, "difference": gap.value, "lo": gap.low,
                "hi": gap.high, "p": gap.p,
                "mcnemar": comparison.mcnemar(a, b).p if of_one_seed else np.nan,
                "delong": comparison.delong(a, b).p if of_one_seed else np.nan,
            }
        )  # fmt: skip
    columns = ["arm", "against", "difference", "lo", "hi", "p", "mcnemar", "delong"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(6, "holm", comparison.holm(table["p"].to_numpy()))
    return table


def uneven(records: pd.DataFrame) -> str:
    """A warning where arms were run on different seeds or folds, else ""."""
    runs = {
        str(arm): ",".join(f"{seed}/{fold}" for seed, fold in sorted(zip(*columns, strict=True)))
        for arm, columns in (
            (arm, (of_arm["seed"], of_arm["fold"])) for arm, of_arm in records.groupby("arm")
        )
    }
    if len(set(runs.values())) <= 1:
        return ""
    by_arm = "; ".join(f"{arm}: {of_arm}" for arm, of_arm in runs.items())
    return (
        f"the techniques ran on different seeds/folds ({by_arm}): their means are not of the same "
        f"splits, and pairs are compared where both ran"
    )


def ties(table: pd.DataFrame) -> str:
    """The arms that do not differ significantly from the leader, in a line; "" where all do."""
    tied = table["arm"][1:][table["tie"][1:].astype(bool)]
    if tied.empty:
        return ""
    return (
        f"TIE: on these test cells {table['arm'].iloc[0]} does not differ significantly from "
        f"{', '.join(tied)} (paired difference over subjects, p corrected by Holm not below "
        f"{LEVEL:g}); their order may be chance"
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


def repeats_of(runs: pd.DataFrame, tested: Mapping[str, Predictions]) -> Repeats:
    """The test cells of one arm's runs: seeds, and within each its folds."""
    return [
        [tested[run_id] for run_id in of_seed.sort_values("fold")["run_id"]]
        for _, of_seed in runs.groupby("seed")
    ]


def _paired(
    records: pd.DataFrame, tested: Mapping[str, Predictions], arm: str, against: str
) -> tuple[Repeats, Repeats]:
    """The runs of two arms on the seeds and folds that both ran."""
    of_arm, of_other = records[records["arm"] == arm], records[records["arm"] == against]
    on = ["seed", "fold"]
    both = of_arm[on].merge(of_other[on])
    return repeats_of(of_arm.merge(both), tested), repeats_of(of_other.merge(both), tested)


def _row(
    arm: str, runs: pd.DataFrame, tested: Mapping[str, Predictions], metric: str
) -> dict[str, object]:
    chosen = f"val_{metric}"
    lowest_first = not metric_of(metric).higher_is_better
    best = runs.sort_values([chosen, "seed", "fold"], ascending=[lowest_first, True, True]).iloc[0]
    by_seed = runs.groupby("seed")[chosen].mean()
    interval = intervals.interval(repeats_of(runs, tested), metric)
    energy = [runs[name].mean() for name in ENERGY if name in runs]
    return {
        "arm": arm,
        "runs": len(runs),
        "seeds": len(by_seed),
        "val": by_seed.mean(),
        "val_sd": by_seed.std(ddof=1) if len(by_seed) > 1 else 0.0,
        "test": interval.value,
        "lo": interval.low,
        "hi": interval.high,
        "subjects": interval.subjects,
        **{name: _mean(runs, name) for name in (*SHOWN, *CELLS, *COSTS)},
        "wh": sum(energy) if energy else float("nan"),
        "overfits": _mean(runs, "overfits"),
        "verdicts": int(runs["overfits"].notna().sum()) if "overfits" in runs else 0,
        "run_id": best["run_id"],
    }


def _mean(runs: pd.DataFrame, name: str) -> float:
    """The mean over the runs that have the metric; NaN where none has."""
    return float(runs[name].mean()) if name in runs else float("nan")


def _with_comparisons(table: pd.DataFrame, compared: pd.DataFrame, sign: int) -> pd.DataFrame:
    """The table with each arm's difference to the baseline and to the leader, and its price.

    sign: -1 where a lower value of the metric is better.
    """
    leader = table["arm"].iloc[0]
    turned = compared.rename(columns={"arm": "against", "against": "arm"})
    turned["difference"] = -turned["difference"]
    both_ways = pd.concat([compared, turned])
    for name, against in (("base", BASELINE), ("lead", leader)):
        of = both_ways[both_ways["against"] == against].set_index("arm")
        table[name] = table["arm"].map(of["difference"])
        table[f"{name}_p"] = table["arm"].map(of["holm"])
    table["tie"] = (table["arm"] != leader) & ~(table["lead_p"] < LEVEL)
    seconds = table["balance_s"] + table["train_s"]
    usual = seconds[table["arm"] == BASELINE]
    extra = seconds - (usual.iloc[0] if len(usual) else np.nan)
    gained = 100 * sign * table["base"]
    table["s_per_point"] = (extra / gained).where(gained > 0)
    return table
