"""What a classifier must show before it is registered, rule by rule, and the champion's history."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from entrypoints import history, promote, rollback
from entrypoints import register as register_entry
from leukemia.errors import UserError
from leukemia.evaluation.metrics import METRICS
from leukemia.experiment import GOLDEN
from leukemia.registry import champion, gate, golden, served
from leukemia.registry.gate import Candidate, Gain, refusals
from leukemia.tracking import connection, records
from tests.test_ranking import ranked, record

COMMANDS = {"register": register_entry.main, "promote": promote.main,
            "rollback": rollback.main, "history": history.main}  # fmt: skip
FIGURES = {f"{side}_{name}": 0.8 for side in ("val", "test") for name in gate.FIRST}
FILES = {"predictions/test.csv": 900, "models/model/data/model.keras": 90_000}
GOOD = Candidate(
    arm="adasyn",
    metrics=FIGURES,
    expected=FILES,
    there=FILES,
    difference=1e-6,
    gain=Gain(value=0.03, low=-0.01, high=0.07, net=True),
)


def test_one_that_shows_all_of_it_passes() -> None:
    assert refusals(GOOD, "possible") == []
    assert (
        refusals(replace(GOOD, gain=Gain(value=0.03, low=0.01, high=0.05, net=True)), "sure") == []
    )
    assert refusals(replace(GOOD, arm="baseline", gain=None), "possible") == []
    assert refusals(replace(GOOD, gain=None), "any") == []


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a figure is missing": (
        {"metrics": {k: v for k, v in FIGURES.items() if k != "test_auroc"}}, "possible",
        r"figures are missing or not finite \(test_auroc\); train it anew",
    ),
    "a figure is no number": (
        {"metrics": FIGURES | {"train_loss": float("inf")}}, "possible",
        r"not finite \(train_loss\)",
    ),
    "surely worse than nothing": (
        {"gain": Gain(value=-0.05, low=-0.09, high=-0.01, net=True)}, "possible",
        r"its gain over baseline, -0.050 \[-0.090, -0.010\], is surely none",
    ),
    "of too few networks to be sure": (
        {"gain": Gain(value=0.03, low=0.01, high=0.05, net=False)}, "sure",
        r"is of too few networks to be sure of: train 2 seeds and 2 folds or more",
    ),
    "not surely better": ({}, "sure", r"\+0.030 \[-0.010, \+0.070\], is not surely above 0"),
    "the baseline is not surely better": (
        {"arm": "baseline", "gain": None}, "sure", "gains nothing over itself",
    ),
    "no baseline": ({"gain": None}, "possible", "which was not run on the same seeds"),
    "an artifact is gone": (
        {"there": {"predictions/test.csv": 900}}, "possible",
        r"1 of 2 artifacts are not in the store \(models/model/data/model.keras\)",
    ),
    "an artifact is cut": (
        {"there": FILES | {"predictions/test.csv": 400}}, "possible",
        r"\(predictions/test.csv \(400 of 900 bytes\)\)",
    ),
    "no artifact": ({"expected": {}}, "possible", "its manifest names no artifact"),
    "other answers": ({"difference": 0.2}, "possible", "2.0e-01 apart on golden cells"),
    "no answers": ({"difference": "it does not load"}, "possible", "it does not load"),
}  # fmt: skip


def test_a_run_is_held_to_the_metrics_that_it_set_out_to_compute() -> None:
    of_old = gate.names_of({"technique": "adasyn"})
    assert refusals(replace(GOOD, names=of_old), "possible") == []
    now = gate.names_of({"metrics": ",".join(METRICS)})
    assert now == tuple(METRICS)
    (reason,) = refusals(replace(GOOD, names=now), "possible")
    for name in set(METRICS) - set(gate.FIRST):
        assert f"test_{name}" in reason
        assert f"val_{name}" in reason
    whole = {f"{side}_{name}": 0.8 for side in ("val", "test") for name in METRICS}
    assert refusals(replace(GOOD, names=now, metrics=whole), "possible") == []


def test_where_lower_is_better_the_gain_is_what_the_metric_falls_by() -> None:
    rows = record("adasyn", 0, 0.5, val_brier=0.1), record("baseline", 0, 0.5, val_brier=0.2)
    found = gate.gain_of(ranked(*rows, metric="brier", adasyn=0.05, baseline=0.4))
    assert found
    assert 0 < found.low < found.value < found.high


@pytest.mark.parametrize("rule", BROKEN)
def test_each_broken_rule_is_said_in_a_line(rule: str) -> None:
    changed, asked, said = BROKEN[rule]
    (reason,) = refusals(replace(GOOD, **changed), asked)
    assert re.search(said, reason)
    assert "\n" not in reason


def test_the_gain_is_the_leaders_over_the_baseline_whichever_way_it_was_compared() -> None:
    worse = ranked(record("adasyn", 0, 0.9), record("baseline", 0, 0.4))
    found = gate.gain_of(worse)
    row = worse.comparisons.iloc[0]
    assert {row["arm"], row["against"]} == {"adasyn", "baseline"}
    sign = 1 if row["arm"] == "adasyn" else -1
    assert found
    assert found.value == sign * row["difference"]
    assert found.low <= found.value <= found.high
    assert gate.gain_of(ranked(record("baseline", 0, 0.9), record("adasyn", 0, 0.4))) is None


# On a real store


@pytest.fixture(scope="module")
def store(two_trained: Path) -> Iterator[Path]:
    """A project with a trained baseline of two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{two_trained}/mlflow.db")
        patch.setenv("LEUKEMIA_CACHE", str(two_trained / "cache"))
        mlflow.set_tracking_uri(f"sqlite:///{two_trained}/mlflow.db")
        yield two_trained
        mlflow.set_tracking_uri(None)  # what the environment says, again


