"""Records of runs in, one ordered row a technique out: pure, and without a server.

Ordered by validation balanced accuracy: the test figures stand beside it and decide nothing.
"""

import pandas as pd

CHOICE = "val_bal_acc"  # what the order goes by
SHOWN = ["test_bal_acc", "test_sens", "test_spec", "test_auroc", "test_wf1"]
COSTS = ["balance_s", "train_s", "peak_gib"]
# Runs can be set against each other only where all of these are the same.
TERMS = ["data_digest", "protocol", "budget", "image_size", "crop", "scaling", "backbone",
         "weights", "batch_size"]  # fmt: skip


def comparable(records: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The latest run's peers, one run an arm and seed (the latest), and the runs left out.

    records: one row a finished run, columns run_id, arm, seed, start_time, TERMS and metrics.
    """
    ordered = records.sort_values("start_time", kind="stable")
    terms = ordered[TERMS].astype(str)
    peers = (terms == terms.iloc[-1]).all(axis=1) & ordered[CHOICE].notna()
    latest = ~ordered[peers].duplicated(["arm", "seed"], keep="last")
    kept = ordered[peers][latest]
    return kept, ordered.drop(kept.index)


def rank(records: pd.DataFrame) -> pd.DataFrame:
    """One row an arm, best first, from comparable records.

    Columns: rank, arm, seeds (how many), val_bal_acc and val_sd (mean and standard deviation
    over seeds; 0 for one seed), the SHOWN and COSTS means, test_sd, test_ba_low and
    test_ba_high (the widest of the seeds' 95 % intervals over subjects), run_id (the arm's
    run that is best on validation). Equal means are ordered by arm's name.
    """
    rows = [_row(str(arm), runs) for arm, runs in records.groupby("arm", sort=True)]
    table = pd.DataFrame(rows).sort_values(CHOICE, ascending=False, kind="stable")
    table.insert(0, "rank", range(1, len(table) + 1))
    return table.reset_index(drop=True)


def uneven(records: pd.DataFrame) -> str:
    """A warning where arms were run on different seeds, else ""."""
    seeds = {
        str(arm): ",".join(map(str, sorted(of_arm)))
        for arm, of_arm in records.groupby("arm")["seed"]
    }
    if len(set(seeds.values())) <= 1:
        return ""
    said = "; ".join(f"{arm}: {of_arm}" for arm, of_arm in seeds.items())
    return f"the techniques ran on different seeds ({said}): their means are not of the same splits"


def undecided(table: pd.DataFrame) -> str:
    """A warning where the leader's interval reaches the others' test means, else ""."""
    leader, others = table.iloc[0], table.iloc[1:]
    inside = others["test_bal_acc"].between(leader["test_ba_low"], leader["test_ba_high"])
    if not inside.any():
        return ""
    names = ", ".join(others["arm"][inside])
    return f"the leader's interval holds the test means of {names}: this order may be chance"


def _row(arm: str, runs: pd.DataFrame) -> dict[str, object]:
    best = runs.sort_values([CHOICE, "seed"], ascending=[False, True]).iloc[0]
    spread = runs[[CHOICE, "test_bal_acc"]].std(ddof=1).fillna(0.0)
    return {
        "arm": arm,
        "seeds": len(runs),
        CHOICE: runs[CHOICE].mean(),
        "val_sd": spread[CHOICE],
        **{name: runs[name].mean() for name in SHOWN},
        "test_sd": spread["test_bal_acc"],
        "test_ba_low": runs["test_ba_low"].min(),
        "test_ba_high": runs["test_ba_high"].max(),
        **{name: runs[name].mean() for name in COSTS},
        "run_id": best["run_id"],
    }


def as_text(table: pd.DataFrame) -> str:
    """The table as a person reads it in a terminal."""
    columns = {
        "rank": table["rank"].map("{:d}".format),
        "technique": table["arm"],
        "seeds": table["seeds"].map("{:d}".format),
        "val bal.acc": _mean_sd(table[CHOICE], table["val_sd"]),
        "test bal.acc": _mean_sd(table["test_bal_acc"], table["test_sd"]),
        "95 % interval": _interval(table["test_ba_low"], table["test_ba_high"]),
        "sens": table["test_sens"].map("{:.3f}".format),
        "spec": table["test_spec"].map("{:.3f}".format),
        "auroc": table["test_auroc"].map("{:.3f}".format),
        "balance s": table["balance_s"].map("{:.1f}".format),
        "train s": table["train_s"].map("{:.1f}".format),
        "peak GiB": table["peak_gib"].map("{:.2f}".format),
    }
    cells = [list(columns), *zip(*columns.values(), strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _mean_sd(mean: pd.Series, sd: pd.Series) -> list[str]:
    return [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)]


def _interval(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)]
