"""What stands beside a ranking: thresholds, calibration, the review of synthetic cells, by arm.

Each is a table of numbers, and a text of it for people: a column `arm`, then figures, each with its
`_lo` and `_hi`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukemia.evaluation import intervals, recalibration
from leukemia.evaluation.jackknife import Repeats
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.thresholds import at_best, at_half
from leukemia.ranking.arms import repeats_of
from leukemia.ranking.networks import Network
from leukemia.ranking.text import aligned, numbers

Call = Callable[[Network], Predictions]  # a network's test cells, called by some rule
CALIBRATION = ("ece", "slope", "intercept")
REVIEW = ("synth_kid", "synth_coverage", "synth_probe_raw", "synth_probe_low", "synth_probe_high",
          "synth_copy_rate", "review_s")  # fmt: skip
BOUNDED = ("synth_kid", "synth_probe_raw", "synth_probe_low", "synth_probe_high")


@dataclass(frozen=True, kw_only=True)
class Details:
    """Tables beside a ranking.

    thresholds: balanced accuracy from 0.5, the same from the threshold best on validation, and the
    specificity where sensitivity is 95 %. calibration: ECE, Brier, slope and intercept, and again
    under the training cells' own prior where a technique trained for another (`prior` says which).
    review: of synthetic cells; no row where none were added. measured_in: what KID is of.
    """

    thresholds: pd.DataFrame
    calibration: pd.DataFrame
    review: pd.DataFrame
    measured_in: str


def details(
    records: pd.DataFrame, cells: Mapping[str, Network], references: Mapping[str, str]
) -> Details:
    """The tables of believed records.

    references: arm -> the arm that it is measured by, "" for none, in the order of a ranking.
    """
    order = list(references)
    by_arm = {str(arm): runs for arm, runs in records.groupby("arm")}
    return Details(
        thresholds=pd.DataFrame([_threshold_row(arm, by_arm[arm], cells) for arm in order]),
        calibration=pd.DataFrame(
            [row for arm in order for row in _calibration_rows(arm, by_arm, cells, references[arm])]
        ),
        review=pd.DataFrame([row for arm in order for row in _review_row(arm, by_arm[arm])]),
        measured_in=_measured_in(records),
    )


def as_text(of: Details) -> str:
    """The tables for a terminal."""
    parts = [_thresholds_text(of.thresholds), _calibration_text(of.calibration)]
    if len(of.review):
        parts.append(_review_text(of.review, of.measured_in))
    return "\n\n".join(parts)


def _threshold_row(arm: str, runs: pd.DataFrame, cells: Mapping[str, Network]) -> dict[str, object]:
    usual = _as_called(runs, cells, lambda network: at_half(network.test))
    best = _as_called(runs, cells, lambda network: at_best(network.validation, network.test))
    row: dict[str, object] = {"arm": arm}
    for name, repeats, metric in (
        ("bal_acc", usual, "bal_acc"), ("bal_v", best, "bal_acc"), ("spec95s", usual, "spec95s"),
    ):  # fmt: skip
        found = intervals.interval(repeats, metric)
        row |= {name: found.value, f"{name}_lo": found.low, f"{name}_hi": found.high}
    return row


def _calibration_rows(
    arm: str, by_arm: Mapping[str, pd.DataFrame], cells: Mapping[str, Network], reference: str
) -> list[dict[str, object]]:
    runs = by_arm[arm]
    other = repeats_of(by_arm[reference], cells) if reference in by_arm else None
    own = _calibrated(repeats_of(runs, cells), other)
    rows: list[dict[str, object]] = [{"arm": arm, "prior": "as trained", **own}]
    known = runs.set_index("run_id")
    if not {"effective_prior", "train_prior"} <= set(known):
        return rows
    priors = known[["effective_prior", "train_prior"]]
    if priors.isna().any(axis=None) or np.allclose(priors.iloc[:, 0], priors.iloc[:, 1], atol=1e-3):
        return rows
    corrected = {
        run_id: Network(
            validation=cells[run_id].validation,
            test=recalibration.prior_corrected(cells[run_id].test, float(seen), float(own)),
        )
        for run_id, seen, own in zip(known.index, *priors.to_numpy().T, strict=True)
    }
    again = _calibrated(repeats_of(runs, corrected), other)
    return [*rows, {"arm": arm, "prior": "corrected", **again}]


def _calibrated(repeats: Repeats, other: Repeats | None) -> dict[str, object]:
    """The figures, and ECE less that of another arm."""
    nan = float("nan")
    row: dict[str, object] = {"apart": nan, "apart_lo": nan, "apart_hi": nan}
    if other:
        apart = recalibration.difference_of(repeats, other, "ece")
        row = {"apart": apart.value, "apart_lo": apart.low, "apart_hi": apart.high}
    brier = intervals.interval(repeats, "brier")
    for name in CALIBRATION:
        found = recalibration.interval_of(repeats, name)
        row |= {name: found.value, f"{name}_lo": found.low, f"{name}_hi": found.high}
    return row | {"brier": brier.value, "brier_lo": brier.low, "brier_hi": brier.high}


def _review_row(arm: str, runs: pd.DataFrame) -> list[dict[str, object]]:
    if "synth_measured" not in runs or runs["synth_measured"].isna().all():
        return []
    names = [*REVIEW, *(f"{name}_{end}" for name in BOUNDED for end in ("lo", "hi")), "floor_kid"]
    means = {name: runs[name].mean() if name in runs else np.nan for name in names}
    return [{"arm": arm, **means, "added": runs["synthetic"].mean()}]


def _measured_in(records: pd.DataFrame) -> str:
    if "review_features" not in records:
        return ""
    return " or ".join(sorted({str(name) for name in records["review_features"].dropna() if name}))


def _as_called(runs: pd.DataFrame, cells: Mapping[str, Network], call: Call) -> Repeats:
    """The test cells of an arm's runs, called by a rule."""
    called = {
        run_id: Network(validation=cells[run_id].validation, test=call(cells[run_id]))
        for run_id in runs["run_id"]
    }
    return repeats_of(runs, called)


