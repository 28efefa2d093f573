"""Whether a study came as planned, and what deviates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from leukemia.ranking.power import LEVEL
from leukemia.ranking.verdicts import PLANNED_PART
from leukemia.study.plan import AUTO, Plan

# Keys whose value is a tag of each run, under the same name.
TAGS = ("data_digest", "protocol", "folds", "budget", "image_size", "crop", "scaling", "backbone",
        "batch_size")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a plan. line: as planned, or all that deviates. contrast: the two arms whose
    comparison has most of the level for itself; None where it has not."""

    line: str
    contrast: tuple[str, str] | None


def verdict(plan: Plan, ranked: pd.DataFrame, metric: str, logged: pd.Timestamp) -> Verdict:
    """Whether a study came as planned, and whether its contrast was named before it.

    Args:
        ranked: one row a run that is ranked: technique, arm, seed, fold, start_time and its terms.
        metric: that the order goes by.
        logged: when the plan was first logged.
    """
    technique, against = plan.values["contrast"]
    deviates = deviations(plan, ranked, metric)
    if deviates:
        line = f"NOT as planned ({plan.name}): {'; '.join(deviates)}"
        return Verdict(line=line, contrast=None)
    planned = f"as planned ({plan.name}); the planned contrast is {technique} against {against}"
    older = int((ranked["start_time"] < logged).sum())
    if older:
        line = (
            f"{planned}, which is one comparison among others: {older} of {len(ranked)} runs are "
            f"older than the plan"
        )
        return Verdict(line=line, contrast=None)
    if not {technique, against} <= set(ranked["arm"]):  # it ran with other settings
        return Verdict(line=planned, contrast=None)
    line = f"{planned}, which has {PLANNED_PART * LEVEL:.2f} of the level of {LEVEL:g} for itself"
    return Verdict(line=line, contrast=(technique, against))


def deviations(plan: Plan, ranked: pd.DataFrame, metric: str) -> list[str]:
    """What is otherwise than planned, each in some words; as `verdict`."""
    values = plan.values
    there, wanted = set(ranked["technique"]), values["techniques"]
    missing = [name for name in wanted if name not in there]
    return [
        *[f"no run of {', '.join(missing)}"] * bool(missing),
        *(f"{name} is not in the plan" for name in sorted(there - set(wanted))),
        *[f"ordered by {metric} instead of {values['metric']}"] * (metric != values["metric"]),
        *_instead("seeds", set(ranked["seed"]), values["seeds"]),
        *_instead("test folds", set(ranked["fold"]), _planned_folds(values, ranked)),
        *_splits(values, ranked),
        *_gaps(ranked),
        *_terms(values, ranked),
    ]


def _instead(what: str, there: set[int], wanted: Iterable[int] | None) -> list[str]:
    if wanted is None or there == set(wanted):
        return []
    return [f"{what} {_listed(there)} instead of {_listed(wanted)}"]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


def _planned_folds(values: Mapping[str, Any], ranked: pd.DataFrame) -> Iterable[int] | None:
    wanted = values.get("test_folds")
    return range(int(ranked["folds"].iloc[-1])) if wanted == "all" else wanted


def _splits(values: Mapping[str, Any], ranked: pd.DataFrame) -> list[str]:
    """Where a number of repeats is planned: that so many splits were drawn."""
    wanted = values.get("repeats", 0)
    drawn = ranked["split_seed"].nunique() if "split_seed" in ranked else 1
    return [f"{drawn} repeats instead of {wanted}"] if wanted and drawn != wanted else []


def _gaps(ranked: pd.DataFrame) -> list[str]:
    """Seeds and folds that no technique ran, or not every one."""
    by = [name for name in ("seed", "split_seed", "fold") if name in ranked]
    runs_of = {
        str(name): set(of[by].itertuples(index=False, name=None))
        for name, of in ranked.groupby("technique")
    }
    every = set().union(*runs_of.values())
    pairs = {(row[0], row[-1]) for row in every}
    absent = set(product(set(ranked["seed"]), set(ranked["fold"]))) - pairs
    return [
        *(f"no run of seed {seed} fold {fold}" for seed, fold in sorted(absent)),
        *(
            f"{name} lacks {len(every - own)} of {len(every)} runs"
            for name, own in runs_of.items()
            if every - own
        ),
    ]


def _terms(values: Mapping[str, Any], ranked: pd.DataFrame) -> list[str]:
    last = ranked.iloc[-1]
    told = []
    for name in TAGS:
        wanted = values.get(name, AUTO)
        of_its_own = name == "folds" and last["protocol"] == "official"
        if wanted != AUTO and not of_its_own and str(last[name]) != str(wanted):
            told.append(f"{name} {last[name]} instead of {wanted}")
    weights = values.get("backbone_weights", AUTO)
    if weights != AUTO and str(last["weights"]) != Path(weights).name:
        told.append(f"backbone weights {last['weights']} instead of {weights}")
    return told
