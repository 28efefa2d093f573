"""The ranking in MLflow: one flat summary run an arm, rank tags, and the saved views."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Run, RunTag

from leukemia.evaluation.metrics import METRICS
from leukemia.ranking import inflation, peers
from leukemia.ranking.details import Details
from leukemia.ranking.details import as_text as details_text
from leukemia.ranking.inflation import Inflation
from leukemia.ranking.power import LEVEL
from leukemia.ranking.rank import CELLS, CHOICE, COSTS, SHOWN, Ranking
from leukemia.ranking.text import as_text
from leukemia.splits.protocol import over_folds
from leukemia.text.escape import markdown
from leukemia.text.spreadsheet import as_csv
from leukemia.tracking import views
from leukemia.tracking.views import Card, Section

RANKING, CHARTS = "ranking", "charts"  # keys of the saved views
PROTOCOLS, PROTOCOLS_TABLE = "protocols", "protocols-table"
PROTOCOL_SUMMARY = "protocol summary"  # the kind of a run that stands for many
# In the order of the saved table: a figure, then how wide it is, then the rest.
COLUMNS = ["rank", "tie", "val", "val_sd", "runs", "test", "lo", "hi", "gain", "gain_p", "lead",
           "lead_p", "subjects", "sd_subjects", "sd_splits", "sd_networks", *SHOWN, *CELLS, *COSTS,
           "wh", "s_per_point", "overfits"]  # fmt: skip
SHARED = ["protocol", "budget", "data_digest", "weights", "simulated_data", "cells"]
# One colour an arm on every chart; Okabe and Ito 2008, distinct to colour-blind readers.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
ROW = 300  # pixels that a row of three pictures takes on an image card


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What else is published with a ranking: files of text by name, and pictures (H, W, 3) uint8 by
    the name of their file without its ending."""

    texts: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


def publish(
    experiment_id: str,
    ranking: Ranking,
    details: Details,
    kept: pd.DataFrame,
    waived: str,
    beside: Beside,
) -> None:
    """Write the ranking: summary runs (made or renewed), rank tags on the runs, saved views.

    What is no arm's, or a second one of an arm, becomes a `former summary`, which no view shows.

    Args:
        details: the tables beside it.
        kept: the records that the ranking was made from.
        waived: the audit's findings that were overlooked, in a line, or "".
        beside: what goes to the summary of each arm too, pictures to that of the leader alone.
    """
    client = mlflow.MlflowClient()
    summaries, renewed = _runs_of_kind(client, experiment_id, "summary"), set()
    by_arm = {run.data.tags.get("arm", ""): run for run in summaries}
    tables = f"{as_text(ranking)}\n\n{details_text(details)}\n"
    text = "\n".join([tables, *ranking.notes, peers.line(kept), waived])
    for number, (_, row) in enumerate(ranking.table.sort_values("arm").iterrows()):
        run = by_arm.get(row["arm"]) or _new(client, experiment_id, "summary", row["arm"])
        renewed.add(run.info.run_id)
        colour = COLOURS[number % len(COLOURS)]
        _write_summary(client, run.info.run_id, row, kept.iloc[-1], colour)
        _log_ranking(client, run.info.run_id, ranking, text, waived)
        for name in ("thresholds", "calibration", "review"):
            client.log_text(run.info.run_id, as_csv(getattr(details, name)), f"{name}.csv")
        for name, content in beside.texts.items():
            client.log_text(run.info.run_id, content, name)
        for name, picture in beside.pictures.items() if row["rank"] == 1 else ():
            client.log_image(run.info.run_id, picture, artifact_file=f"{name}.png")
        client.set_tag(row["run_id"], "mlflow.runColor", colour)
    for run in summaries:
        if run.info.run_id not in renewed:
            client.set_tag(run.info.run_id, "kind", "former summary")
    _tag_best(client, experiment_id, ranking.table)
    _save_views(client, experiment_id)


