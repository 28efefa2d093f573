"""Logistic fits to all cells, and to those that are left without each subject."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from leukemia.evaluation.variance_components import NOTHING

STEPS = 100  # of Newton's method, which needs about 8
CLOSE = 1e-8  # a smaller step ends it
LONGEST = 2.0  # step where a subject is left out: a longer one may overshoot
AT_ONCE = 2_000_000  # entries of the largest array, 16 MB
MOST = 10_000_000  # cells x subjects that are fitted anew, a second; with more no subject moves far


@dataclass(frozen=True, kw_only=True)
class Cases:
    """n cells whose log-odds of being positive are offset + design @ coefficients.

    design: (n, k) float64. offset: (n,) float64. positive: (n,) bool. places: (n,) int, each
    cell's subject, of so many `subjects`.
    """

    design: np.ndarray
    offset: np.ndarray
    positive: np.ndarray
    places: np.ndarray
    subjects: int


def fits(cases: Cases) -> np.ndarray:
    """(1 + subjects, k) float64: the coefficients of all cells, then without each subject's.

    Those without a subject start from those of all, of which they are one step of Newton's method
    away where there are very many; NaN where the method does not come to rest. Source: Pregibon
    1981 (one step).
    """
    whole = _fit(cases)
    if len(cases.offset) * cases.subjects > MOST:
        return np.concatenate([whole[None], _one_step(cases, whole)])
    chunk = max(1, AT_ONCE // len(cases.offset))
    subjects = np.arange(cases.subjects)
    left = [
        _refit(cases, whole, subjects[start : start + chunk])
        for start in range(0, cases.subjects, chunk)
    ]
    return np.concatenate([whole[None], *left])


def overlap(x: np.ndarray, positive: np.ndarray, places: np.ndarray, subjects: int) -> np.ndarray:
    """(1 + subjects,) bool: whether neither order of the classes puts all of one above all of the
    other by x (n,), of all cells and then without each subject's."""
    (low, high), (other_low, other_high) = (
        (_lowest(x[side], places[side], subjects), -_lowest(-x[side], places[side], subjects))
        for side in (positive, ~positive)
    )
    overlapping: np.ndarray = (low < other_high) & (other_low < high)
    return overlapping


def _fit(cases: Cases) -> np.ndarray:
    """(k,) float64: the coefficients under which the labels are likeliest."""
    design, positive = cases.design, cases.positive

    def loss(at: np.ndarray) -> float:
        odds = cases.offset + design @ at
        return float(np.sum(np.logaddexp(0, np.where(positive, -odds, odds))))

    at = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = expit(cases.offset + design @ at)
        curve = (design.T * (chance * (1 - chance))) @ design
        step = np.linalg.lstsq(curve, design.T @ (positive - chance))[0]
        while loss(at + step) > loss(at) and np.abs(step).max() > CLOSE:
            step = step / 2
        at = at + step
        if np.abs(step).max() < CLOSE:
            break
    return at


def _refit(cases: Cases, start: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(m, k): coefficients without each of the subjects `without` (m,), by Newton's method."""
    kept, columns = cases.places != without[:, None], cases.design.T
    at, step = np.tile(start, (len(without), 1)), np.zeros(1)
    for _ in range(STEPS):
        chance = expit(at @ columns + cases.offset)
        slack = np.where(kept, cases.positive - chance, 0.0) @ cases.design
        weight = np.where(kept, chance * (1 - chance), 0.0)
        curve = np.stack([(weight * column) @ cases.design for column in columns], axis=1)
        with np.errstate(invalid="ignore"):  # of subjects that are NaN already
            known = np.linalg.det(curve) > NOTHING
        at[~known], curve[~known] = np.nan, np.eye(len(columns))
        step = np.nan_to_num(np.linalg.solve(curve, slack[:, :, None])[:, :, 0])
        at = at + step.clip(-LONGEST, LONGEST)
        if np.abs(step).max() < CLOSE:
            break
    return np.where(np.abs(step).max(axis=1, keepdims=True) < CLOSE, at, np.nan)


def _one_step(cases: Cases, whole: np.ndarray) -> np.ndarray:
    """(subjects, k): coefficients without each subject, to the first order."""
    chance = expit(cases.offset + cases.design @ whole)
    weight, columns = chance * (1 - chance), cases.design.T

    def sums(quantity: np.ndarray) -> np.ndarray:
        return np.bincount(cases.places, quantity, cases.subjects)

    slack = np.stack([sums(column * (cases.positive - chance)) for column in columns], 1)
    curve = np.array([[sums(weight * one * other) for other in columns] for one in columns])
    left = curve.sum(axis=2) - curve.transpose(2, 0, 1)
    found: np.ndarray = whole - np.linalg.solve(left, slack[:, :, None])[:, :, 0]
    return found


def _lowest(values: np.ndarray, places: np.ndarray, subjects: int) -> np.ndarray:
    """(1 + subjects,): the lowest of values (n,), then without each subject's; inf of none."""
    of_subject = np.full(subjects + 1, np.inf)  # one more, so that there is a second
    np.minimum.at(of_subject, places, values)
    first, second = np.partition(of_subject, 1)[:2]
    without = np.full(subjects, first)
    without[of_subject.argmin() : of_subject.argmin() + 1] = second
    return np.append(first, without)