def command(name: str, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(COMMANDS[name], list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def run_of(seed: int) -> mlflow.entities.Run:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(f"seed {seed}").experiment_id
    return client.search_runs([experiment], "tags.kind = 'train'")[0]


def register(seed: int) -> tuple[int, str]:
    return command("register", "--experiment", f"seed {seed}", "--waive", "all")


def test_the_champion_is_promoted_and_rolled_back_and_all_of_it_is_told(store: Path) -> None:
    for seed in (0, 1):
        code, said = register(seed)
        assert code == 0, said
        assert f"version {seed + 1}, alias champion" in said
        assert run_of(seed).data.tags["gate"] == "passed, gain=possible"
    connection.connect()
    assert champion.champion(champion.NAME) == "2"
    code, said = command("promote", "--version", "1", "--why", "fewer missed blasts")
    assert (code, said) == (0, "leukemia-classifier version 1 is the champion now.\n")
    assert "already" in command("promote", "--version", "1", "--why", "again")[1]
    code, said = command("rollback", "--why", "it was not")
    assert "version 2 is the champion again, in place of 1" in said
    lines = command("history")[1].splitlines()
    assert [line.split("  ")[1].strip() for line in lines] == [
        "none -> 1", "1 -> 2", "2 -> 1", "1 -> 2",
    ]  # fmt: skip
    assert lines[2].endswith(": fewer missed blasts")

    client = mlflow.MlflowClient()
    client.set_registered_model_alias(champion.NAME, champion.CHAMPION, "1")
    assert "moved past these commands" in command("history")[1].splitlines()[-1]
    client.set_registered_model_alias(champion.NAME, champion.CHAMPION, "2")


def test_what_cannot_be_promoted_is_said(store: Path) -> None:
    client = mlflow.MlflowClient()
    source = client.get_model_version(champion.NAME, "1")
    by_hand = client.create_model_version(
        champion.NAME, source.source, source.run_id, model_id=source.model_id
    )
    for words, said in (
        (("--version", str(by_hand.version)), "did not pass the gate"),
        (("--version", "77"), "has no version 77: there are 1, 2"),
        (("--version", "1", "--model", "gone"), "there is no registered model 'gone'"),
    ):
        code, told = command("promote", "--why", "x", *words)
        assert code == 1
        assert said in told
        assert "Traceback" not in told
    client.delete_model_version(champion.NAME, str(by_hand.version))


def damaged(said: str, seed: int = 0) -> None:
    before = champion.champion(champion.NAME)
    code, told = register(seed)
    assert code == 1
    assert said in told
    assert said in run_of(seed).data.tags["gate"]
    assert champion.champion(champion.NAME) == before
    assert "Traceback" not in told


def test_an_artifact_that_is_gone_from_the_store_is_noticed(store: Path) -> None:
    lost = Path(run_of(0).info.artifact_uri.removeprefix("file://")) / "predictions/train.csv"
    kept = lost.read_bytes()
    lost.unlink()
    damaged("1 of ")
    lost.write_bytes(kept)


def golden_of(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(file) as kept:
        return kept["images"], kept["scores"]


def test_golden_cells_other_than_the_run_s_are_noticed(store: Path) -> None:
    file = Path(run_of(0).info.artifact_uri.removeprefix("file://")) / GOLDEN
    kept, (images, scores) = file.read_bytes(), golden_of(file)
    np.savez_compressed(file, images=images, scores=np.abs(scores - 0.5))
    damaged("its file golden.npz is not the one that it ended with")
    file.write_bytes(kept)


def test_a_model_answers_as_it_was_measured_or_the_difference_is_told(
    store: Path, tmp_path: Path
) -> None:
    uri = f"models:/{model_of(0)}"
    images, scores = golden_of(Path(run_of(0).info.artifact_uri.removeprefix("file://")) / GOLDEN)
    for name, others in (("same", scores), ("other", scores * 0.5)):
        np.savez_compressed(tmp_path / f"{name}.npz", images=images, scores=others)
    assert golden.difference(uri, tmp_path / "same.npz") < gate.SAME
    assert golden.difference(uri, tmp_path / "other.npz") == pytest.approx(
        scores.max() / 2, abs=1e-3
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"images": np.zeros((2, 32, 32, 3), np.uint8)}, "cannot be read"),
        ({"images": np.zeros((2, 32, 32, 3)), "scores": np.zeros(2)}, "no cells with a score"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8), "scores": np.zeros(3)}, "no cells with"),
        ({"images": np.array([{}]), "scores": np.zeros(1)}, "cannot be read"),  # a pickle
        ({"images": np.zeros(2**27, np.uint8), "scores": np.zeros(1)}, "unpack to"),
    ],
)
def test_golden_cells_that_are_none_are_a_line(
    store: Path, tmp_path: Path, content: dict[str, np.ndarray], said: str
) -> None:
    np.savez_compressed(tmp_path / "golden.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said):
        golden.difference(f"models:/{model_of(0)}", tmp_path / "golden.npz")


def model_of(seed: int) -> str:
    """The ID of the model that a run left."""
    (model,) = records.models_of(run_of(seed).info.run_id)
    return str(model.model_id)


def test_a_model_that_was_changed_after_it_was_registered_is_not_loaded(store: Path) -> None:
    (version,) = [
        each
        for each in mlflow.MlflowClient().search_model_versions(f"name = '{champion.NAME}'")
        if each.run_id == run_of(0).info.run_id
    ]
    uri = f"models:/{champion.NAME}/{version.version}"
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{model_of(0)}"))  # the original
    file = place / "data/model.keras"
    kept = file.read_bytes()
    file.write_bytes(kept + b" ")
    with pytest.raises(UserError, match="changed since; rollback"):
        served.load(uri)
    damaged("its model is not the one that it ended with")
    code, told = command("promote", "--version", str(version.version), "--why", "x")
    assert (code, "changed since; rollback" in told) == (1, True)
    file.write_bytes(kept)
    assert served.load(uri).version == str(version.version)


def test_a_version_that_register_did_not_make_is_not_loaded(store: Path) -> None:
    by_hand = mlflow.register_model(f"models:/{model_of(0)}", "by-hand")
    with pytest.raises(UserError, match="registered otherwise than by `register`"):
        served.load(f"models:/by-hand/{by_hand.version}")


def logged_by_another(store: Path, source: Path, run_id: str | None) -> str:
    """The ID of a model that somebody logs, in the name of a run where one is given."""
    experiment = mlflow.get_experiment_by_name("seed 0").experiment_id
    client = mlflow.MlflowClient()
    logged = client.create_logged_model(experiment, "model", source_run_id=run_id)
    client.log_model_artifacts(logged.model_id, str(source))
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def test_a_model_that_would_run_code_is_refused_before_anything_of_it_runs(
    store: Path, tmp_path: Path
) -> None:
    """TensorFlow's own format runs what it likes when it is loaded: here it would write a file."""
    import tensorflow as tf

    there = mlflow.artifacts.download_artifacts(f"models:/{model_of(0)}")
    source = Path(shutil.copytree(there, tmp_path / "copy"))

    class Writes(tf.Module):
        @tf.function(input_signature=[])  # type: ignore[untyped-decorator]
        def __call__(self) -> None:
            tf.io.write_file(str(tmp_path / "ran"), "code ran")

    tf.saved_model.save(Writes(), str(source / "data" / "model"))
    description = (source / "MLmodel").read_text()
    (source / "MLmodel").write_text(
        description.replace("save_exported_model: false", "save_exported_model: true")
    )
    for keep in (True, False):
        if not keep:
            shutil.rmtree(source / "data" / "model")
        model = logged_by_another(store, source, None)
        with pytest.raises(UserError, match=r"never writes|save_exported_model"):
            served.load(f"models:/{model}")
    assert not (tmp_path / "ran").exists()


def test_a_model_of_foreign_code_is_not_loaded(store: Path, tmp_path: Path) -> None:
    """A pickle would run whatever its author liked; Keras' safe mode runs nothing."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    there = mlflow.artifacts.download_artifacts(f"models:/{model_of(0)}")
    source = Path(shutil.copytree(there, tmp_path / "copy"))
    model.save(source / "data" / "model.keras")
    with pytest.raises(UserError, match="cannot be loaded"):
        served.load(f"models:/{logged_by_another(store, source, None)}")


def test_a_stranger_s_model_under_another_s_run_is_not_registered(
    store: Path, tmp_path: Path
) -> None:
    """It looked like the run's own: a fitting inventory, a forged figure, and the gate passed."""
    mine = model_of(0)
    there = mlflow.artifacts.download_artifacts(f"models:/{mine}")
    source = Path(shutil.copytree(there, tmp_path / "copy"))
    stranger = logged_by_another(store, source, run_of(0).info.run_id)
    damaged("2 models claim to be its own")
    mlflow.MlflowClient().delete_logged_model(stranger)
    code, told = register(0)
    assert code == 0, told
    version = mlflow.MlflowClient().get_model_version_by_alias(champion.NAME, champion.CHAMPION)
    assert version.source == f"models:/{mine}"


CHANGED = {  # what is written -> its kind, name and value
    "a figure": ("metric", "test_bal_acc", 0.999),
    "the figure that ranks": ("metric", "val_auroc", 1.0),
    "a tag": ("tag", "leaks", "none at all"),
    "the manifest's tag": ("tag", "manifest", "0" * 64),
    "the manifest": ("file", "manifest.json", "{}"),
    "a made-up manifest": ("file", "manifest.json", '{"run": 1, "model": []}'),
    "predictions": ("file", "predictions/test.csv", "labels,scores,subjects,cell_id\n1,0.9,a,b\n"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED)
def test_a_run_that_was_changed_after_it_ended_is_not_ranked(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Not registered either: what is registered is what ranks first."""
    monkeypatch.setenv("LEUKEMIA_CACHE", str(tmp_path))  # which keeps predictions of before
    run = run_of(0)
    kind, name, value = CHANGED[change]
    before = written(run, kind, name, value)
    try:
        code, told = register(0)
    finally:
        written(run, kind, name, before)
    assert code == 1
    assert f"Run {run.info.run_id} is left out: its " in told
    assert "Traceback" not in told
    assert records.checked([run.info.run_id], tmp_path / "again").broken == {}


def written(run: mlflow.entities.Run, kind: str, name: str, value: Any) -> Any:
    """What was there before, in place of which something else is written."""
    client, run_id = mlflow.MlflowClient(), run.info.run_id
    if kind == "file":
        file = Path(run.info.artifact_uri.removeprefix("file://")) / name
        before = file.read_text()
        file.write_text(value)
    elif kind == "tag":
        before = client.get_run(run_id).data.tags[name]
        client.set_tag(run_id, name, value)
    else:
        before = client.get_run(run_id).data.metrics[name]
        steps = client.get_metric_history(run_id, name)
        client.log_metric(run_id, name, value, step=max(each.step for each in steps) + 1)
    return before


def test_figures_that_are_not_those_of_the_predictions_are_noticed_without_a_manifest_too(
    store: Path, tmp_path: Path
) -> None:
    """Of earlier versions, which bound nothing."""
    run, client = run_of(1).info.run_id, mlflow.MlflowClient()
    kept = client.get_run(run).data.tags["manifest"]
    client.delete_tag(run, "manifest")
    checked = records.checked([run], tmp_path)
    assert (set(checked.networks), checked.broken, set(checked.bound)) == ({run}, {}, set())
    true = client.get_run(run).data.metrics["test_bal_acc"]
    client.log_metric(run, "test_bal_acc", 0.999, step=98)
    assert (
        "its test_bal_acc is 0.9990, that of its predictions"
        in (records.checked([run], tmp_path).broken[run])
    )
    client.log_metric(run, "test_bal_acc", true, step=99)
    client.set_tag(run, "manifest", kept)
    assert records.checked([run], tmp_path).broken == {}


def test_the_manifest_names_every_file_of_the_run_and_its_model(store: Path) -> None:
    run = run_of(1)
    kept = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/manifest.json"))
    now = records.contents(run.info.run_id)
    later = {"model_card.md", "models/model/registered_model_meta"}  # written by `register`
    assert kept["sizes"] == {path: size for path, size in now.items() if path not in later}
    assert {"golden.npz", "test_subjects.csv", "predictions/test.csv"} <= set(kept["files"])
    by_step = {path for path in kept["sizes"] if path.startswith(("images/", "models/"))}
    assert set(kept["sizes"]) - by_step == set(kept["files"])
    assert any(
        name.startswith("models/model/") and name.endswith(".keras") for name in kept["sizes"]
    )
    assert kept["metrics"]["test_bal_acc"] == run.data.metrics["test_bal_acc"]
    assert {"code", "data_digest", "protocol", "leaks", "arm", "seed"} <= set(kept["tags"])
    assert kept["params"] == run.data.params


def test_a_version_calls_at_the_threshold_that_was_registered(store: Path) -> None:
    code, told = register(0)
    assert code == 0, told
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(champion.NAME, champion.CHAMPION)
    uri = f"models:/{champion.NAME}/{version.version}"
    assert version.tags["threshold"] == "0.5"
    assert version.tags["manifest"] == run_of(0).data.tags["manifest"]
    client.set_model_version_tag(champion.NAME, version.version, "threshold", str(1 / 3))
    assert served.load(uri).threshold == 1 / 3
    client.set_model_version_tag(champion.NAME, version.version, "threshold", "0.5")


def test_a_run_says_how_many_cells_were_added_and_which_metrics_it_computes(store: Path) -> None:
    run = run_of(1)
    assert (run.data.metrics["synthetic"], run.data.metrics["left_out"]) == (0, 0)
    assert run.data.tags["metrics"].split(",") == list(METRICS)
    assert {f"test_{name}" for name in METRICS} <= set(run.data.metrics)
