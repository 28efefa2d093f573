"""A ranking as a person reads it in a terminal."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from leukemia.ranking.comparisons import BASELINE
from leukemia.ranking.power import LEVEL
from leukemia.ranking.rank import SHOWN, Ranking


def as_text(ranking: Ranking) -> str:
    """The tables of a ranking: order, comparisons and costs, and what the choice is worth."""
    parts = [_order_text(ranking), _comparison_text(ranking), *_worth_text(ranking)]
    parts += _spread_text(ranking)
    return "\n\n".join([*parts, _cost_text(ranking.table)])


def _order_text(ranking: Ranking) -> str:
    table, name = ranking.table, ranking.metric
    tied = table["tie"].astype(bool)
    if tied.any():  # a leader that ties does so as much as the others
        tied |= table["rank"] == 1
    places = [f"{r}{'=' if t else ''}" for r, t in zip(table["rank"], tied, strict=True)]
    return aligned(
        {
            "rank": places,
            "technique": table["arm"],
            "runs": table["runs"].map("{:d}".format),
            f"val {name}": _mean_sd(table["val"], table["val_sd"]),
            f"test {name}": table["test"].map("{:.3f}".format),
            "95 % interval": _interval(table["lo"], table["hi"]),
            **{name.removeprefix("test_"): numbers(table[name], 3) for name in SHOWN},
        }
    )


def _comparison_text(ranking: Ranking) -> str:
    table = ranking.comparisons
    if table.empty:
        return "No two techniques ran on the same seeds and folds: nothing can be compared."
    columns = {
        "compared on test": table["arm"],
        "with": table["against"],
        "difference": table["difference"].map("{:+.3f}".format),
        "95 % interval": [
            f"{a:+.3f} to {b:+.3f}" for a, b in zip(table["lo"], table["hi"], strict=True)
        ],
        "p": table["p"].map(_p),
        "p corrected": table["adjusted"].map(_p),
        "verdict": table["adjusted"].map(verdict),
        "finds": numbers(table["detectable"], 3),
    }
    for name, title in (("mcnemar", "McNemar p"), ("delong", "DeLong p")):
        if table[name].notna().any():
            columns[title] = table[name].map(_p)
    return "\n".join([aligned(columns), *_reasons(table)])


def verdict(adjusted: float) -> str:
    """What a corrected p says, in a word or two."""
    return "none" if np.isnan(adjusted) else "different" if adjusted < LEVEL else "not shown"


def _reasons(table: pd.DataFrame) -> list[str]:
    """Why each technique is compared with the one that it is, a line each reason."""
    return [
        f"{', '.join(rows['arm'])} with {against}: {why}"
        for (against, why), rows in table.groupby(["against", "why"], sort=False)
    ]


def _worth_text(ranking: Ranking) -> list[str]:
    """What the whole way of choosing is worth; nothing where the networks are too few."""
    worth = ranking.worth
    if worth is None:
        return []
    value, gain = worth.value, worth.gain
    chosen = ", ".join(f"{arm} {share:.0%}" for arm, share in worth.chosen.items())
    over = (
        f", {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over {BASELINE}" if gain else ""
    )
    return [
        f"Train all and choose on validation: test {ranking.metric} {value.value:.3f} "
        f"[{value.low:.3f}, {value.high:.3f}]{over}, of networks and subjects that had no say in "
        f"the choice (chosen: {chosen})"
    ]


def _spread_text(ranking: Ranking) -> list[str]:
    """What each test figure's deviation comes from; nothing where networks are not measured."""
    table = ranking.table
    if table["sd_networks"].isna().all():
        return []
    titles = {"subjects": "subjects", "splits": "splits", "networks": "networks"}
    if table["sd_splits"].isna().all():
        titles = {"subjects": "subjects", "networks": "networks and their splits"}
    by_title = {title: numbers(table[f"sd_{name}"], 4) for name, title in titles.items()}
    return [aligned({f"deviation of test {ranking.metric} from": table["arm"], **by_title})]


def _cost_text(table: pd.DataFrame) -> str:
    points = [
        "-" if arm == BASELINE else _price(price)
        for arm, price in zip(table["arm"], table["s_per_point"], strict=True)
    ]
    return aligned(
        {
            "cost": table["arm"],
            "added": numbers(table["synthetic"], 0),
            "left out": numbers(table["left_out"], 0),
            "balance s": table["balance_s"].map("{:.1f}".format),
            "train s": table["train_s"].map("{:.1f}".format),
            "s a point": points,
            "peak GiB": table["peak_gib"].map("{:.2f}".format),
            "Wh": numbers(table["wh"], 1),
            "overfits": [
                f"{share * count:.0f} of {count} runs" if count else "-"
                for share, count in zip(table["overfits"], table["verdicts"], strict=True)
            ],
        }
    )


def aligned(columns: Mapping[str, object]) -> str:
    """Columns of texts under their headings, as wide as they need to be."""
    cells = [list(columns), *zip(*columns.values(), strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def numbers(values: pd.Series, digits: int) -> list[str]:
    """With so many decimals; "-" for what is not known."""
    return ["-" if np.isnan(value) else f"{value:.{digits}f}" for value in values]


def _price(seconds: float) -> str:
    """The price of a point; a gain that took no longer than what it is measured by cost nothing."""
    if np.isnan(seconds):
        return "no sure gain"
    return f"{seconds:.0f}" if seconds > 0 else "none"


def _p(value: float) -> str:
    return "-" if np.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _mean_sd(mean: pd.Series, sd: pd.Series) -> list[str]:
    return [
        f"{m:.3f}" if np.isnan(s) else f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)
    ]


def _interval(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)]
