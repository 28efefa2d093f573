"""The whole job through `mlflow run`, on a real server with PostgreSQL and an S3 store."""

import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from click.testing import CliRunner
from mlflow.entities import Run

from entrypoints import rank, register
from entrypoints.command import Command
from leukemia import techniques
from leukemia.evaluation.metrics import METRICS, metrics
from leukemia.experiment import ERRORS
from leukemia.experiment.provenance import code_digest
from leukemia.registry import champion
from leukemia.tracking import MANIFEST, leaderboard, records, views
from tests.conftest import ROOT, Lab
from tests.service import HEADS, NAMES_SHOWN, browsing, log_in, run_project, shot

pytestmark = pytest.mark.filterwarnings(
    # Of MLflow's own: its classes of SQLAlchemy, its type hints.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::PendingDeprecationWarning",
    "ignore:.*Any type hint is inferred:UserWarning",
)
QUICK: dict[str, Any] = {"budget": "quick", "image_size": 32, "backbone": "miniature"}


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Logged in as a registrar."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKEMIA_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, value in log_in(lab.folder, "somebody", "registrar").items():
            patch.setenv(name, value)
        mlflow.set_tracking_uri(lab.address)
        yield lab.address
        mlflow.set_tracking_uri(None)  # what the environment says, again


@pytest.fixture(scope="module")
def sample(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "sample"
    run_project("sample", server, out=out, cells=130)
    return out


@pytest.fixture(scope="module")
def study_done(server: str, sample: Path) -> subprocess.CompletedProcess:
    """A study of all techniques on one seed and fold, two of them at a time."""
    asked: dict[str, Any] = {"data": sample, "seeds": 0, "test_folds": 0, "workers": 2}
    return run_project("study", server, **asked, **QUICK)


@pytest.fixture(scope="module")
def study(study_done: subprocess.CompletedProcess) -> str:
    """What it printed."""
    return study_done.stdout


@pytest.fixture(scope="module")
def runs(study: str) -> dict[str, Run]:
    """The study's training runs by technique."""
    found = find("tags.kind = 'train'")
    return {run.data.tags["technique"]: run for run in found}


def trained(
    technique: str, server: str, check: bool = True, **options: object
) -> subprocess.CompletedProcess:
    """A training without the seconds that `mlflow run` takes to start it."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.train", technique, *words],
        env=os.environ | {"MLFLOW_TRACKING_URI": server, "MLFLOW_EXPERIMENT_NAME": "leukemia"},
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def find(search: str) -> list[Run]:
    experiment = mlflow.get_experiment_by_name("leukemia")
    return list(mlflow.MlflowClient().search_runs([experiment.experiment_id], search))


def ranked(*words: str, code: int = 0) -> str:
    """What `rank` says, without the seconds that `mlflow run` takes to start it."""
    done = CliRunner().invoke(rank.main, ["--experiment", "leukemia", *words])
    assert done.exit_code == code, done.output
    return done.output


def artifacts(run: Run, folder: str = "") -> set[str]:
    listed = mlflow.MlflowClient().list_artifacts(run.info.run_id, folder)
    return {Path(each.path).name for each in listed}


def read(run: Run, artifact: str, folder: Path) -> Path:
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=artifact, dst_path=str(folder)
        )
    )


def predictions(run: Run, folder: Path) -> pd.DataFrame:
    """The scores of all sides of a run."""
    sides = ("train", "validation", "test")
    parts = [pd.read_csv(read(run, f"predictions/{side}.csv", folder)) for side in sides]
    return pd.concat([part.assign(side=side) for part, side in zip(parts, sides, strict=True)])


def test_the_study_ranks_registers_and_names_what_it_measured(study: str) -> None:
    table = study[study.index("rank  technique") :]
    ranked = re.findall(r"^(\d)=?\s+(\w+)\s+1\s", table, re.MULTILINE)
    assert [number for number, _ in ranked] == list("123456")
    assert {name for _, name in ranked} == set(techniques.names())
    assert "no subject in two splits" in table
    assert "SIMULATED DATA: drawn cells, seed 7" in table
    assert "miniature is trained from scratch" in table
    assert "Research use only; not for diagnosis." in table
    assert "intervals are over 6 test subjects" in table
    assert "Registered leukemia-classifier version 1, alias champion" in table
    assert "viewStateShareKey=ranking" in table


def test_a_study_says_nothing_of_a_gpu_that_is_missing(
    study_done: subprocess.CompletedProcess,
) -> None:
    assert "cuda" not in (study_done.stdout + study_done.stderr).lower()


def test_runs_that_went_two_at_a_time_lie_below_the_study_and_say_that_they_shared(
    runs: dict[str, Run], study: str
) -> None:
    (parent,) = find("tags.kind = 'study'")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    times = [(run.info.start_time, run.info.end_time) for run in runs.values()]
    at_once = [sum(start <= moment < end for start, end in times) for moment, _ in times]
    assert max(at_once) == 2
    assert {run.data.tags["workers"] for run in runs.values()} == {"2"}
    assert "Note: COSTS: runs shared the machine (2 at a time)" in study


def test_a_study_that_is_ended_ends_its_runs(server: str, sample: Path, study: str) -> None:
    words = [word for key, value in QUICK.items() for word in (f"--{key}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "entrypoints.study", "--data", str(sample), "--seeds", "5,6,7",
         "--test-folds", "0", "--techniques", "baseline", "--workers", "2", *words],
        env=os.environ | {"MLFLOW_TRACKING_URI": server}, cwd=ROOT, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(find("attributes.status = 'RUNNING' and tags.technique = 'baseline'")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "interrupted; the run keeps what it had logged"
    assert not find("attributes.status = 'RUNNING'")
    ended = find("tags.kind = 'train' and attributes.status != 'FINISHED'")
    assert sorted(run.data.tags["seed"] for run in ended) == ["5", "6"]  # 7 was never begun


@pytest.mark.parametrize("name", techniques.names())
class TestEveryRun:
    def test_logs_metrics_by_epoch_and_at_the_end(self, name: str, runs: dict[str, Run]) -> None:
        run = runs[name]
        assert run.info.status == "FINISHED"
        for side in ("train", "val", "test"):
            assert {f"{side}_{metric}" for metric in METRICS} <= set(run.data.metrics)
        client = mlflow.MlflowClient()
        for metric in ("train_loss", "val_loss", "train_bal_acc", "val_bal_acc", "lr"):
            steps = [each.step for each in client.get_metric_history(run.info.run_id, metric)]
            assert sorted(set(steps)) == [1, 2, 3, 4, 5]
        judged = {"test_subjects", "test_bal_acc_lo", "test_bal_acc_hi", "test_auroc_lo",
                  "test_ece", "test_brier", "temperature", "test_ece_t", "op_threshold",
                  "op_test_sens", "op_test_spec", "by_subject_bal_acc", "val_rise", "threshold",
                  "threshold_v", "val_bal_v", "test_bal_v", "test_bal_v_lo", "test_citl_lo",
                  "test_citl_p_hi", "test_brier_p", "train_prior", "effective_prior",
                  "synthetic", "left_out"}  # fmt: skip
        assert judged <= set(run.data.metrics)
        costs = {"balance_s", "review_s", "train_s", "peak_gib", "log_s", "epoch_seconds"}
        assert costs <= set(run.data.metrics)

    def test_logs_what_it_takes_to_repeat_it(self, name: str, runs: dict[str, Run]) -> None:
        run = runs[name]
        settings = techniques.load(name).Settings.__dataclass_fields__
        asked = {"data", "positive", "protocol", "seed", "split_seed", "fold", "budget",
                 "image_size", "backbone_weights"}  # fmt: skip
        assert asked | set(settings) <= set(run.data.params)
        assert {"transfer_epochs", "fine_tune_learning_rate", "threads"} <= set(run.data.params)
        assert len(run.data.tags["data_digest"]) == 16
        assert (run.data.tags["protocol"], run.data.tags["folds"]) == ("subject", "5")
        assert run.data.tags["split_seed"] == run.data.tags["seed"] == "0"
        assert len(run.data.tags["key"]) == 32
        assert run.data.tags["mlflow.source.name"] == f"entrypoints.train {name}"
        assert run.data.tags["code"] == code_digest()
        assert {"git_commit", "git_dirty", "weights", "note"} <= set(run.data.tags)
        assert "environment.txt" in artifacts(run, "code")

    def test_logs_the_cells_of_each_side_as_data_sets(
        self, name: str, runs: dict[str, Run]
    ) -> None:
        contexts = {
            tag.value: each.dataset.digest
            for each in runs[name].inputs.dataset_inputs
            for tag in each.tags
            if tag.key == "mlflow.data.context"
        }
        assert set(contexts) == {"subject train", "subject validation", "subject test"}
        assert len(set(contexts.values())) == 3

    def test_logs_pictures(self, name: str, runs: dict[str, Run]) -> None:
        pictures = set(runs[name].data.tags["pictures"].split(","))
        expected = {"confusion_train", "confusion_val", "confusion_test", "curve_loss",
                    "curve_accuracy", "curve_all_metrics", "roc_pr", "reliability", "subjects",
                    "gradcam", "class_distribution", "raw_and_cropped"}  # fmt: skip
        assert expected <= pictures
        assert {f"{picture}.png" for picture in expected} <= artifacts(runs[name], "plots")
        made = name in ("adasyn", "augmentation", "dcgan")
        assert ("synthetic_cells" in pictures) == made
        assert ("synthetic_cells.zip" in artifacts(runs[name])) == made

    def test_logged_figures_are_those_of_the_logged_predictions(
        self, name: str, runs: dict[str, Run], tmp_path: Path
    ) -> None:
        rows = predictions(runs[name], tmp_path)
        for side, short in (("train", "train"), ("validation", "val"), ("test", "test")):
            cells = rows[rows["side"] == side]
            found = metrics(cells["labels"].to_numpy(), cells["scores"].to_numpy())
            for metric, value in found.items():
                assert runs[name].data.metrics[f"{short}_{metric}"] == pytest.approx(
                    value, abs=1e-5
                )
        subjects = rows.groupby("side")["subjects"].agg(set)
        assert not subjects["train"] & subjects["test"]
        assert not subjects["train"] & subjects["validation"]
        assert not rows["cell_id"].str.startswith("synthetic:").any()

    def test_was_audited_before_it_trained(
        self, name: str, runs: dict[str, Run], tmp_path: Path
    ) -> None:
        said = json.loads(read(runs[name], "audit/audit.json", tmp_path).read_text())
        assert (said["cells"], said["compared"], said["protocol"]) == (130, True, "subject")
        assert said["findings"] == []
        assert runs[name].data.tags["leaks"] == ""
        assert {"audit.json", "audit.csv", "audit.png"} <= artifacts(runs[name], "audit")

    def test_shows_its_errors_cell_by_cell_and_subject_by_subject(
        self, name: str, runs: dict[str, Run], tmp_path: Path
    ) -> None:
        rows = predictions(runs[name], tmp_path)
        test = rows[rows["side"] == "test"]
        wrong = test[(test["scores"] >= 0.5) != (test["labels"] == 1)]
        page = read(runs[name], "errors.html", tmp_path).read_text()
        assert page.count('<img src="data:image/png') == len(wrong)
        assert all(cell_id in page for cell_id in wrong["cell_id"])
        subjects = pd.read_csv(read(runs[name], "test_subjects.csv", tmp_path))
        assert subjects["errors"].sum() == len(wrong)
        assert subjects["cells"].sum() == len(test)

    def test_the_logged_model_answers_its_own_example(
        self, name: str, runs: dict[str, Run]
    ) -> None:
        model = mlflow.pyfunc.load_model(f"runs:/{runs[name].info.run_id}/model")
        assert str(model.metadata.signature.inputs.inputs[0].type) == "uint8"
        example = model.input_example
        answer = np.asarray(model.predict(np.asarray(example, np.uint8)))
        assert answer.shape == (1, 1)
        assert 0 <= answer[0, 0] <= 1


def test_the_machine_is_watched_while_a_run_lasts(runs: dict[str, Run]) -> None:
    # The others here may end before the first reading, after 5 s.
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
    } <= set(runs["dcgan"].data.metrics)


def test_the_page_of_what_is_logged_names_all_of_it_and_nothing_else(
    runs: dict[str, Run], study: str
) -> None:
    for section, keys in {
        "Parameters": {name for run in runs.values() for name in run.data.params},
        "Tags": {name for run in runs.values() for name in run.data.tags},
        "Metrics": {name for run in runs.values() for name in run.data.metrics},
        "Artifacts": {MANIFEST}.union(
            *(records.contents(run.info.run_id) for run in runs.values())
        ),
    }.items():
        named, sometimes = rows_of(section)
        unnamed = {key for key in keys if not any(fnmatch(key, name) for name in named | sometimes)}
        assert not unnamed, section
        gone = {name for name in named if not any(fnmatch(key, name) for key in keys)}
        assert not gone - {"code/uncommitted.diff"}, section  # there where the tests' code is new


def rows_of(section: str) -> tuple[set[str], set[str]]:
    """What a table of docs/runs.md names, as patterns: always logged, and only sometimes."""
    page = (ROOT / "docs/runs.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    found: tuple[set[str], set[str]] = (set(), set())
    for first, why in re.findall(r"^\| (`.*?) \| (.*) \|$", page, re.MULTILINE):
        found[why.startswith("Only")].update(re.findall(r"`(.*?)`", first))
    assert found[0]
    return found


def test_the_page_of_what_is_logged_reads_runs_as_it_says(runs: dict[str, Run], capsys) -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "docs/runs.md").read_text(), re.S)
    exec(code, {})
    shown = capsys.readouterr().out
    assert all(run.data.tags["arm"] in shown for run in runs.values())


def test_every_technique_had_the_same_split(runs: dict[str, Run], tmp_path: Path) -> None:
    splits = set()
    for name, run in runs.items():
        (tmp_path / name).mkdir()
        rows = predictions(run, tmp_path / name)
        splits.add(tuple(sorted(zip(rows["side"], rows["cell_id"], strict=True))))
    assert len(splits) == 1


def test_made_cells_are_zipped_and_balance_the_classes(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    from PIL import Image

    run = runs["dcgan"]
    rows = predictions(run, tmp_path)
    train = rows[rows["side"] == "train"]["labels"]
    with zipfile.ZipFile(read(run, "synthetic_cells.zip", tmp_path)) as archive:
        names = archive.namelist()
        assert len(names) == abs((train == 1).sum() - (train == 0).sum())
        assert Image.open(io.BytesIO(archive.read(names[0]))).size == (32, 32)


def test_the_gan_logs_its_losses_and_samples_over_time(runs: dict[str, Run]) -> None:
    client, run = mlflow.MlflowClient(), runs["dcgan"]
    for metric in ("gan_g_loss", "gan_d_loss", "gan_d_real", "gan_d_fake"):
        assert len(client.get_metric_history(run.info.run_id, metric)) == 150
    samples = [name for name in artifacts(run, "images") if name.startswith("gan_samples")]
    assert len([name for name in samples if name.endswith(".png")]) == 10
    assert artifacts(run, "generator") == {"generator.keras", "trained_on.json"}


@pytest.mark.slow
def test_a_trained_generator_is_used_again_on_the_same_split_only(
    server: str, sample: Path, runs: dict[str, Run]
) -> None:
    again = {"data": sample, "gan_run": runs["dcgan"].info.run_id, **QUICK}
    trained("dcgan", server, seed=0, **again)
    latest = find("tags.technique = 'dcgan' and tags.kind = 'train'")[0]
    assert latest.info.run_id != runs["dcgan"].info.run_id
    assert latest.data.metrics["test_loss"] == runs["dcgan"].data.metrics["test_loss"]
    refused = trained("dcgan", server, check=False, seed=1, **again)
    assert refused.returncode == 1
    assert "was trained on other cells" in refused.stderr
    assert "Traceback" not in refused.stderr
    # It is ranked in the first one's place, and has no pictures of a GAN that learns.
    mlflow.MlflowClient().set_tag(latest.info.run_id, "kind", "thrown away")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures_alone_or_beside_another_run(
    server: str, sample: Path, runs: dict[str, Run], tmp_path: Path
) -> None:
    trained("weighted", server, data=sample, seed=0, **QUICK)
    again, before = find("tags.technique = 'weighted' and tags.kind = 'train'")[0], runs["weighted"]
    assert again.info.run_id != before.info.run_id
    assert (again.data.tags["workers"], before.data.tags["workers"]) == ("1", "2")
    for metric in (*(f"test_{name}" for name in METRICS), "val_bal_acc", "train_loss"):
        assert again.data.metrics[metric] == before.data.metrics[metric]
    alone, beside = (predictions(run, tmp_path / run.info.run_id) for run in (again, before))
    pd.testing.assert_frame_equal(alone, beside)


def test_ranking_again_renews_the_summaries(server: str, study: str) -> None:
    run_project("rank", server)
    summaries = find("tags.kind = 'summary'")
    assert sorted(run.data.tags["rank"] for run in summaries) == list("123456")
    assert {run.data.tags["arm"] for run in summaries} == set(techniques.names())
    for run in summaries:
        assert "SIMULATED DATA" in run.data.tags["mlflow.note.content"]
        assert {"ranking.txt", "comparisons.csv"} <= artifacts(run)


def test_the_champion_is_the_leader_of_the_ranking(server: str, study: str) -> None:
    printed = run_project("register", server).stdout
    registered = mlflow.MlflowClient().get_model_version_by_alias(champion.NAME, champion.CHAMPION)
    leader = find("tags.kind = 'summary' and tags.rank = '1'")[0]
    assert registered.run_id == leader.data.tags["best_run"]
    assert f"version {registered.version}, alias champion" in printed
    for said in ("Research use only", "SIMULATED DATA", "data digest", "| bal_acc", "Protocol",
                 "No leak found.", "calibration error", "## Limits"):  # fmt: skip
        assert said in registered.description
    assert len(registered.description) <= 5000  # what a PostgreSQL column takes
    assert "model_card.md" in artifacts(mlflow.get_run(registered.run_id))


def test_a_trainer_ranks_what_another_has_trained(
    lab: Lab, server: str, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {run.info.run_id for run in find("tags.kind = 'summary'")}
    for name, value in log_in(lab.folder, "ranks", "trainer").items():
        monkeypatch.setenv(name, value)
    assert "Side by side: " in ranked()
    assert {run.info.run_id for run in find("tags.kind = 'summary'")} == before


def test_a_trainer_is_told_to_ask_a_registrar_and_a_stranger_to_log_in(
    lab: Lab, server: str, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user, role, command, said in (
        ("trains", "trainer", register.main, "does not let trains change the registry; ask a reg"),
        ("reads", "reader", rank.main, "does not allow this: "),
    ):
        for name, value in log_in(lab.folder, user, role).items():
            monkeypatch.setenv(name, value)
        told(command, said)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
    told(rank.main, "does not let you in; set MLFLOW_TRACKING_USERNAME")


def told(command: Command, said: str) -> None:
    done = CliRunner().invoke(command, ["--experiment", "leukemia"])
    assert done.exit_code == 1
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert "Traceback" not in done.output


def test_predict_calls_cells_as_the_evaluation_did(
    server: str, sample: Path, study: str, tmp_path: Path
) -> None:
    csv = tmp_path / "calls.csv"
    done = run_project("predict", server, images=sample / "C-NMC_Leukemia", csv=csv)
    assert "Research use only; not for diagnosis." in done.stdout
    assert "SIMULATED" in done.stdout
    registered = mlflow.MlflowClient().get_model_version_by_alias(champion.NAME, champion.CHAMPION)
    rows = predictions(mlflow.get_run(registered.run_id), tmp_path)
    expected = dict(zip(rows["cell_id"], rows["scores"], strict=True))
    calls = pd.read_csv(csv, keep_default_na=False)
    assert len(calls) == len(expected) == 130
    assert set(calls["error"]) == {""}
    for path, probability, label, _ in calls.itertuples(index=False):
        score = expected[str(Path(path).relative_to(sample))]
        assert probability == pytest.approx(score, abs=0.015)  # bfloat16, and the same calls:
        assert label == ("all" if score >= 0.5 else "hem")


@pytest.fixture(scope="module")
def inflation(server: str, sample: Path, study: str) -> str:
    """What the entry point printed for one technique, of which the subject run was there."""
    return run_project(
        "inflation", server, data=sample, seeds=0, test_folds=0, techniques="adasyn",
        protocols="subject,image,thesis", **QUICK,
    ).stdout  # fmt: skip


def test_inflation_runs_what_is_missing_and_says_what_each_mistake_adds(inflation: str) -> None:
    assert "1 of 3 runs are there already" in inflation
    table = inflation[inflation.index("technique  protocol") :]
    assert re.findall(r"^adasyn\s+(\w+)\s+1\s", table, re.M) == ["subject", "image", "thesis"]
    assert re.search(
        r"adasyn: random split adds [+-]0\.\d{3} \[.*\], balancing before the split adds ", table
    )
    assert "SIMULATED DATA: drawn cells, seed 7" in table
    assert "real cells only are tested" in table


def test_the_thesis_protocol_logs_its_doubled_counts_as_what_they_are(inflation: str) -> None:
    run = find("tags.kind = 'train' and tags.protocol = 'thesis'")[0]
    counts = {name: run.data.metrics[f"thesis_{name}"] for name in ("tp", "fn", "fp", "tn")}
    assert counts["tp"] + counts["fn"] == counts["fp"] + counts["tn"]  # each cell, twice
    assert counts["tp"] + counts["fn"] > run.data.metrics["test_subjects"]
    assert run.data.metrics["thesis_acc"] == counts["tp"] / (counts["tp"] + counts["fn"])
    assert set(run.data.tags["leaks"].split(",")) == {"synthetic", "subject"}
    assert "balanced first, then split" in run.data.tags["protocol_line"]


def test_a_leak_blocks_ranking_and_registering_until_it_is_waived(
    server: str, inflation: str
) -> None:
    refused = run_project("register", server, check=False, protocol="thesis")
    assert refused.returncode == 1
    assert "found leaks (subject, synthetic), so their figures flatter" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "found leaks (subject, synthetic)" in ranked("--protocol", "thesis", code=1)
    waived = ranked("--protocol", "thesis", "--waive", "subject,synthetic")
    assert "WAIVED findings of the audit: subject, synthetic; these figures flatter" in waived
    assert find("tags.kind = 'summary'")[0].data.tags["waived"].startswith("WAIVED")
    ranked()


def test_an_audit_is_kept_in_mlflow(server: str, sample: Path) -> None:
    run_project("audit", server, data=sample)
    run = find("tags.kind = 'audit'")[0]
    assert {"audit.json", "audit.csv", "audit.png"} == artifacts(run)


def test_the_thesis_report_holds_this_installations_own_runs(
    server: str, inflation: str, tmp_path: Path
) -> None:
    run_project("thesis-report", server, out=tmp_path / "report")
    run = find("tags.kind = 'thesis-report'")[0]
    assert {"thesis_report.html", "thesis_report.md"} <= artifacts(run)
    text = (tmp_path / "report" / "thesis_report.md").read_text()
    assert "DRAWN CELLS" in text
    assert "adasyn" in text


def test_a_killed_run_does_not_stay_running_and_the_same_command_goes_on_with_it(
    server: str, sample: Path, study: str
) -> None:
    import signal

    given = {**QUICK, "gan_size": 32, "gan_epochs": 24, "gan": "modern"}
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "entrypoints.train", "dcgan", "--data", str(sample), *words]
    environment = os.environ | {"MLFLOW_TRACKING_URI": server}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    training = "attributes.status = 'RUNNING' and tags.technique = 'dcgan'"
    deadline = time.monotonic() + 90
    while not (running := find(f"{training} and metrics.gan_g_loss > -1000")):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = running[0].info.run_id
    ranked()
    assert mlflow.get_run(killed).info.status == "KILLED"

    run_project("dcgan", server, data=sample, **given)
    client = mlflow.MlflowClient()
    assert client.get_run(killed).info.status == "FINISHED"
    assert "test_bal_acc" in client.get_run(killed).data.metrics
    steps = [each.step for each in client.get_metric_history(killed, "gan_g_loss")]
    assert sorted(steps) == list(range(1, 25))
    (went_on,) = find(f"tags.continues = '{killed}'")
    assert went_on.data.tags["kind"] == "continuation"
    client.set_tag(killed, "kind", "thrown away")


@pytest.mark.slow
def test_gans_of_several_seeds_stand_side_by_side(
    server: str, sample: Path, study: str, tmp_path: Path
) -> None:
    given = {**QUICK, "gan_size": 32, "gan_epochs": 3, "seeds": "0,1"}
    said = run_project("gan", server, data=sample, **given).stdout
    table = said[said.index("measure") :].splitlines()
    assert table[0].split() == ["measure", "seed", "0", "seed", "1", "mean", "sd", "floor"]
    kid = table[1].split()
    assert kid[0] == "KID"
    assert float(kid[3]) == pytest.approx((float(kid[1]) + float(kid[2])) / 2, abs=0.01)
    assert "SIMULATED" in said[said.index("measure") :]
    (parent,) = find("tags.kind = 'gans'")
    alone = find(f"tags.kind = 'gan' and tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.data.tags["seed"] for run in alone} == {"0", "1"}
    assert len({run.data.metrics["synth_kid"] for run in alone}) == 2
    assert artifacts(alone[0], "gan") == {
        "plan.json", "losses.csv", "epochs.csv", "course.png", "samples.gif",
    }  # fmt: skip
    assert artifacts(alone[0], "review") == {"copies.png", "shortcut.png", "review.txt"}
    assert alone[0].data.tags["review_features"] == "fixed features"
    assert alone[0].data.tags["gan_epoch"].startswith("Generator of ")
    assert "synthetic_cells.zip" in artifacts(alone[0])


# --- as a person sees it, in a real browser ---------------------------------------------------


@pytest.fixture
def page(study: str) -> Iterator[Any]:
    """A tab of a fresh browser, logged in."""
    with browsing(os.environ) as tab:
        yield tab


def experiment_id() -> str:
    return mlflow.get_experiment_by_name("leukemia").experiment_id


def test_the_ranking_link_opens_the_sorted_table(server: str, page) -> None:
    ranked()
    page.goto(views.address(server, experiment_id(), leaderboard.RANKING))
    page.get_by_text("6 matching runs").wait_for(timeout=60_000)
    page.wait_for_timeout(2000)  # the columns are put in order after the first paint
    shown = page.evaluate(HEADS)
    summaries = sorted(find("tags.kind = 'summary'"), key=lambda run: run.data.metrics["rank"])
    # One seed has no deviation, and MLflow no column for what no run has.
    there = {name for run in summaries for name in run.data.metrics}
    assert shown[2 : 2 + 8] == [name for name in leaderboard.COLUMNS if name in there][:8]
    assert page.evaluate(NAMES_SHOWN) == [run.data.tags["arm"] for run in summaries]
    shot(page, "mlflow_ranking")


def test_the_chart_link_opens_curves_and_pictures(server: str, page) -> None:
    page.set_viewport_size({"width": 1900, "height": 9000})  # cards out of sight are not drawn
    page.goto(views.address(server, experiment_id(), leaderboard.CHARTS, charts=True))
    page.get_by_role("heading", name="gan_samples").wait_for(timeout=60_000)
    page.wait_for_timeout(5000)  # curves and pictures
    titles = page.locator("h4").all_inner_texts()
    assert titles[:3] == ["train_loss vs val_loss", "train_acc vs val_acc", "val_auroc"]
    assert titles[-6:] == ["confusion_test", "reliability", "gradcam", "subjects",
                           "synthetic_cells",
                           "gan_samples"]  # fmt: skip
    sections = page.get_by_test_id("experiment-view-compare-runs-section-header").all_inner_texts()
    assert "model metrics" not in " ".join(sections).lower()  # no card of MLflow's own making
    loaded = page.evaluate("() => [...document.images].filter(i => i.naturalWidth > 0).length")
    assert loaded >= 4 * 6 + 3 + 1
    assert page.locator(".js-plotly-plot").count() >= 10
    shot(page, "mlflow_charts", 3000)


def test_the_link_side_by_side_compares_the_best_runs(
    server: str, runs: dict[str, Run], page
) -> None:
    link, *_ = re.findall(r"^Side by side: (\S+)$", ranked(), re.MULTILINE)
    page.set_viewport_size({"width": 1900, "height": 1900})
    page.goto(link)
    page.get_by_text("Comparing 6 Runs from 1 Experiment").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    shot(page, "mlflow_compare")
    text = page.locator(".CompareRunView").inner_text()
    names = [run.info.run_name for run in runs.values()]
    assert all(name in text for name in ("n_neighbors", "by_subject_bal_acc", *names))
    page.locator(".ReactVirtualized__Grid").last.hover()
    last = page.get_by_role("link", name="val_bal_acc", exact=True)
    for _ in range(60):  # rows out of sight are not drawn
        if last.count():
            break
        page.mouse.wheel(0, 200)
        page.wait_for_timeout(100)
    last.wait_for()


def test_the_protocols_link_opens_technique_by_protocol(server: str, inflation: str, page) -> None:
    page.goto(views.address(server, experiment_id(), leaderboard.PROTOCOLS, charts=True))
    page.get_by_role("heading", name="inflation").wait_for(timeout=60_000)
    page.wait_for_timeout(3000)
    assert page.locator("h4").all_inner_texts() == ["test_auroc", "inflation"]
    for protocol in ("subject", "image", "thesis"):
        page.get_by_text(f"adasyn {protocol}").first.wait_for()


def test_errors_are_browsed_as_a_table_with_pictures(
    server: str, runs: dict[str, Run], page
) -> None:
    page.goto(views.artifact_address(server, experiment_id(), runs["dcgan"].info.run_id, ERRORS))
    frame = page.frame_locator("iframe")
    frame.locator("tbody tr").first.wait_for(timeout=60_000)
    pictures = "imgs => imgs.filter(i => i.naturalWidth > 0).length"
    rows = frame.locator("tbody tr").count()
    assert rows == frame.locator("tbody img").evaluate_all(pictures) > 0
    frame.get_by_text("probability of all").click()
    shown = frame.locator("tbody tr td:nth-child(5)").all_inner_texts()
    assert shown == sorted(shown)


def test_the_model_page_shows_the_champion_and_its_limits(server: str, page) -> None:
    registered = mlflow.MlflowClient().get_model_version_by_alias(champion.NAME, champion.CHAMPION)
    page.goto(views.model_address(server, champion.NAME, str(registered.version)))
    page.get_by_text("champion").first.wait_for(timeout=60_000)
    page.get_by_text("Research use only").first.wait_for()
    page.wait_for_timeout(1000)
    shot(page, "mlflow_model")


def test_the_server_answers_only_to_its_own_name(server: str) -> None:
    answer = requests.get(f"{server}/", headers={"Host": "elsewhere.example"}, timeout=10)
    assert answer.status_code == 403


def test_a_file_that_is_not_there_is_a_404_at_once(server: str) -> None:
    """MLflow's clients ask for minutes again where they are told 500."""
    path = f"api/2.0/mlflow-artifacts/artifacts/{experiment_id()}/{'0' * 32}/artifacts/model"
    who = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    assert requests.get(f"{server}/{path}", auth=who, timeout=30).status_code == 404
