"""Runs read back from a store, those of earlier versions among them."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from leukemia.errors import UserError
from leukemia.evaluation.metrics import metrics as metrics_of
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking import peers, rank
from leukemia.ranking.peers import TERMS
from leukemia.tracking import connection, records

OLD = {"synthetic_data": "drawn, seed 1"}
NEW = {"simulated_data": "drawn, seed 2", "split_seed": "7"}
LATER = ("mcc", "synthetic", "left_out", "threshold")  # metrics that earlier versions did not log


def predicted(seed: int, threshold: float = 0.5) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(12) % 2, 5).astype(np.int8)
    return Predictions(
        labels=labels,
        scores=np.clip(rng.normal(0.3 + 0.3 * labels, 0.2), 0, 1).astype(np.float32),
        subjects=np.repeat([f"{number:02d}" for number in range(12)], 5),
        cell_id=np.char.mod("%03d.bmp", np.arange(60)),
        threshold=threshold,
    )


def log(arm: str, seed: int, tags: dict[str, str], table: pd.DataFrame, folder: Path) -> str:
    """A finished training run with its predictions."""
    threshold = table["threshold"].iloc[0] if "threshold" in table else 0.5
    of_test = metrics_of(table["labels"].to_numpy(), table["scores"].to_numpy(), threshold)
    metrics = {"val_bal_acc": of_test["bal_acc"], "val_auroc": of_test["auroc"],
               "test_sens": of_test["sens"], "balance_s": 1.0, "train_s": 2.0,
               "peak_gib": 1.0}  # fmt: skip
    if tags is NEW:
        metrics |= dict.fromkeys(LATER, 0.5)
    with mlflow.start_run(run_name=arm) as run:
        mlflow.set_tags(dict.fromkeys(TERMS, "same") | {"protocol": "subject", "leaks": ""})
        mlflow.set_tags({"kind": "train", "arm": arm, "seed": str(seed), "fold": "0"} | tags)
        mlflow.log_metrics(metrics)
        for split in ("validation", "test"):  # of the same cells here
            table.to_csv(folder / f"{split}.csv", index=False)
            mlflow.log_artifact(str(folder / f"{split}.csv"), "predictions")
    return run.info.run_id


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """An experiment, and the IDs of its two runs: an earlier version's and one of today."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        experiment = connection.connect("records")
        now = pd.DataFrame(vars(predicted(1, 0.3)))
        then = pd.DataFrame(vars(predicted(2))).rename(columns={"cell_id": "origin"})
        ids = {
            "old": log("baseline", 3, OLD, then.drop(columns="threshold"), folder),
            "new": log("moved", 3, NEW, now, folder),
        }
        yield experiment, ids
        mlflow.set_tracking_uri(None)  # what the environment says, again


def test_runs_of_both_versions_stand_under_today_s_names(store: tuple) -> None:
    table = records.training_runs(store[0]).set_index("arm")
    assert table["simulated_data"].to_dict() == {
        "baseline": "drawn, seed 1", "moved": "drawn, seed 2",
    }  # fmt: skip
    assert "synthetic_data" not in table
    assert records.tags_with_todays_names({"synthetic_data": "x", "arm": "a"}) == {
        "simulated_data": "x", "arm": "a",
    }  # fmt: skip


def test_a_run_of_before_had_the_split_of_its_seed(store: tuple) -> None:
    table = records.training_runs(store[0]).sort_values("arm")[["split_seed", "seed", "fold"]]
    assert table.to_numpy().tolist() == [[3, 3, 0], [7, 3, 0]]
    assert set(table.dtypes) == {np.dtype(int)}
    assert records.tags_with_todays_names({"seed": "3"})["split_seed"] == "3"
    assert records.tags_with_todays_names({"seed": "3", "split_seed": "7"})["split_seed"] == "7"


def test_runs_without_any_tag_of_a_split_are_read_too(store: tuple) -> None:
    experiment = connection.connect("before")
    with mlflow.start_run():
        mlflow.set_tags({"kind": "train", "seed": "2", "fold": "1", "folds": "3", "leaks": ""})
    assert records.training_runs(experiment)["split_seed"].tolist() == [2]


def test_predictions_are_read_with_their_threshold(store: tuple, tmp_path: Path) -> None:
    ids = store[1]
    networks = records.checked(ids.values(), tmp_path).networks
    tested = {run_id: network.test for run_id, network in networks.items()}
    for name, expected in (("old", predicted(2)), ("new", predicted(1, 0.3))):
        found = tested[ids[name]]
        assert found.threshold == expected.threshold
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.calls, expected.calls)
    np.testing.assert_array_equal(tested[ids["old"]].cell_id, tested[ids["new"]].cell_id)
    np.testing.assert_array_equal(tested[ids["old"]].subjects, tested[ids["new"]].subjects)


@pytest.mark.parametrize(
    ("scores", "threshold", "why"),
    [
        ([np.nan, np.inf], 0.5, "2 of its 60 test scores are not finite"),
        ([0.5, 0.5], np.nan, "its threshold is nan"),
    ],
)
def test_a_run_whose_scores_are_no_numbers_is_left_out_by_name(
    store: tuple, tmp_path: Path, scores: list[float], threshold: float, why: str
) -> None:
    table = pd.DataFrame(vars(predicted(3)))
    wrong = log("wrong", 1, NEW, table, tmp_path)
    table.loc[:1, "scores"], table["threshold"] = scores, threshold
    table.to_csv(tmp_path / "test.csv", index=False)
    client = mlflow.MlflowClient()
    client.log_artifact(wrong, str(tmp_path / "test.csv"), "predictions")
    checked = records.checked([*store[1].values(), wrong], tmp_path / "cache")
    client.delete_run(wrong)
    assert checked.broken == {wrong: why}
    assert set(checked.networks) == set(store[1].values())


def test_runs_of_both_versions_are_ranked_together(store: tuple, tmp_path: Path) -> None:
    kept, left_out = peers.comparable(records.training_runs(store[0]))
    assert (len(kept), len(left_out)) == (2, 0)
    networks = records.checked(kept["run_id"], tmp_path).networks
    ranking = rank.rank(kept, networks, "bal_acc")
    assert set(ranking.table["arm"]) == {"baseline", "moved"}
    row = ranking.table.set_index("arm").loc["moved"]
    calls, labels = predicted(1, 0.3).calls, predicted(1).labels == 1
    assert row["test"] == pytest.approx((calls[labels].mean() + 1 - calls[~labels].mean()) / 2)
    with pytest.raises(UserError, match="none of 2 runs has val_mcc"):
        peers.comparable(records.training_runs(store[0]), metric="mcc")
