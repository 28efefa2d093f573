"""The thesis re-told: what it reports, what its own counts give, and what can be believed.

Every figure is computed from `numbers` or from the runs that are handed in; none is typed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukemia import RESEARCH_ONLY
from leukemia.evaluation.reported import agrees, recompute
from leukemia.evaluation.validators import OF_SUMS, RULES
from leukemia.thesis import cited, claims, disputed, matrices, numbers, turns
from leukemia.thesis import own as own_runs
from leukemia.thesis.document import Bullets, Document, Section, to_html, to_markdown
from leukemia.thesis.numbers import Rows, Technique
from leukemia.thesis.plots import order_figure, own_figure, recomputed_figure


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report as text, as one self-contained page, and its plots (uint8 (H, W, 3) by name)."""

    markdown: str
    html: str
    figures: Mapping[str, np.ndarray]


def build(
    own: pd.DataFrame | None = None,
    techniques: Sequence[Technique] = numbers.TECHNIQUES,
    figure_35: Rows = numbers.FIGURE_35,
) -> Report:
    """The report on the thesis, and on own runs if there are any.

    own: one row a technique and protocol, with own.COLUMNS; None or empty: no runs yet.

    Raises:
        UserError: own lacks columns or repeats itself.
    """
    runs = own_runs.checked(own)
    document = Document(
        title=f"Can the thesis' {_headline(figure_35)} be believed?",
        subtitle=f"On {numbers.THESIS}. Numbers in brackets are its sections.",
        sections=(
            Section(
                title="In five sentences",
                blocks=(Bullets(items=_summary(runs, techniques, figure_35), numbered=True),),
            ),
            matrices.recomputed_section(techniques),
            matrices.order_section(techniques),
            matrices.findings_section(techniques),
            matrices.counted_twice_section(techniques),
            disputed.section(techniques),
            turns.section(techniques),
            claims.class_counts_section(techniques),
            cited.section(figure_35),
            claims.figure_35_section(figure_35, techniques),
            claims.figure_36_section(techniques),
            claims.terms_section(techniques),
            claims.published_section(),
            own_runs.section(runs),
        ),
        foot=(_not_to_be_believed(techniques), f"**{RESEARCH_ONLY}**"),
    )
    figures = _figures(runs, techniques)
    return Report(markdown=to_markdown(document), html=to_html(document, figures), figures=figures)


def _figures(runs: pd.DataFrame | None, techniques: Sequence[Technique]) -> dict[str, np.ndarray]:
    verdict, validated = matrices.verdict(techniques), matrices.validated(techniques)
    drawn = {
        "recomputed": recomputed_figure(techniques),
        "order": order_figure(
            [(each.name, str(each.reported.accuracy)) for each in verdict],
            [(each.name, str(each.val_accuracy)) for each in validated],
        ),
    }
    for number, group in enumerate([] if runs is None else own_runs.groups(runs)):
        drawn[own_runs.picture(number)] = own_figure(group, own_runs.terms(group))
    return drawn


def _headline(rows: Rows) -> str:
    """The accuracy that the thesis gives for itself."""
    return next((str(r.accuracy) for _, r in rows if r.name == numbers.OWN), "figures")


def _summary(
    runs: pd.DataFrame | None, techniques: Sequence[Technique], rows: Rows
) -> tuple[str, ...]:
    return (
        _on_matrices(techniques),
        _on_counting(techniques),
        _on_order(techniques),
        _on_others(rows),
        own_runs.sentence(runs),
    )


def _on_matrices(techniques: Sequence[Technique]) -> str:
    problems, printed = matrices.problems(techniques), matrices.printed(techniques)
    recomputed = {problem.name for problem in problems if problem.rule == "recomputed"}
    wrong = [t for t in printed if t.name in recomputed]
    share = "All" if len(wrong) == len(printed) else f"{len(wrong)} of the"
    broken, rules = len({p.rule for p in problems}), len(RULES) - len(OF_SUMS)
    text = (
        f"**{share} {len(printed)} confusion matrices** that the thesis prints contradict the "
        f"figures reported with them; together they break {broken} of {rules} rules in "
        f"{len(problems)} places"
    )
    same = [p.name.replace(", ", " and ") for p in problems if p.rule == "matrix is its own"]
    return f"{text}, and {'; '.join(same)} have the same four counts." if same else f"{text}."


def _on_counting(techniques: Sequence[Technique]) -> str:
    doubled = matrices.doubled(techniques)
    if not doubled:
        return "No matrix bears the mark of images that are counted twice."
    names = ", ".join(each.name for each in doubled)
    return (
        f"**Images were counted twice**, as {len(doubled)} matrices ({names}) show: positives "
        f"equal negatives where single cells cannot, and the images are training images, made ones "
        f"among them, so that no reported sensitivity or specificity is of new patients."
    )


def _on_order(techniques: Sequence[Technique]) -> str:
    told = ", ".join(f"{t.name} {t.val_accuracy}" for t in matrices.validated(techniques))
    return (
        f"**By validation accuracy** the order is {told}: {matrices.compared(techniques)} the "
        f"thesis' verdict."
    )


def _on_others(rows: Rows) -> str:
    wrong = claims.impossible(rows)
    low, high = claims.f1_range()
    named = f" ({', '.join(wrong)})" if wrong else ""
    return (
        f"**{len(wrong)} of the {len(rows)} rows** of its comparison with others{named} cannot be "
        f"of a two-class test, and with subjects kept apart published work reaches an F1 of "
        f"{low:.3f} to {high:.3f} on these cells, not {_headline(rows)}."
    )


def _not_to_be_believed(techniques: Sequence[Technique]) -> str:
    """The reported figures that their own counts deny, by name."""
    denied = []
    for each in matrices.printed(techniques):
        assert each.reported.counts is not None  # printed() has those with a matrix
        values = recompute(each.reported.counts)
        names = [f"{n} {v}" for n, v in each.reported.figures.items() if not agrees(v, values[n])]
        denied += [f"{each.name} ({', '.join(names)})"] if names else []
    return (
        f"Not to be believed as reported: {'; '.join(denied) or 'none'}. Not to be believed of new "
        f"patients: any sensitivity, specificity, precision or accuracy of sections 4.4 to 4.8, "
        f"and any figure here under protocol `{own_runs.LEAKY}`."
    )
