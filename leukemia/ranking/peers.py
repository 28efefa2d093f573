"""Which finished runs are set against each other: those of one set of terms, and of a study's plan.

Pure: records in, records out. Where there are several sets of terms nothing is chosen silently:
the error lists them, and whoever asks names one.
"""

from collections.abc import Sequence, Set
from hashlib import sha256

import pandas as pd

from leukemia.errors import UserError
from leukemia.ranking.rank import CHOICE
from leukemia.splits import APART

# Runs can be set against each other only where all of these are the same.
TERMS = ["data_digest", "protocol", "folds", "budget", "image_size", "crop", "scaling",
         "backbone", "weights", "precision", "batch_size", "pixels", "code"]  # fmt: skip
ONE_EACH = ["arm", "seed", "split_seed", "fold"]  # of runs that agree in these the latest counts
UNKNOWN = "unknown"  # a term of runs of a version that did not log it
DIGITS = 8  # of a digest that is shown
LISTED = 20  # sets of terms that are listed where one is to be chosen


def comparable(
    records: pd.DataFrame,
    protocol: str | None = None,
    metric: str = CHOICE,
    terms: str = "",
    keys: Set[str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs that are asked for, one an arm, seed and fold (the latest), and those left out.

    Args:
        records: one row a finished run: run_id, arm, seed, fold, key, start_time, TERMS, metrics.
        protocol: the one to rank; None: those that keep subjects apart, where there are such.
        metric: what the order is to go by; runs that do not have it are left out.
        terms: the first digits of the digest of the TERMS to rank; "": all runs have the same.
        keys: those of a study's plan, whatever else there is; None: of any run.

    Raises:
        UserError: there are no such runs, none of them has the metric, or they are of several
            terms.
    """
    ordered = records.sort_values("start_time", kind="stable")
    asked = planned(ordered, keys)
    if terms:
        asked = on_terms(asked, terms)
    asked = _of_protocol(asked, protocol, free=keys is not None or bool(terms))
    measured = asked[~lacking(asked, metric)]
    if measured.empty:
        raise UserError(
            f"none of {len(asked)} runs has val_{metric}: they are of a version that did "
            f"not compute it; train anew, or rank by another metric"
        )
    refuse_mixture(measured, also="; or the runs of a study with study=RUN_ID")
    kept = latest(measured)
    return kept, ordered.drop(kept.index)


def planned(records: pd.DataFrame, keys: Set[str] | None) -> pd.DataFrame:
    """The runs with these keys; None: all of them.

    Raises:
        UserError: there is none.
    """
    if keys is None:
        return records
    kept = records[records["key"].isin(keys)] if "key" in records else records.head(0)
    if kept.empty:
        raise UserError(
            f"none of the {len(keys)} runs of this plan has finished here: nothing is ranked; "
            f"train them, or rank other runs by their terms"
        )
    return kept


def on_terms(
    records: pd.DataFrame, begins: str, names: Sequence[str] = tuple(TERMS)
) -> pd.DataFrame:
    """The runs whose digest of these terms begins so.

    Raises:
        UserError: there is none.
    """
    kept = records[digests(records, names).str.startswith(begins.lower())]
    if kept.empty:
        raise UserError(
            f"no finished run is of terms={begins}; there are {_short(records, names)}",
            choices(records, names),
        )
    return kept


def refuse_mixture(
    records: pd.DataFrame, names: Sequence[str] = tuple(TERMS), also: str = ""
) -> None:
    """Nothing where all runs share these terms.

    also: another way to choose, for the message.

    Raises:
        UserError: they do not; its `choices` say in what the sets of terms differ.
    """
    sets = digests(records, names).nunique()
    if sets > 1:
        raise UserError(
            f"{len(records)} finished runs are of {sets} different terms, which cannot be "
            f"compared: choose one of {_short(records, names)}{also}",
            choices(records, names),
        )


def digests(records: pd.DataFrame, names: Sequence[str] = tuple(TERMS)) -> pd.Series:
    """A digest of each run's terms: the same for runs that can be set against each other."""
    told = _told(records, names)
    texts = ["\n".join(row) for row in told.itertuples(index=False)]
    made = [sha256(text.encode()).hexdigest()[: 2 * DIGITS] for text in texts]
    return pd.Series(made, index=records.index, dtype=str)


def choices(records: pd.DataFrame, names: Sequence[str] = tuple(TERMS)) -> list[str]:
    """A line for each set of terms, the latest first: how to choose it, and what sets it apart."""
    told = _told(records, names)
    apart = [name for name in names if told[name].nunique() > 1]
    sets = _sets(records, names)
    lines = []
    for digest, runs in sets[:LISTED]:
        last = told.loc[runs.index[-1]]
        cells = f"{runs.iloc[-1]['cells']}; " if "cells" in runs else ""
        differ = ", ".join(f"{name} {_cut(name, last[name])}" for name in apart)
        when = f"{runs.iloc[-1]['start_time']:%Y-%m-%d %H:%M}"
        lines.append(
            f"terms={digest[:DIGITS]}  {counted(runs)}, the latest of {when}: {cells}{differ}"
        )
    return lines + [f"and {len(sets) - LISTED} more"] * (len(sets) > LISTED)


def latest(records: pd.DataFrame, more: Sequence[str] = ()) -> pd.DataFrame:
    """One run an arm, seed and fold: of repeated ones the latest.

    records: in the order of their start. more: names of what sets runs apart as well.
    """
    by = [name for name in (*ONE_EACH, *more) if name in records]
    return records[~records.duplicated(by, keep="last")]


def line(kept: pd.DataFrame) -> str:
    """What is ranked, for a reader: how many runs, their terms and by which name to ask for them.

    kept: runs that share their terms.
    """
    told = _told(kept, TERMS).iloc[-1]
    unusual = "" if told["pixels"] == UNKNOWN else f"{told['pixels']}, "
    return (
        f"Ranked: {counted(kept)} on terms={digests(kept).iloc[-1][:DIGITS]}: data "
        f"{told['data_digest']}, code {_cut('code', told['code'])}, protocol {told['protocol']} "
        f"in {told['folds']} folds, batches of {told['batch_size']}, crop {told['crop']}, "
        f"{unusual}{told['scaling']} scaling, {told['precision']}."
    )


def counted(runs: pd.DataFrame) -> str:
    """How many runs of which arms, in words."""
    arms = sorted(set(runs["arm"].astype(str)))
    of = ", ".join(arms) if len(arms) < 8 else f"{len(arms)} techniques"
    return f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of {of}"


def lacking(records: pd.DataFrame, metric: str) -> pd.Series:
    """Bool by run: whether it has no finite validation value of the metric."""
    name = f"val_{metric}"
    if name not in records:
        return pd.Series(True, index=records.index)
    return ~records[name].astype(float).abs().lt(float("inf"))


def left_out_text(left_out: pd.DataFrame, metric: str) -> str:
    """How many runs are not ranked and why, in a line; "" where there are none."""
    without = int(lacking(left_out, metric).sum())
    others = len(left_out) - without
    return " ".join(
        [f"{others} runs on other terms, of other plans or of repeated seeds are left out."]
        * bool(others)
        + [f"{without} runs without val_{metric} are left out."] * bool(without)
    )


def _of_protocol(records: pd.DataFrame, protocol: str | None, free: bool) -> pd.DataFrame:
    """The runs of a protocol; None: those that keep subjects apart, if there are any.

    free: without a protocol any is meant, since the runs are named otherwise.
    """
    if protocol is None and free:
        return records
    wanted = records["protocol"].isin(APART if protocol is None else [protocol])
    if protocol and not wanted.any():
        present = ", ".join(sorted(set(records["protocol"])))
        raise UserError(f"no run is of protocol {protocol}: there are runs of {present}")
    return records[wanted] if wanted.any() else records


def _told(records: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return records.reindex(columns=list(names)).astype(object).fillna(UNKNOWN).astype(str)


def _sets(records: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """(digest, its runs in the order of their start), the set of the latest run first."""
    ordered = records.sort_values("start_time", kind="stable")
    sets = [(str(digest), of) for digest, of in ordered.groupby(digests(ordered, names))]
    return sorted(sets, key=lambda each: each[1]["start_time"].iloc[-1], reverse=True)


def _short(records: pd.DataFrame, names: Sequence[str]) -> str:
    sets = _sets(records, names)
    told = [f"terms={digest[:DIGITS]} of {len(runs)}" for digest, runs in sets[:3]]
    return ", ".join(told + [f"{len(sets) - 3} more"] * (len(sets) > 3))


def _cut(name: str, value: str) -> str:
    """A term as it is shown: of the code's digest its first digits."""
    return value[:DIGITS] if name == "code" and value != UNKNOWN else value
