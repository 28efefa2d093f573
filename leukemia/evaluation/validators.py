"""Whether a paper's figures can be true together: rules anyone can run on any two-class matrix.

    check(Reported(name="ours", tp=90, fn=10, fp=5, tn=95, accuracy="0.95"))

Figures are given as printed: "0.90" and "90 %" have two decimals (the number 0.90 has one), and
any value that is rounded or cut off to them passes. So a problem is a contradiction, never a
matter of rounding; no problem is no proof that a figure is right. The rules are of figures of one
two-class matrix: averages over classes or over unequal folds need not obey them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leukemia.evaluation.reported import (
    CLOSE,
    Reported,
    agrees,
    both_outputs_right,
    implied_share,
    recompute,
    rounds_to,
    span,
)

RULES = {
    "whole counts": "counts are whole and not negative",
    "sides add up": "a class's counts sum to its cells on that side",
    "cells exist": "no class is counted more often than it has cells",
    "counted once": "positives equal negatives only where both classes are equally frequent",
    "accuracy between": "accuracy lies between sensitivity and specificity",
    "recomputed": "a reported figure is the one that its own counts give",
    "class shares": "the share of positives that the figures imply is the one that exists",
    "possible fraction": "some whole number of cells gives the reported share",
    "matrix is its own": "no two results have the same counts, or the same figures",
    "parts sum": "parts that are given add up to the whole that is given",
    "classes, not sides": "what is given as class counts is not the two sides of a split",
}
OF_SUMS = ("parts sum", "classes, not sides")  # the others are of matrices and their figures
SPLITS = (0.1, 0.15, 0.2, 0.25, 0.3)  # usual shares of the smaller side of a random split


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that cannot be: the result's name, a key of RULES, and why in plain words."""

    name: str
    rule: str
    text: str


def check(reported: Reported) -> list[Problem]:
    """Every problem of one result, in the order of RULES."""
    problems = []
    for rule, texts in {
        "whole counts": _whole_counts(reported),
        "sides add up": _sides(reported),
        "cells exist": _exist(reported),
        "counted once": _counted_once(reported),
        "accuracy between": _accuracy_between(reported),
        "recomputed": _recomputed(reported),
        "class shares": _class_shares(reported),
        "possible fraction": _possible(reported),
    }.items():
        problems += [Problem(name=reported.name, rule=rule, text=text) for text in texts]
    return problems


def check_many(results: Iterable[Reported]) -> list[Problem]:
    """Every problem of each result, then what is wrong between them: results that repeat."""
    listed = list(results)
    own = [problem for reported in listed for problem in check(reported)]
    return own + _repeated(listed)


def check_sum(name: str, parts: Mapping[str, int], whole: int) -> list[Problem]:
    """A problem if the named parts do not add up to `whole`."""
    total = sum(parts.values())
    if total == whole:
        return []
    summed = " + ".join(f"{number:,} ({part})" for part, number in parts.items())
    return [Problem(name=name, rule="parts sum", text=f"{summed} = {total:,}, not {whole:,}")]


def check_classes(name: str, first: int, second: int) -> list[Problem]:
    """A problem if two class counts are, to the cell, the sides of a random split of their sum.

    The smaller side is rounded up, as scikit-learn's train_test_split does. Round class counts
    (800 and 200) can be so by chance: it asks for a look, and proves nothing alone.
    """
    total, smaller = first + second, min(first, second)
    for share in SPLITS:
        if math.ceil(Decimal(str(share)) * total) == smaller:
            text = (
                f"{first:,} and {second:,} are to the cell the two sides of a "
                f"{1 - share:g} / {share:g} split of {total:,}"
            )
            return [Problem(name=name, rule="classes, not sides", text=text)]
    return []


def _whole_counts(reported: Reported) -> list[str]:
    return [
        f"{name} is {count}: a count of cells is whole and not negative"
        for name, count in zip(("TP", "FN", "FP", "TN"), reported.four, strict=True)
        if count is not None and (count < 0 or count % 1 != 0)
    ]


def _classes(reported: Reported) -> list[tuple[str, int]]:
    """(class, cells counted) for both classes, or nothing without a matrix."""
    counts = reported.counts
    if counts is None:
        return []
    return [("positive", counts.tp + counts.fn), ("negative", counts.fp + counts.tn)]


def _sides(reported: Reported) -> list[str]:
    known = (reported.n_positive, reported.n_negative)
    return [
        f"{counted:,} {name} cells are counted, but that side has {there:,}"
        for (name, counted), there in zip(_classes(reported), known, strict=False)
        if there is not None and counted < there
    ]


def _exist(reported: Reported) -> list[str]:
    return [
        f"{counted:,} {name} cells are counted, but at most {most:,} exist"
        for (name, counted), most in zip(_classes(reported), reported.ceilings, strict=False)
        if most is not None and counted > most
    ]