def publish_inflation(experiment_id: str, measured: Inflation) -> None:
    """Write one flat run a technique and protocol with its metric, a chart and a table."""
    client = mlflow.MlflowClient()
    for run in _runs_of_kind(client, experiment_id, PROTOCOL_SUMMARY):
        client.delete_run(run.info.run_id)
    arms = list(dict.fromkeys(measured.figures["arm"]))
    text, drawn, name = (
        inflation.as_text(measured),
        inflation.figure(measured),
        f"test_{measured.metric}",
    )
    for number, row in enumerate(measured.figures.to_dict("records")):
        title, protocol = f"{row['arm']} {row['protocol']}", row["protocol"]
        run_id = _new(client, experiment_id, PROTOCOL_SUMMARY, row["arm"], title).info.run_id
        place = arms.index(row["arm"]) * len(inflation.ORDER) + inflation.ORDER.index(protocol)
        values = {"place": place, name: row["value"], "lo": row["lo"], "hi": row["hi"]}
        if protocol == inflation.ORDER[-1]:
            values |= _added(measured.steps[measured.steps["arm"] == row["arm"]])
        colour = COLOURS[inflation.ORDER.index(protocol)]
        note = f"{row['runs']} runs of {title}. {measured.about} Research use only."
        _log(client, run_id, values, {
            "protocol": protocol, "mlflow.runColor": colour, "mlflow.note.content": markdown(note),
        })  # fmt: skip
        client.log_text(run_id, text, "inflation.txt")
        if not number:  # a picture card would show it once for each run that has it
            client.log_image(run_id, drawn, key="inflation", step=0, synchronous=True)
    _save_protocol_views(client, experiment_id, name)


def _added(steps: pd.DataFrame) -> dict[str, float]:
    """adds_random, adds_balancing and adds_both, each with its interval."""
    return {
        f"adds_{step['step'].split()[0]}{end}": step[key]
        for step in steps.to_dict("records")
        for end, key in (("", "difference"), ("_lo", "lo"), ("_hi", "hi"))
    }


def _save_protocol_views(client: mlflow.MlflowClient, experiment_id: str, name: str) -> None:
    """Bars of technique by protocol in this order, and the table with the intervals."""
    search = f"tags.kind = '{PROTOCOL_SUMMARY}'"
    summaries = _runs_of_kind(client, experiment_id, PROTOCOL_SUMMARY)
    carried = {metric for run in summaries for metric in run.data.metrics}
    sections = [
        Section(
            name="Test cells: technique by protocol",
            cards=(Card(kind="bar", keys=(name,)),),
            columns=1,
            height=560,
        ),
        Section(
            name="With 95 % intervals (click to enlarge)",
            cards=(Card(kind="images", keys=("inflation",)),),
            columns=1,
            height=400,
        ),
    ]
    chart = views.charts_view("Protocols", search, "place", sections, carried, ["inflation"])
    columns = [name, "lo", "hi", "adds_random", "adds_balancing", "adds_both"]
    table = views.table_view("Protocols, table", search, "place", columns)
    for key, value in ((PROTOCOLS, chart), (PROTOCOLS_TABLE, table)):
        client.set_experiment_tag(experiment_id, views.TAG + key, value)


def _runs_of_kind(client: mlflow.MlflowClient, experiment_id: str, kind: str) -> list[Run]:
    return list(client.search_runs([experiment_id], f"tags.kind = '{kind}'"))


def _new(
    client: mlflow.MlflowClient, experiment_id: str, kind: str, arm: str, name: str = ""
) -> Run:
    run = client.create_run(experiment_id, tags={"kind": kind, "arm": arm}, run_name=name or arm)
    client.set_terminated(run.info.run_id)
    return run


def _log(
    client: mlflow.MlflowClient, run_id: str, values: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    now = int(time.time() * 1000)
    # Rounded, since MLflow's table prints every digit.
    finite = {name: round(float(v), 4) for name, v in values.items() if math.isfinite(v)}
    metrics = [Metric(name, value, now, 0) for name, value in finite.items()]
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(k, str(v)) for k, v in tags.items()])


def _write_summary(
    client: mlflow.MlflowClient, run_id: str, row: pd.Series, last: pd.Series, colour: str
) -> None:
    shared = {name: str(last.get(name, "")) for name in SHARED}
    line = last["protocol_line"]
    line = over_folds(line) if row["runs"] > row["seeds"] else line
    note = (
        f"{row['runs']} runs of {row['seeds']} seed(s). {markdown(line)} "
        f"{markdown(shared['cells'])}. Ordered by `val`, the validation metric; lo to hi: 95 % "
        f"interval of `test` over {row['subjects']} test subjects; tie 1: not significantly "
        f"different from the leader (corrected p not below {LEVEL:g}). Best run: {row['run_id']}. "
        f"Research use only; not for diagnosis."
    )
    tags = {"rank": row["rank"], "best_run": row["run_id"], "mlflow.note.content": note,
            "mlflow.runColor": colour}  # fmt: skip
    _log(client, run_id, {name: row[name] for name in COLUMNS}, shared | tags)


def _log_ranking(
    client: mlflow.MlflowClient, run_id: str, ranking: Ranking, text: str, waived: str
) -> None:
    client.log_text(run_id, text, "ranking.txt")
    client.log_text(run_id, as_csv(ranking.comparisons), "comparisons.csv")
    client.log_batch(run_id, tags=[RunTag("metric", ranking.metric), RunTag("waived", waived)])


