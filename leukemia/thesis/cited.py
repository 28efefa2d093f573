"""What the thesis' Figures 1 to 3 give of others' work, held to the rules of a two-class test."""

from dataclasses import dataclass

from leukemia.evaluation.reported import CLOSE, Reported, span, value_of
from leukemia.evaluation.validators import check
from leukemia.thesis.document import Bullets, Paragraph, Section, Table
from leukemia.thesis.numbers import Rows


@dataclass(frozen=True, kw_only=True)
class Cited:
    """A result in one of the three figures.

    year: of the work. f1: as printed. before: accuracy before the classes were balanced, where
    the figure gives both.
    """

    figure: int
    year: int
    reported: Reported
    f1: str | None = None
    before: str | None = None


def _cited(
    figure: int,
    year: int,
    name: str,
    f1: str | None = None,
    before: str | None = None,
    *,
    sensitivity: str | None = None,
    specificity: str | None = None,
    precision: str | None = None,
    accuracy: str | None = None,
) -> Cited:
    reported = Reported(
        name=name,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=precision,
        accuracy=accuracy,
    )
    return Cited(figure=figure, year=year, reported=reported, f1=f1, before=before)


CITED = (
    _cited(1, 2022, "Das, logistic regression and SVM", "0.95", sensitivity="100 %",
           specificity="93.5 %", precision="91.3 %", accuracy="96 %"),
    _cited(1, 2022, "Das, hybrid", "0.97", sensitivity="96 %", specificity="98.4 %",
           precision="98.5 %", accuracy="97 %"),
    _cited(1, 2022, "Ghaderzadeh", sensitivity="99.4 %", specificity="96.7 %", accuracy="98.5 %"),
    _cited(1, 2022, "de Sant'Anna, SVM + KNN + NB", "93.70 %", sensitivity="95.47 %",
           accuracy="88.13 %"),
    _cited(1, 2021, "Jamakayala", accuracy="96.3 %"),
    _cited(1, 2022, "Liu, ResNet-50", accuracy="97 %"),
    _cited(1, 2022, "Liu, MobileNetV2", accuracy="95.7 %"),
    _cited(2, 2022, "Ahmad", "0.80", "72 %", sensitivity="0.76", specificity="0.83",
           precision="0.83", accuracy="96 %"),
    _cited(2, 2022, "Li", "98 %"),
    _cited(2, 2020, "Zulkifley", before="94 %", accuracy="97 %"),
    _cited(2, 2022, "Tong, CNN", "99.7 %", accuracy="100 %"),
    _cited(2, 2022, "Tong, LSTM", "100 %", accuracy="99.2 %"),
    _cited(2, 2022, "Tong, ResNet", "99.9 %", accuracy="100 %"),
    _cited(2, 2022, "Tong, AlexNet", "99.3 %", accuracy="100 %"),
    _cited(2, 2021, "Saleem, DarkNet 53", accuracy="100 %"),
    _cited(2, 2021, "Saleem, ShuffleNet", accuracy="99.7 %"),
    _cited(3, 2021, "De Sant'Anna", "0.9"),
    _cited(3, 2018, "Shafique", "0.9", accuracy="99.5 %"),
    _cited(3, 2022, "Kaur, SMOTE", "94 %", sensitivity="94 %"),
    _cited(3, 2022, "Kaur, ADASYN", "93 %", sensitivity="93 %", precision="94 %"),
    _cited(3, 2018, "Kurniawati", "95.3 %", sensitivity="95.4 %", precision="95.5 %",
           accuracy="95.3 %"),
)  # fmt: skip
# Mondal et al. 2021 in Figure 1: weighted precision and F1 of each network.
MONDAL = {
    "VGG-16": (0.84, 0.85), "Xception": (0.86, 0.86), "MobileNet": (0.84, 0.84),
    "InceptionResNet": (0.83, 0.84), "DenseNet-121": (0.82, 0.83), "ensemble": (0.9, 0.9),
}  # fmt: skip
PRAISED = "DenseNet-121"  # 2.9: "achieved the most effective result"


def problems(cited: Cited) -> list[str]:
    """What cannot be in a row: accuracy outside sensitivity and specificity, an impossible F1."""
    texts = [each.text for each in check(cited.reported)]
    bounds = f1_bounds(cited.reported)
    if cited.f1 and bounds:
        low, high = span(cited.f1)
        if bounds[1] < low - CLOSE or high + CLOSE < bounds[0]:
            texts.append(
                f"precision and sensitivity give an F1 of {bounds[0]:.3f} to {bounds[1]:.3f}, not "
                f"{cited.f1}"
            )
    return texts


def f1_bounds(reported: Reported) -> tuple[float, float] | None:
    """The lowest and highest F1 that the printed precision and sensitivity allow, or None."""
    if reported.precision is None or reported.sensitivity is None:
        return None
    spans = zip(span(reported.precision), span(reported.sensitivity), strict=True)
    low, high = (2 * precision * recall / (precision + recall) for precision, recall in spans)
    return low, high


