"""The ranking in MLflow: one flat summary run an arm, rank tags, and two saved views."""

import math
import time

import mlflow
import pandas as pd
from mlflow.entities import Metric, Run, RunTag

from leukemia import views
from leukemia.evaluation.metrics import NAMES
from leukemia.ranking import CHOICE, COSTS, SHOWN
from leukemia.views import Card, Section

RANKING, CHARTS = "ranking", "charts"  # keys of the saved views
# In the order of the saved table: a figure, then how wide it is, then the rest.
COLUMNS = ["rank", CHOICE, "val_sd", "seeds", "test_bal_acc", "test_ba_low", "test_ba_high",
           "test_sd", *SHOWN[1:], *COSTS]  # fmt: skip
SHARED = ["protocol", "budget", "data_digest", "weights", "synthetic_data", "cells"]
# One colour an arm on every chart; Okabe and Ito 2008, told apart by colour-blind readers.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
ROW = 300  # pixels that a row of three pictures takes on an image card


def publish(experiment_id: str, table: pd.DataFrame, kept: pd.DataFrame) -> None:
    """Write the ranking: summary runs (made or renewed), rank tags on the runs, saved views.

    table: as `ranking.rank` gives it. kept: the records that it was made from. Summaries of
    arms that are no longer ranked lose their kind, so that views no longer show them.
    """
    client = mlflow.MlflowClient()
    old = {run.data.tags["arm"]: run for run in _found(client, experiment_id, "summary")}
    for number, (_, row) in enumerate(table.sort_values("arm").iterrows()):
        run = old.pop(row["arm"], None) or _new_summary(client, experiment_id, row["arm"])
        colour = COLOURS[number % len(COLOURS)]
        _write_summary(client, run.info.run_id, row, kept.iloc[-1], colour)
        _tag_runs(client, row, kept, colour)
    for run in old.values():
        client.set_tag(run.info.run_id, "kind", "former summary")
    _save_views(client, experiment_id)


def _found(client: mlflow.MlflowClient, experiment_id: str, kind: str) -> list[Run]:
    return list(client.search_runs([experiment_id], f"tags.kind = '{kind}'"))


def _new_summary(client: mlflow.MlflowClient, experiment_id: str, arm: str) -> Run:
    run = client.create_run(experiment_id, tags={"kind": "summary", "arm": arm}, run_name=arm)
    client.set_terminated(run.info.run_id)
    return run


def _write_summary(
    client: mlflow.MlflowClient, run_id: str, row: pd.Series, last: pd.Series, colour: str
) -> None:
    now = int(time.time() * 1000)
    # Rounded, since MLflow's table prints every digit.
    values = {name: round(float(row[name]), 4) for name in COLUMNS}
    metrics = [Metric(name, v, now, 0) for name, v in values.items() if math.isfinite(v)]
    shared = {name: str(last.get(name, "")) for name in SHARED}
    note = (
        f"Mean over {row['seeds']} seed(s). {last['protocol_line']} {shared['cells']}. Ordered by "
        f"validation balanced accuracy; test_ba_low to test_ba_high is the widest of the seeds' "
        f"95 % intervals over test subjects. Best run: {row['run_id']}. Research use only."
    )
    tags = shared | {"rank": str(row["rank"]), "best_run": row["run_id"]}
    tags |= {"mlflow.note.content": note, "mlflow.runColor": colour}
    client.log_batch(run_id, metrics=metrics, tags=[RunTag(k, v) for k, v in tags.items()])


def _tag_runs(client: mlflow.MlflowClient, row: pd.Series, kept: pd.DataFrame, colour: str) -> None:
    for run_id in kept["run_id"][kept["arm"] == row["arm"]]:
        best = str(run_id == row["run_id"]).lower()
        tags = {"rank": str(row["rank"]), "best_of_arm": best, "mlflow.runColor": colour}
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])


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
            "Curves and pictures", search, CHOICE, page, {*metrics, *COLUMNS}, pictures
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
    curves = [Card("line", (f"train_{n}", f"val_{n}")) for n in ("loss", "acc")]
    curves.append(Card("line", (CHOICE,)))
    test = [Card("bar", (f"test_{name}",)) for name in NAMES if name != "loss"]
    gan = [Card("line", ("gan_g_loss", "gan_d_loss")), Card("line", ("gan_d_real", "gan_d_fake"))]
    found = [
        Section("Training and validation by epoch", tuple(curves), 3),
        Section("Test cells, final model", tuple(test), 3, 300),
        Section("Cost", tuple(Card("bar", (name,)) for name in COSTS), 3, 300),
    ]
    if "gan_g_loss" in metrics:
        found.append(Section("GAN: losses and discriminator accuracy by epoch", tuple(gan), 2))
    for name, key in PICTURES.items():
        rows = -(-pictures.count(key) // 3)
        if rows:
            card = Card("images", (key,), last_gan_epoch if key == "gan_samples" else 0)
            found.append(Section(name, (card,), 1, ROW * rows + 100))
    return found


PICTURES = {
    "Confusion matrices on test cells": "confusion_test",
    "Made cells beside real ones": "made_cells",
    "GAN samples from one fixed latent": "gan_samples",
}
