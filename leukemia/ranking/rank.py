"""Records of runs in, one ordered row a technique out: pure, and without a server.

Ordered by a validation metric, the area under the ROC curve by default: it is the same wherever a
technique has put its scores, while balanced accuracy at 0.5 measures where the threshold sits
(docs/verdicts.md). Test metrics stand beside it and decide only whether two techniques
differ significantly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from leukemia.errors import UserError
from leukemia.evaluation import intervals
from leukemia.evaluation.comparison import Difference
from leukemia.evaluation.jackknife import leave_out
from leukemia.evaluation.metrics import AT_BEST, METRICS, metric_of
from leukemia.evaluation.thresholds import at_best
from leukemia.ranking import arms as runs_of
from leukemia.ranking import comparisons, notes, power, verdicts
from leukemia.ranking.arms import Arms
from leukemia.ranking.comparisons import BASELINE, LEADER, PLANNED
from leukemia.ranking.networks import Network
from leukemia.ranking.power import LEVEL, Pilot
from leukemia.ranking.verdicts import Contrast, Worth
from leukemia.splits import leaks_in

CHOICE = "auroc"  # the metric that the order goes by if no other is asked for
SHOWN = [f"test_{name}" for name, metric in METRICS.items() if metric.shown]
CELLS = ["synthetic", "left_out"]  # that a technique added to training, and took out of it
COSTS = ["balance_s", "train_s", "peak_gib"]
ENERGY = ["balance_wh", "train_wh"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """An order of techniques and how far it can be trusted.

    table: one row an arm, best first (see `rank`). comparisons: one row a paired comparison (see
    `comparisons.compare`). worth: of the whole way of choosing; None where the networks are too
    few. gain: over the baseline: that of `worth`, else the leader's on its own networks; None
    where there is no baseline to compare with, or it leads on its own. pilot: what differences
    vary by, for planning other studies; None where networks are too few to tell. metric: what it
    goes by. notes: what a reader must know, one line each.
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


def rank(
    records: pd.DataFrame,
    cells: Mapping[str, Network],
    metric: str = CHOICE,
    planned: tuple[str, str] | None = None,
) -> Ranking:
    """One row an arm, best first, from comparable records.

    cells: run ID -> its validation and test predictions. metric: a name in `metrics.METRICS`.
    planned: two arms whose comparison was named before any of these runs.

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
    arms = runs_of.of_records(records, cells)
    rows = [_row(arms, str(arm), runs, metric) for arm, runs in records.groupby("arm", sort=True)]
    table = pd.DataFrame(rows).sort_values("val", ascending=sign < 0, kind="stable")
    table = table.reset_index(drop=True)
    contrasts, leader = comparisons.references(table), str(table["arm"].iloc[0])
    compared = comparisons.compare(arms, contrasts, leader, metric, planned)
    table = _with_comparisons(table, compared, sign)
    table.insert(0, "rank", range(1, len(table) + 1))
    worth = verdicts.worth(arms.whole, metric, BASELINE)
    return Ranking(
        table=table,
        comparisons=compared,
        worth=worth,
        gain=worth.gain if worth else comparisons.gain(arms, leader, metric),
        pilot=_pilot(arms, contrasts, metric),
        metric=metric,
        notes=notes.of(arms, records, table, compared),
    )


def _pilot(arms: Arms, contrasts: Sequence[Contrast], metric: str) -> Pilot | None:
    """From the contrasts, or from the repeats of one technique, the baseline if it is there."""
    if contrasts and arms.even and verdicts.enough(arms.whole):
        gaps = [verdicts.gap(arms.whole, each.arm, each.against, metric) for each in contrasts]
        parts = power.mean([power.components_of(one.less(other)) for one, other in gaps])
        return Pilot(components=parts, about=f"{len(contrasts)} differences of techniques")
    first = min(arms.runs, key=lambda arm: (arm != BASELINE, arm))
    own = arms.of(first)
    if own.repeats < verdicts.FEWEST:
        return None
    parts = power.of_one_technique(leave_out(own.alone(first), metric))
    return Pilot(
        components=parts,
        about=f"{own.repeats} repeats of {first} alone, which do not tell what a technique does "
        f"to single subjects in every network alike",
    )


def _row(arms: Arms, arm: str, runs: pd.DataFrame, metric: str) -> dict[str, object]:
    chosen = f"val_{metric}"
    lowest_first = not metric_of(metric).higher_is_better
    best = runs.sort_values([chosen, "seed", "fold"], ascending=[lowest_first, True, True]).iloc[0]
    by_seed = runs.groupby(runs_of.repeat_of(runs))[chosen].mean()
    own = arms.of(arm)
    counts = own.alone(arm)
    interval = intervals.of_counts(counts, metric_of(metric))
    spread = power.spread(leave_out(counts, metric), arms.splits(own))
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


def _mean(runs: pd.DataFrame, name: str) -> float:
    """The mean over the runs that have the metric; NaN where none has."""
    return float(runs[name].mean()) if name in runs else float("nan")


def _with_comparisons(table: pd.DataFrame, compared: pd.DataFrame, sign: int) -> pd.DataFrame:
    """The table with each arm's difference to its reference and to the leader, and its price.

    sign: -1 where a lower value of the metric is better.
    """
    leader = table["arm"].iloc[0]
    told = compared[~compared["why"].isin([LEADER, PLANNED])].set_index("arm")
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