def implied_accuracy(reported: Reported) -> float | None:
    """The accuracy that sensitivity, specificity and precision imply; None if one is unknown.

    precision = share sens / (share sens + (1 - share)(1 - spec)) gives the share of positives,
    and that weighs sensitivity against specificity.
    """
    printed = (reported.sensitivity, reported.specificity, reported.precision)
    if None in printed:
        return None
    sens, spec, prec = (value_of(each) for each in printed if each is not None)
    missed = sens * (1 - prec)
    share = prec * (1 - spec) / (missed + prec * (1 - spec))
    return share * sens + (1 - share) * spec


def broken(cited: tuple[Cited, ...] = CITED) -> list[Cited]:
    """The rows that cannot be."""
    return [each for each in cited if problems(each)]


def what_follows(cited: Cited) -> str:
    """What is wrong with a row, and what its other figures imply, in words."""
    texts = problems(cited)
    implied = implied_accuracy(cited.reported)
    if texts and cited.before and not _lies_between(cited.before, cited.reported):
        texts.append(f"nor does the {cited.before} that it improved on lie between the two")
    if texts and implied is not None:
        texts.append(f"its sensitivity, specificity and precision imply {implied:.2f}")
    return "; ".join(texts)


def _lies_between(accuracy: str, reported: Reported) -> bool:
    assert reported.sensitivity is not None
    assert reported.specificity is not None
    changed = Reported(
        name=reported.name, sensitivity=reported.sensitivity, specificity=reported.specificity,
        accuracy=accuracy,
    )  # fmt: skip
    return not check(changed)


def section(figure_35: Rows) -> Section:
    """The results of Figures 1 to 3 that can be checked, and where figures and text disagree."""
    held = [each for each in CITED if each.reported.three_spans]
    averaged = [each for each in CITED if each.f1 and f1_bounds(each.reported)]
    shown = [each for each in CITED if each in held or each in averaged]
    named = [f"{each.reported.name} {each.year} in Figure {each.figure}" for each in broken()]
    text = (
        f"Of {len(CITED)} results {len(held)} come with sensitivity, specificity and accuracy, "
        f"which must lie between the two (as in Figure 35), and {len(averaged)} with precision, "
        f"sensitivity and F1, which must be their harmonic mean; the others give too little to be "
        f"checked. Results that break a rule: {len(named)} ({', '.join(named) or 'none'})."
    )
    table = Table(
        caption="Results of Figures 1 to 3 (2.9). Marked: cannot be of a two-class test.",
        head=("result", "figure", "sensitivity", "specificity", "precision", "F1", "accuracy",
              "what is wrong"),
        rows=tuple(_row(each) for each in shown),
        marked=frozenset(n for n, each in enumerate(shown) if problems(each)),
    )  # fmt: skip
    return Section(
        title="The literature that it cites (Figures 1 to 3)",
        blocks=(Paragraph(text=text), table, Bullets(items=tuple(_besides(figure_35)))),
    )


def _row(cited: Cited) -> tuple[str, ...]:
    names = ("sensitivity", "specificity", "precision")
    accuracy = cited.reported.accuracy or "-"
    return (
        f"{cited.reported.name} {cited.year}",
        str(cited.figure),
        *(str(cited.reported.figures.get(name, "-")) for name in names),
        cited.f1 or "-",
        f"{accuracy}, from {cited.before}" if cited.before else str(accuracy),
        what_follows(cited),
    )


def _besides(figure_35: Rows) -> list[str]:
    """What the figures and their text say against each other."""
    texts = [
        f"{cited.reported.name} {cited.year}: accuracy {cited.reported.accuracy} in Figure "
        f"{cited.figure}, {other.accuracy} in Figure 35."
        for cited in CITED
        for year, other in figure_35
        if (other.name, year) == (cited.reported.name, cited.year)
        and cited.reported.accuracy != other.accuracy
    ]
    precision, f1 = MONDAL[PRAISED]
    if all(precision <= other for other, _ in MONDAL.values()):
        texts.append(
            f"Section 2.9 calls {PRAISED} the most effective network of Mondal et al. 2021, with a "
            f"weighted precision of {100 * precision:.0f} % and an F1 of {100 * f1:.0f} %; in "
            f"Figure 1 it has the lowest of {len(MONDAL)}."
        )
    plain, hybrid = CITED[0].reported, CITED[1].reported
    if value_of(hybrid.accuracy or 0) > value_of(plain.accuracy or 0):
        texts.append(
            f"Section 2.9 finds Das et al. 2022 more effective with an accuracy of "
            f"{plain.accuracy} than their hybrid models; Figure 1 gives these {hybrid.accuracy}."
        )
    return texts
