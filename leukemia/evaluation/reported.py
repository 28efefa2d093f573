"""What a paper reports of one result, as it is printed there, and what its counts give."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product

from leukemia.errors import UserError
from leukemia.evaluation.metrics import Confusion, from_confusion

METRICS = {"sensitivity": "sens", "specificity": "spec", "precision": "prec", "accuracy": "acc"}
CLOSE = 1e-9  # what floating point may add to a bound


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What is reported of one result; all but the name may be unknown (None).

    tp, fn, fp, tn: counts, all four or none. sensitivity, specificity, precision, accuracy: in
    [0, 1] as printed; text keeps the decimals ("0.90", "99.5 %"), while 0.90 is but 0.9.
    n_positive, n_negative: how many cells of each class exist on the side that was counted.
    at_most_positive, at_most_negative: how many there can be at most, where that is unknown.

    Raises:
        UserError: some counts without the others, or a figure that is no share.
    """

    name: str
    tp: float | None = None
    fn: float | None = None
    fp: float | None = None
    tn: float | None = None
    sensitivity: str | float | None = None
    specificity: str | float | None = None
    precision: str | float | None = None
    accuracy: str | float | None = None
    n_positive: int | None = None
    n_negative: int | None = None
    at_most_positive: int | None = None
    at_most_negative: int | None = None

    def __post_init__(self) -> None:
        given = [each is not None for each in self.four]
        if any(given) and not all(given):
            raise UserError(f"{self.name}: some of tp, fn, fp, tn are missing; give all or none")
        for printed in self.figures.values():
            span(printed)

    @property
    def four(self) -> tuple[float | None, ...]:
        """TP, FN, FP and TN as given."""
        return self.tp, self.fn, self.fp, self.tn

    @property
    def figures(self) -> dict[str, str | float]:
        """The reported metrics by name, as printed, without those that are unknown."""
        given = {name: getattr(self, name) for name in METRICS}
        return {name: printed for name, printed in given.items() if printed is not None}

    @property
    def counts(self) -> Confusion | None:
        """The matrix, or None if there is none or its counts are no counts."""
        if any(each is None or each < 0 or each % 1 != 0 for each in self.four):
            return None
        tp, fn, fp, tn = (int(each) for each in self.four if each is not None)
        return Confusion(tp=tp, fn=fn, fp=fp, tn=tn)

    @property
    def three_spans(self) -> tuple[tuple[float, float], ...] | None:
        """The spans of (sensitivity, specificity, accuracy); None if one of them is unknown."""
        figures, names = self.figures, ("sensitivity", "specificity", "accuracy")
        return tuple(span(figures[n]) for n in names) if set(names) <= set(figures) else None

    @property
    def ceilings(self) -> tuple[int | None, int | None]:
        """How many (positive, negative) cells can have been counted at most."""
        return (
            self.at_most_positive if self.n_positive is None else self.n_positive,
            self.at_most_negative if self.n_negative is None else self.n_negative,
        )


def span(printed: str | float) -> tuple[float, float]:
    """The lowest and highest value that is printed so, rounded or cut off, within [0, 1].

    Raises:
        UserError: it is no number, or no share.
    """
    value, unit = _read(printed)
    return max(value - unit / 2, 0.0), min(value + unit, 1.0)


def agrees(printed: str | float, value: float) -> bool:
    """Whether `value` is printed so, rounded or cut off."""
    shown, unit = _read(printed)
    return rounds_to(printed, value) or shown - CLOSE <= value < shown + unit - CLOSE


def value_of(printed: str | float) -> float:
    """The printed figure as a fraction."""
    return _read(printed)[0]


def rounds_to(printed: str | float, value: float) -> bool:
    """Whether `value` is printed so when it is rounded."""
    shown, unit = _read(printed)
    return abs(shown - value) <= unit / 2 + CLOSE


def _read(printed: str | float) -> tuple[float, float]:
    """The printed value and one unit of its last decimal, both as fractions."""
    text = str(printed).replace(" ", "")
    try:
        value = Decimal(text.removesuffix("%"))
        value = value.scaleb(-2) if text.endswith("%") else value
        unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
    except (InvalidOperation, ValueError) as error:
        raise UserError(f"'{printed}' is no number; write 0.89, '0.890' or '89 %'") from error
    if not 0 <= value <= 1:
        raise UserError(f"'{printed}' is no share of 0 to 1; write 0.89, '0.890' or '89 %'")
    return float(value), float(unit)


def recompute(counts: Confusion) -> dict[str, float]:
    """Metrics in words that four counts give: those of METRICS and others mistaken for them."""
    values = from_confusion(counts)
    swapped = Confusion(tp=counts.tn, fn=counts.fp, fp=counts.fn, tn=counts.tp)
    return {name: values[short] for name, short in METRICS.items()} | {
        "negative predictive value": from_confusion(swapped)["prec"],
        "balanced accuracy": values["bal_acc"],
        "F1": values["f1"],
    }


def both_outputs_right(counts: Confusion) -> tuple[float, float]:
    """Bounds of the share of images that are right in both of two one-hot outputs.

    For counts over two outputs an image. A wrong image has one or two wrong outputs, so there
    are between (FN + FP) / 2 and FN + FP of them, among TP + FN images.
    """
    wrong, images = counts.fn + counts.fp, counts.tp + counts.fn
    return max(1 - wrong / images, 0.0), 1 - wrong / (2 * images)


def implied_share(reported: Reported) -> tuple[float, float] | None:
    """The range of the share of positives that sensitivity, specificity and accuracy imply.

    accuracy = share * sensitivity + (1 - share) * specificity, solved for the share; it is
    monotone in each of the three, so its extremes are at corners of their spans. Outside
    [0, 1] just where accuracy is outside [sensitivity, specificity]. None where a figure is
    unknown, or sensitivity and specificity may be equal and every share would do.
    """
    spans = reported.three_spans
    if spans is None:
        return None
    sens, spec, acc = spans
    if sens[0] <= spec[1] and spec[0] <= sens[1]:
        return None
    corners = [(a - c) / (s - c) for s, c, a in product(sens, spec, acc)]
    return min(corners), max(corners)
