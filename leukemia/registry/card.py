"""The model card of a registered classifier, written from what its run logged. Pure.

Source: Mitchell et al. 2019, "Model cards for model reporting".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from leukemia import RESEARCH_ONLY
from leukemia.evaluation.by_subject import by_class, worst
from leukemia.evaluation.metrics import METRICS
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.text.escape import code_block, markdown

WORST = 5  # subjects named on the card
LONGEST = 5000  # characters that MLflow's PostgreSQL tables take as a version's description


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a training run logged.

    tags, metrics: as in MLflow. subjects: the rows of its test_subjects.csv. waived: what the
    audit found and somebody chose to overlook, or "".
    """

    run_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    subjects: pd.DataFrame
    waived: str = ""

    @property
    def shown(self) -> dict[str, str]:
        """The tags as Markdown that shows them as they are: whoever may log wrote them."""
        return {name: markdown(value) for name, value in self.tags.items()}


def card(run: Logged) -> str:
    """Markdown: use, data, protocol, figures with intervals, calibration, errors, limits."""
    parts = [_head(run), _data(run), _figures(run), _calibration(run), _errors(run), _limits(run),
             _source(run)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def as_description(text: str, whole: str) -> str:
    """A card as a version's description: what fits, and where the whole card is.

    MLflow's page shows Markdown tables without space between their columns: it is put there.
    """
    text = text.replace(" | ", "\u00a0\u00a0\u00a0 | ")
    if len(text) <= LONGEST:
        return text
    end = f"\n\n(cut; the whole card: {whole})\n"
    return text[: text.rindex("\n", 0, LONGEST - len(end))] + end


def _head(run: Logged) -> str:
    tags = run.shown
    drawn = f"\n\n**SIMULATED DATA: {tags['simulated_data']}.**" if tags["simulated_data"] else ""
    waived = f"\n\n**{markdown(run.waived)}.**" if run.waived else ""
    return (
        f"**{RESEARCH_ONLY}**{drawn}{waived}\n\n"
        f"## What it is\n\n"
        f"Probability that a picture of a single cell is '{tags['positive']}' (the other class: "
        f"'{tags['negative']}'). Technique {tags['arm']}, seed {tags['seed']}, fold "
        f"{tags['fold']} of split {tags['split_seed']}, budget {tags['budget']}; "
        f"{tags['note']}. Meant for comparing techniques on cells like those below; for nothing "
        f"else."
    )


def _data(run: Logged) -> str:
    tags = run.shown
    return (
        f"## Cells and protocol\n\n"
        f"Cells: {tags['cells']}; data digest {tags['data_digest']}. Centre window of "
        f"{tags['crop']} px seen at {tags['image_size']} px{_unusual(run)}.\n\n"
        f"Split: {tags['protocol_line']}\n\n"
        f"Audit before training:\n\n{code_block(run.tags['audit'])}"
    )


def _unusual(run: Logged) -> str:
    pixels = run.shown.get("pixels", "")
    return f" ({pixels})" if pixels else ""


def _figures(run: Logged) -> str:
    metrics = run.metrics
    rows = [
        f"| {name} | {metrics[f'test_{name}']:.3f} | {_span(metrics, f'test_{name}')} | "
        f"{_number(metrics, f'val_{name}')} | {metric.long_name} |"
        for name, metric in METRICS.items()
        if f"test_{name}" in metrics
    ]
    head = "| metric | test | 95 % interval | validation | |\n|---|---|---|---|---|\n"
    return (
        f"## Figures\n\n"
        f"On real cells of {metrics['test_subjects']:.0f} test subjects, threshold "
        f"{metrics.get('threshold', THRESHOLD):.4g}. Interval: {run.shown['interval_method']}.\n\n"
        f"{head}" + "\n".join(rows) + f"\n\nOverfitting: {run.shown['verdict']}."
    )


def _calibration(run: Logged) -> str:
    metrics = run.metrics
    return (
        f"## Calibration and operating threshold\n\n"
        f"Expected calibration error {_number(metrics, 'test_ece')}, Brier score "
        f"{_number(metrics, 'test_brier')} on test cells; after temperature scaling "
        f"{_number(metrics, 'test_ece_t')} and {_number(metrics, 'test_brier_t')} "
        f"({run.shown['calibration']}).\n\n"
        f"Calibration slope {_number(metrics, 'test_slope')} ({_span(metrics, 'test_slope')}; 1 is "
        f"right), log-odds to be moved by {_number(metrics, 'test_citl')} "
        f"({_span(metrics, 'test_citl')}). Called positive from "
        f"{_number(metrics, 'threshold_v')}, the threshold best on validation, the test balanced "
        f"accuracy is {_number(metrics, 'test_bal_v')} ({_span(metrics, 'test_bal_v')}).\n\n"
        f"Operating point: {run.shown['operating']}"
    )


def _errors(run: Logged) -> str:
    names = {name: run.tags[name] for name in ("positive", "negative")}
    classes = by_class(run.subjects, {1: names["positive"], 0: names["negative"]})
    columns = ["subject", "group", "cells", "errors", "error_rate", "mean_score"]
    few = worst(run.subjects, WORST)[columns].replace({"group": names})
    few = few.rename(columns={"group": "class"})
    return (
        f"## Errors by subgroup\n\n{_markdown(classes)}\n\n"
        f"The {len(few)} test subjects with the highest share of errors:\n\n{_markdown(few)}"
    )


def _limits(run: Logged) -> str:
    return (
        f"## Limits\n\n"
        f"- Not for diagnosis. No clinician has looked at its calls.\n"
        f"- {run.metrics['test_subjects']:.0f} test subjects of one source; another stain, camera "
        f"or hospital was not tried.\n"
        f"- One network of one seed, split and fold: another training gives another network.\n"
        f"- Cells must be cut out singly, as in the data above; nothing tells it that a picture "
        f"is no cell."
    )


def _source(run: Logged) -> str:
    dirty = " with uncommitted changes" if run.tags.get("git_dirty") == "true" else ""
    commit = run.shown.get("git_commit") or "unknown"
    return f"## Where it comes from\n\nRun {run.run_id}, code {commit}{dirty}."


def _span(metrics: Mapping[str, float], name: str) -> str:
    return f"{_number(metrics, f'{name}_lo')} to {_number(metrics, f'{name}_hi')}"


def _number(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.3f}" if name in metrics else "not defined"


def _markdown(table: pd.DataFrame) -> str:
    """A table of texts and numbers as Markdown."""
    head = f"| {' | '.join(map(str, table.columns))} |\n|{'---|' * len(table.columns)}\n"
    return head + "\n".join(
        f"| {' | '.join(_cell(value) for value in row)} |" for row in table.itertuples(index=False)
    )


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else markdown(str(value))
