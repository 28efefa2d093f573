"""The whole evaluation of a run: metrics, intervals, calibration, threshold, subjects."""

import math
from dataclasses import dataclass

from leukemia.evaluation.by_subject import subject_metrics
from leukemia.evaluation.calibration import (
    Temperature,
    expected_calibration_error,
    fit_temperature,
    rescale,
)
from leukemia.evaluation.intervals import Interval, intervals
from leukemia.evaluation.metrics import brier, from_confusion, metrics
from leukemia.evaluation.operating import OperatingPoint, operate
from leukemia.evaluation.overfitting import History, Verdict, verdict_on
from leukemia.evaluation.predictions import THRESHOLD, Predictions

SHORT = {"train": "train", "validation": "val", "test": "test"}  # as metric names begin


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a run's scores are worth.

    metrics: name -> value, finite ones only; named as in `evaluation.metrics.METRICS` behind
        train_, val_ or test_, test intervals with _lo and _hi behind that. intervals: of the
        test metrics, by their plain names. temperature and operating: chosen on validation.
        verdict: on overfitting. subjects: number of test subjects.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
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
            self.operating.text,
        ]


def evaluate(
    predictions: dict[str, Predictions], history: History, sensitivity: float
) -> Evaluation:
    """Everything about the final model's scores.

    Args:
        predictions: split -> its real cells, all with the threshold that calls go by.
        history: one row an epoch.
        sensitivity: what the operating threshold is to reach; that one changes no call here.
    """
    validation, test = predictions["validation"], predictions["test"]
    test_intervals = intervals(test)
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
        "test_ece": expected_calibration_error(test.labels, test.scores),
        "temperature": temperature.value,
        "test_ece_t": expected_calibration_error(test.labels, corrected),
        "test_brier_t": brier(test.labels, corrected),
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
