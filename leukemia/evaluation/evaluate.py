"""The whole evaluation of a run: metrics, intervals, calibration, threshold, subjects."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from leukemia.evaluation.by_subject import subject_metrics
from leukemia.evaluation.calibration import (
    Temperature,
    expected_calibration_error,
    fit_temperature,
    rescale,
)
from leukemia.evaluation.intervals import Interval, interval, intervals
from leukemia.evaluation.metrics import brier, from_confusion, metrics
from leukemia.evaluation.operating import OperatingPoint, operate
from leukemia.evaluation.overfitting import History, Verdict, verdict_on
from leukemia.evaluation.predictions import THRESHOLD, Predictions
from leukemia.evaluation.recalibration import (
    STATISTICS,
    Estimate,
    interval_of,
    prior_corrected,
)
from leukemia.evaluation.thresholds import at_best

SHORT = {"train": "train", "validation": "val", "test": "test"}  # as metric names begin


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a run's scores are worth.

    metrics: name -> value, finite ones only; named as in `evaluation.metrics.METRICS` behind
        train_, val_ or test_, test intervals with _lo and _hi behind that. intervals: of the
        test metrics, by their plain names. calibration: of test cells, by the names of
        STATISTICS. temperature and operating: chosen on validation.
        verdict: on overfitting. subjects: number of test subjects.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    calibration: dict[str, Estimate]
    temperature: Temperature
    operating: OperatingPoint
    verdict: Verdict
    subjects: int

    def lines(self) -> list[str]:
        """What a person wants to know at the end of a run."""
        values, interval = self.metrics, self.intervals["bal_acc"]
        moved = values["threshold"] != THRESHOLD
        return [
            f"test balanced accuracy {interval.value:.3f} (95 % interval {interval.low:.3f} to "
            f"{interval.high:.3f} over {interval.subjects} subjects; {interval.method}), "
            f"sensitivity {values['test_sens']:.3f}, specificity {values['test_spec']:.3f}; "
            f"validation balanced accuracy {values['val_bal_acc']:.3f}"
            + f"; called positive from {values['threshold']:.4g}"
            * moved,
            self.verdict.text,
            f"calibration error {values['test_ece']:.3f}, Brier {values['test_brier']:.3f} on test "
            f"cells; {self.temperature.text}",
            recalibration_text(self.calibration),
            f"test balanced accuracy {values.get('test_bal_v', math.nan):.3f} if called positive "
            f"from {values['threshold_v']:.4g}, the threshold best on validation",
            self.operating.text,
        ]


def evaluate(
    predictions: dict[str, Predictions],
    history: History,
    sensitivity: float,
    effective_prior: float = math.nan,
) -> Evaluation:
    """Everything about the final model's scores.

    Args:
        predictions: split -> its real cells, all with the threshold that calls go by.
        history: one row an epoch.
        sensitivity: what the operating threshold is to reach; that one changes no call here.
        effective_prior: the share of positive cells that training saw after the technique; NaN
            where it is not known.
    """
    validation, test = predictions["validation"], predictions["test"]
    test_intervals = intervals(test)
    calibration = {name: interval_of([[test]], name) for name in STATISTICS}
    temperature = fit_temperature(validation.labels, validation.scores)
    operating = operate(validation, test, sensitivity)
    verdict = verdict_on(history, fine_tune_from(history))
    values = {
        **{
            f"{SHORT[split]}_{name}": value
            for split, cells in predictions.items()
            for name, value in metrics(cells.labels, cells.scores, cells.threshold).items()
        },
        **{f"test_{name}_lo": each.low for name, each in test_intervals.items()},
        **{f"test_{name}_hi": each.high for name, each in test_intervals.items()},
        "threshold": test.threshold,
        **_calibration(test, temperature),
        **_with_ends(calibration, ""),
        **_prior_corrected(test, _share(predictions["train"]), effective_prior),
        **_at_best(validation, test),
        **_at(operating),
        **{f"by_subject_{name}": value for name, value in subject_metrics(test).items()},
        "overfits": float("nan") if verdict.overfits is None else float(verdict.overfits),
        "val_rise": verdict.rise,
        "test_subjects": float(len(set(test.subjects))),
    }
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return Evaluation(
        metrics=finite,
        intervals=test_intervals,
        calibration=calibration,
        temperature=temperature,
        operating=operating,
        verdict=verdict,
        subjects=len(set(test.subjects)),
    )


def fine_tune_from(history: History) -> int | None:
    """The first epoch that trained a backbone which was frozen before, or None."""
    unfrozen = [row["epoch"] for row in history if row.get("unfrozen")]
    return int(unfrozen[0]) if unfrozen and unfrozen[0] > history[0]["epoch"] else None


def _calibration(test: Predictions, temperature: Temperature) -> dict[str, float]:
    corrected = rescale(test.scores, temperature.value)
    return {
        "temperature": temperature.value,
        "test_ece_t": expected_calibration_error(test.labels, corrected),
        "test_brier_t": brier(test.labels, corrected),
    }


def recalibration_text(calibration: Mapping[str, Estimate]) -> str:
    """One line for reports, from estimates by the names of STATISTICS."""
    slope, shift = calibration["slope"], calibration["citl"]
    steep = (
        f"not defined: {slope.reason}"
        if slope.reason
        else f"{slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f}; 1 is right)"
    )
    moved = "" if shift.reason else f" ({shift.low:+.2f} to {shift.high:+.2f})"
    return f"calibration slope {steep}, log-odds to be moved by {shift.value:+.2f}{moved}"


def _prior_corrected(test: Predictions, own: float, effective: float) -> dict[str, float]:
    """Both priors, and calibration once the scores are for the training cells' own, `_p` behind
    each; the slope has none, since moving all log-odds alike leaves it."""
    values = {"train_prior": own, "effective_prior": effective}
    if not (0 < own < 1 and 0 < effective < 1):
        return values
    corrected = [[prior_corrected(test, effective, own)]]
    found = {name: interval_of(corrected, name) for name in STATISTICS if name != "slope"}
    return values | _with_ends(found | {"brier": interval(corrected, "brier")}, "_p")


def _with_ends(found: Mapping[str, Estimate | Interval], suffix: str) -> dict[str, float]:
    return {
        f"test_{name}{suffix}{end}": value
        for name, each in found.items()
        for end, value in (("", each.value), ("_lo", each.low), ("_hi", each.high))
    }


def _share(cells: Predictions) -> float:
    return float(np.mean(cells.labels))


def _at_best(validation: Predictions, test: Predictions) -> dict[str, float]:
    """The threshold best on validation, and what it does there and on test, `_v` behind each."""
    best = at_best(validation, test)
    chosen = replace(validation, threshold=best.threshold)
    on_validation, on_test = (
        metrics(cells.labels, cells.scores, cells.threshold) for cells in (chosen, best)
    )
    around = interval([[best]])
    return {
        "threshold_v": best.threshold,
        "val_bal_v": on_validation["bal_acc"],
        "test_bal_v": on_test["bal_acc"],
        "test_bal_v_lo": around.low,
        "test_bal_v_hi": around.high,
        "test_sens_v": on_test["sens"],
        "test_spec_v": on_test["spec"],
    }


def _at(point: OperatingPoint) -> dict[str, float]:
    """The operating threshold and what it does, `op_` before each."""
    test = from_confusion(point.test)
    return {
        "op_threshold": point.threshold,
        "op_val_sens": point.metrics["val_sens"],
        "op_test_sens": test["sens"],
        "op_test_spec": test["spec"],
        "op_test_prec": test["prec"],
    }