def _counted_once(reported: Reported) -> list[str]:
    """Counters over two one-hot outputs, as Keras' are, count each image once an output.

    Each of n images is a positive of one output and a negative of the other, so TP + FN =
    FP + TN = n whatever the classes. With outputs that sum to one (softmax) an image is right
    or wrong in both, so TP = TN and FP = FN as well. Equal sums alone are also what a balanced
    set gives: the rule speaks only if the counts cannot be of single cells.
    """
    counts, sides = reported.counts, (reported.n_positive, reported.n_negative)
    unequal = None not in sides and sides[0] != sides[1]
    if counts is None or counts.tp + counts.fn != counts.fp + counts.tn:
        return []
    images = counts.tp + counts.fn
    if not images or not (unequal or _exist(reported)):
        return []
    low, high = both_outputs_right(counts)
    return [
        f"positives equal negatives ({images:,} each), which single cells cannot give here: the "
        f"mark of counters over two one-hot outputs, which count each image twice (then {images:,} "
        f"images, a share of {low:.4f} to {high:.4f} of them right in both outputs)"
    ]


def _accuracy_between(reported: Reported) -> list[str]:
    """Accuracy is the mean of sensitivity and specificity, weighted by the class shares.

    (TP + TN) / N = P/N * TP/P + (N-P)/N * TN/(N-P), the two weights being of [0, 1] and
    summing to 1: so it cannot lie outside the two.
    """
    spans = reported.three_spans
    if spans is None:
        return []
    sens, spec, acc = spans
    if min(sens[0], spec[0]) <= acc[1] and acc[0] <= max(sens[1], spec[1]):
        return []
    figures = reported.figures
    where = "above" if acc[0] > max(sens[1], spec[1]) else "below"
    return [
        f"accuracy {figures['accuracy']} is {where} both sensitivity {figures['sensitivity']} "
        f"and specificity {figures['specificity']}, whose weighted mean it is"
    ]


def _recomputed(reported: Reported) -> list[str]:
    if reported.counts is None:
        return []
    values = recompute(reported.counts)
    texts = []
    for name, printed in reported.figures.items():
        if agrees(printed, values[name]):
            continue
        others = [f"the {n} {v:.4f}" for n, v in values.items() if rounds_to(printed, v)]
        same = f"; {printed} equals {' and '.join(others)}" if others else ""
        texts.append(f"reported {name} {printed}, but the counts give {values[name]:.4f}{same}")
    return texts


def _class_shares(reported: Reported) -> list[str]:
    implied, positive, negative = implied_share(reported), reported.n_positive, reported.n_negative
    if implied is None or positive is None or negative is None or _accuracy_between(reported):
        return []
    share = positive / (positive + negative)
    if implied[0] - CLOSE <= share <= implied[1] + CLOSE:
        return []
    return [
        f"sensitivity, specificity and accuracy imply a share of {max(implied[0], 0):.3f} to "
        f"{min(implied[1], 1):.3f} positive cells, but it is {share:.3f}"
    ]


def _possible(reported: Reported) -> list[str]:
    """GRIM (Brown & Heathers 2017): of N cells only k / N are possible, k whole.

    Only for figures without a matrix: with one, "recomputed" says more.
    """
    if any(each is not None for each in reported.four):
        return []
    positive, negative = reported.n_positive, reported.n_negative
    both = None if positive is None or negative is None else positive + negative
    cells = {"sensitivity": positive, "specificity": negative, "accuracy": both}
    return [
        f"no whole number of {cells[name]:,} cells gives {name} {printed}"
        for name, printed in reported.figures.items()
        if cells.get(name) and not _reachable(printed, cells[name] or 0)
    ]


def _reachable(printed: str | float, cells: int) -> bool:
    low, high = span(printed)
    near = range(math.floor(low * cells), math.ceil(high * cells) + 1)
    return any(agrees(printed, k / cells) for k in near)


def _repeated(results: list[Reported]) -> list[Problem]:
    """Results that share four counts or, where there are none, three or more figures."""
    seen: dict[tuple[Any, ...], list[str]] = {}
    for reported in results:
        if reported.counts is not None:
            seen.setdefault(("four counts", *reported.four), []).append(reported.name)
        elif len(reported.figures) > 2:
            shares = tuple((name, span(v)) for name, v in reported.figures.items())
            seen.setdefault(("figures", *shares), []).append(reported.name)
    return [
        Problem(
            name=", ".join(names),
            rule="matrix is its own",
            text=f"the same {what} are given for {' and '.join(names)}",
        )
        for (what, *_), names in seen.items()
        if len(names) > 1
    ]