def _tag_best(client: mlflow.MlflowClient, experiment_id: str, table: pd.DataFrame) -> None:
    """Mark each arm's best run, which stands for it on the charts, and no other run."""
    marked = client.search_runs([experiment_id], "tags.best_of_arm = 'true'")
    for run in marked:
        if run.info.run_id not in set(table["run_id"]):
            client.set_tag(run.info.run_id, "best_of_arm", "false")
    for row in table.to_dict("records"):
        tags = {"rank": row["rank"], "best_of_arm": "true"}
        client.log_batch(row["run_id"], tags=[RunTag(k, str(v)) for k, v in tags.items()])


def _save_views(client: mlflow.MlflowClient, experiment_id: str) -> None:
    """The table of summaries, and curves and pictures of each arm's best run.

    One run an arm, since MLflow's picture cards show ten runs and no more.
    """
    search = "tags.kind = 'train' and tags.best_of_arm = 'true'"
    best = list(client.search_runs([experiment_id], search))
    metrics = {name for run in best for name in run.data.metrics}
    pictures = [key for run in best for key in run.data.tags.get("pictures", "").split(",") if key]
    page = sections(metrics, pictures, _last_gan_epoch(client, best))
    saved = {
        RANKING: views.table_view("Ranking", "tags.kind = 'summary'", "rank", COLUMNS),
        # While the page loads it holds the summaries too: their metrics want no cards either.
        CHARTS: views.charts_view(
            "Curves and pictures", search, f"val_{CHOICE}", page, {*metrics, *COLUMNS}, pictures
        ),
    }
    for key, value in saved.items():
        client.set_experiment_tag(experiment_id, views.TAG + key, value)


def _last_gan_epoch(client: mlflow.MlflowClient, best: list[Run]) -> int:
    trained = [run for run in best if "gan_g_loss" in run.data.metrics]
    histories = [client.get_metric_history(run.info.run_id, "gan_g_loss") for run in trained]
    return max((each.step for history in histories for each in history), default=0)


def sections(metrics: set[str], pictures: list[str], last_gan_epoch: int) -> list[Section]:
    """The chart page: curves, test figures, GAN, pictures; what no run has is left out.

    pictures: the names that each run carries, one after another.
    """
    curves = [Card(kind="line", keys=(f"train_{n}", f"val_{n}")) for n in ("loss", "acc")]
    curves.append(Card(kind="line", keys=(f"val_{CHOICE}",)))
    shown = [f"test_{name}" for name, metric in METRICS.items() if metric.higher_is_better]
    test = [Card(kind="bar", keys=(name,)) for name in shown if name in metrics]
    gan = [
        Card(kind="line", keys=("gan_g_loss", "gan_d_loss")),
        Card(kind="line", keys=("gan_d_real", "gan_d_fake")),
    ]
    gan.append(Card(kind="line", keys=("gan_kid",)))
    sections = [
        Section(name="Training and validation by epoch", cards=tuple(curves), columns=3),
        Section(name="Test cells, final model", cards=tuple(test), columns=3, height=300),
        Section(
            name="Cost",
            cards=tuple(Card(kind="bar", keys=(name,)) for name in COSTS),
            columns=3,
            height=300,
        ),
    ]
    if "gan_g_loss" in metrics:
        sections.append(
            Section(name="GAN: losses, discriminator accuracy and KID", cards=tuple(gan), columns=3)
        )
    if "synth_kid" in metrics:
        made = tuple(Card(kind="bar", keys=(name,)) for name in MADE if name in metrics)
        sections.append(
            Section(
                name="Synthetic cells: distance, probe, copies",
                cards=made,
                columns=3,
                height=300,
            )
        )
    for name, key in PICTURES.items():
        rows = -(-pictures.count(key) // 3)
        if rows:
            card = Card(
                kind="images", keys=(key,), step=last_gan_epoch if key == "gan_samples" else 0
            )
            sections.append(Section(name=name, cards=(card,), columns=1, height=ROW * rows + 100))
    return sections


MADE = ("synth_kid", "synth_coverage", "synth_probe_raw", "synth_copy_rate", "review_s")
PICTURES = {
    "Confusion matrices on test cells": "confusion_test",
    "Calibration on test cells": "reliability",
    "Where the network looks: wrong and right calls": "gradcam",
    "Errors by test subject": "subjects",
    "Made cells beside real ones": "synthetic_cells",
    "GAN samples from one fixed latent": "gan_samples",
}