def _thresholds_text(table: pd.DataFrame) -> str:
    return aligned(
        {
            "test, by threshold": table["arm"],
            "bal_acc from .5": _with_interval(table, "bal_acc"),
            "from validation's best": _with_interval(table, "bal_v"),
            "specificity at 95 % sensitivity": _with_interval(table, "spec95s"),
        }
    )


def _calibration_text(table: pd.DataFrame) -> str:
    return aligned(
        {
            "calibration on test": table["arm"],
            "prior": table["prior"],
            "ECE": _with_interval(table, "ece"),
            "Brier": _with_interval(table, "brier"),
            "slope": _with_interval(table, "slope", 2),
            "intercept": _with_interval(table, "intercept", 2),
            "ECE less its reference's": _with_interval(table, "apart"),
        }
    )


def _review_text(table: pd.DataFrame, measured_in: str) -> str:
    return aligned(
        {
            "synthetic cells": table["arm"],
            "added": numbers(table["added"], 0),
            f"KID in {measured_in}": _with_interval(table, "synth_kid", 4),
            "floor": numbers(table["floor_kid"], 4),
            "coverage": numbers(table["synth_coverage"], 2),
            "probe": _with_interval(table, "synth_probe_raw", 2),
            "low-passed": _with_interval(table, "synth_probe_low", 2),
            "high-passed": _with_interval(table, "synth_probe_high", 2),
            "copies": numbers(table["synth_copy_rate"], 3),
            "review s": numbers(table["review_s"], 1),
        }
    )


def _with_interval(table: pd.DataFrame, name: str, digits: int = 3) -> list[str]:
    told: list[str] = []
    for value, low, high in table[[name, f"{name}_lo", f"{name}_hi"]].to_numpy(float):
        bounds = "" if np.isnan([low, high]).any() else f" [{low:.{digits}f}, {high:.{digits}f}]"
        told.append("-" if np.isnan(value) else f"{value:.{digits}f}{bounds}")
    return told
