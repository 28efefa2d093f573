"""By how much a protocol flatters: the same technique on the same cells, split in other ways.

Pure: records and test predictions in, a table and its lines out.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leukemia import RESEARCH_ONLY
from leukemia.errors import UserError
from leukemia.evaluation import comparison, intervals
from leukemia.evaluation.jackknife import Repeats
from leukemia.evaluation.plots import render
from leukemia.ranking import peers
from leukemia.ranking.arms import repeats_of
from leukemia.ranking.networks import Network
from leukemia.ranking.text import aligned

# (what is done, the protocol that does it, the one that does all but that)
STEPS = (
    ("random split", "image", "subject"),
    ("balancing before the split", "thesis", "image"),
    ("both", "thesis", "subject"),
)
OF_RUNS = ("cells", "simulated_data", "budget", "image_size", "note")
MEANS = ("test_acc", "test_wf1", "val_acc", "thesis_acc", "thesis_sens", "thesis_spec",
         "thesis_prec")  # fmt: skip
ORDER = ("subject", "official", "image", "thesis")
BUT_PROTOCOL = [term for term in peers.TERMS if term != "protocol"]


@dataclass(frozen=True, kw_only=True)
class Inflation:
    """A metric under each protocol, and what each mistake adds to it.

    figures: one row an arm and protocol: arm, protocol, runs, value, lo, hi, subjects.
    steps: one row an arm and step: arm, step, difference, lo, hi, p, subjects.
    metric: the test metric that is compared. about: the cells, budget and network in a line.
    """

    figures: pd.DataFrame
    steps: pd.DataFrame
    metric: str
    about: str


def comparable(
    records: pd.DataFrame, terms: str = "", keys: Set[str] | None = None
) -> pd.DataFrame:
    """The runs that agree in all but the protocol, the latest of each seed and fold under each.

    `folds` may differ too where a protocol has its own (the official split).

    Args:
        terms: the first digits of the digest of TERMS but the protocol; "": all runs have the
            same.
        keys: those of the plan of one `inflation` or `study`; None: of any run.

    Raises:
        UserError: there are no such runs, or they are of several terms.
    """
    ordered = peers.planned(records.sort_values("start_time", kind="stable"), keys)
    official = ordered["protocol"] == "official"
    tried = ordered if official.all() else ordered[~official]
    if terms:
        tried = peers.on_terms(tried, terms, BUT_PROTOCOL)
    peers.refuse_mixture(tried, BUT_PROTOCOL)
    without_folds = [term for term in BUT_PROTOCOL if term != "folds"]
    same = peers.digests(ordered, without_folds) == peers.digests(tried, without_folds).iloc[0]
    kept = ordered[same & (official | ordered.index.isin(tried.index))]
    return peers.latest(kept, more=["protocol"])


def measure(records: pd.DataFrame, cells: Mapping[str, Network], metric: str) -> Inflation:
    """The figures and the differences, from comparable records.

    A step's difference is paired by subject: both protocols test cells of the same people,
    and only seeds and folds that both ran are set against each other.

    Raises:
        UserError: no technique ran under two protocols.
    """
    figures, steps = [], []
    for arm, runs in records.groupby("arm", sort=True):
        by_protocol = {str(name): of for name, of in runs.groupby("protocol")}
        if len(by_protocol) < 2:
            continue  # there is nothing to set it against
        for protocol in filter(by_protocol.__contains__, ORDER):
            figures.append(_figure(str(arm), protocol, by_protocol[protocol], cells, metric))
        for step, flattering, honest in STEPS:
            if {flattering, honest} <= set(by_protocol):
                pair = by_protocol[flattering], by_protocol[honest]
                steps.append(_step(str(arm), step, *pair, cells, metric))
    if not steps:
        raise UserError(
            "no technique was run under two protocols on the same terms: run the entry point "
            "inflation, or the technique with another protocol"
        )
    last = records.iloc[-1]
    drawn = f" SIMULATED DATA: {last['simulated_data']}." if last["simulated_data"] else ""
    about = (
        f"Cells: {last['cells']}.{drawn} Budget {last['budget']}, {last['image_size']} px, "
        f"{last['note']}, input scaling {last['scaling']}; real cells only are tested."
    )
    return Inflation(
        figures=pd.DataFrame(figures), steps=pd.DataFrame(steps), metric=metric, about=about
    )


def by_protocol(records: pd.DataFrame, cells: Mapping[str, Network]) -> pd.DataFrame:
    """One row a technique and protocol, with what its runs say of themselves.

    Columns: technique, protocol, runs, seeds, folds, OF_RUNS as the last run has them, the
    means of MEANS (NaN where no run has one), and test_bal_acc with its interval _lo and _hi.
    """
    rows = []
    for (arm, protocol), runs in records.groupby(["arm", "protocol"], sort=True):
        interval = intervals.interval(repeats_of(runs, cells), "bal_acc")
        rows.append(
            {
                "technique": arm, "protocol": protocol, "runs": len(runs),
                "seeds": runs["seed"].nunique(), "folds": runs["fold"].nunique(),
                **{name: runs.iloc[-1][name] for name in OF_RUNS},
                **{name: runs[name].mean() if name in runs else np.nan for name in MEANS},
                "test_bal_acc": interval.value, "test_bal_acc_lo": interval.low,
                "test_bal_acc_hi": interval.high,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def as_text(inflation: Inflation) -> str:
    """The tables and one sentence a technique."""
    parts = [_figures_text(inflation), *_sentences(inflation), inflation.about, RESEARCH_ONLY]
    return "\n\n".join(parts)


def figure(inflation: Inflation) -> np.ndarray:
    """Technique by protocol with intervals, as uint8 (H, W, 3)."""
    drawing = Figure((7.5, 6), dpi=110)
    axes = drawing.add_subplot()
    arms = list(dict.fromkeys(inflation.figures["arm"]))
    shown = [name for name in ORDER if name in set(inflation.figures["protocol"])]
    for place, protocol in enumerate(shown):
        rows = inflation.figures[inflation.figures["protocol"] == protocol].set_index("arm")
        at = np.array([arms.index(arm) for arm in rows.index]) + (place - 1.5) * 0.17
        reach = np.abs(rows[["lo", "hi"]].to_numpy().T - rows["value"].to_numpy())
        axes.errorbar(at, rows["value"], yerr=reach, fmt="o", capsize=3, label=protocol)
    axes.set_xticks(range(len(arms)), arms)
    axes.set_ylabel(f"test {inflation.metric} with 95 % interval over subjects")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(title="protocol", fontsize=9)
    footnote = f"{inflation.about} {RESEARCH_ONLY}"
    return render(drawing, "The same techniques under other protocols", footnote)


def _figure(
    arm: str, protocol: str, runs: pd.DataFrame, cells: Mapping[str, Network], metric: str
) -> dict[str, object]:
    interval = intervals.interval(repeats_of(runs, cells), metric)
    return {
        "arm": arm, "protocol": protocol, "runs": len(runs), "value": interval.value,
        "lo": interval.low, "hi": interval.high, "subjects": interval.subjects,
    }  # fmt: skip


def _step(
    arm: str,
    step: str,
    flattering: pd.DataFrame,
    honest: pd.DataFrame,
    cells: Mapping[str, Network],
    metric: str,
) -> dict[str, object]:
    on = [name for name in ("seed", "split_seed", "fold") if name in flattering]
    both = flattering[on].merge(honest[on])
    a, b = repeats_of(flattering.merge(both), cells), repeats_of(honest.merge(both), cells)
    gap = comparison.difference(a, b, metric)
    if _the_same(a, b):  # such as a baseline, which has nothing to balance before the split
        gap = replace(gap, value=0.0, low=0.0, high=0.0, p=1.0)
    return {
        "arm": arm, "step": step, "difference": gap.value, "lo": gap.low, "hi": gap.high,
        "p": gap.p, "subjects": gap.subjects, "runs": len(both),
    }  # fmt: skip


def _the_same(a: Repeats, b: Repeats) -> bool:
    """Whether both gave the same cells the same scores, in every seed and fold."""
    pairs = zip(chain(*a), chain(*b), strict=True)
    return all(
        np.array_equal(one.cell_id, other.cell_id) and np.array_equal(one.scores, other.scores)
        for one, other in pairs
    )


def _figures_text(inflation: Inflation) -> str:
    table = inflation.figures
    return aligned(
        {
            "technique": table["arm"],
            "protocol": table["protocol"],
            "runs": table["runs"].map(str),
            f"test {inflation.metric}": table["value"].map("{:.3f}".format),
            "95 % interval": [
                f"{a:.3f} to {b:.3f}" for a, b in zip(table["lo"], table["hi"], strict=True)
            ],
            "subjects": table["subjects"].map(str),
        }
    )


def _sentences(inflation: Inflation) -> list[str]:
    lines = []
    for arm, rows in inflation.steps.groupby("arm", sort=True):
        parts = [
            f"{row.step} adds {row.difference:+.3f} [{row.lo:+.3f}, {row.hi:+.3f}]"
            for row in rows.itertuples()
        ]
        lines.append(f"{arm}: {', '.join(parts)} to test {inflation.metric}")
    return ["\n".join(lines)]
