"""A user's mistake gets one line that says what to do, a non-zero exit, and no run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from entrypoints import audit, gan, inflation, predict, rank, register, sample, study, train
from leukemia.cells import Cells
from leukemia.model import keras_json
from tests.conftest import ROOT, write_table

TINY = ["--backbone", "miniature", "--crop", "0", "--image-size", "32", "--budget", "quick"]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tracking store and a cache of the test's own; says whether runs were left in it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("LEUKEMIA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mlflow.db"


def runs_in(store: Path) -> list[str]:
    """The IDs of the runs in a store that there may be."""
    import mlflow

    if not store.exists():
        return []
    return mlflow.search_runs(search_all_experiments=True)["run_id"].tolist()


def training(technique: str, data: Path, *more: str) -> Result:
    words = [technique, "--data", str(data), "--positive", "blast", *TINY, *more]
    return CliRunner().invoke(train.main, words)


def refused(result: Result, message: str, code: int = 1) -> None:
    assert result.exit_code == code, result.output
    assert message in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "Traceback" not in result.output


def test_no_such_data(tmp_path: Path, store: Path) -> None:
    refused(training("baseline", tmp_path / "gone"), "no such file or folder")
    assert not store.exists()


def test_a_truncated_file_is_named_before_any_run(table: Path, store: Path) -> None:
    whole = (table / "cell_007.png").read_bytes()
    (table / "cell_007.png").write_bytes(whole[: len(whole) // 2])
    refused(training("baseline", table), "cell_007.png: not a whole image")
    assert not store.exists()


def test_a_file_of_another_size(table: Path) -> None:
    Image.new("RGB", (20, 30)).save(table / "cell_003.png")
    said = "cell_003.png: 20x30 px, mode RGB: smaller than the crop of 32 px"
    refused(training("baseline", table, "--crop", "32"), said)


def test_an_empty_class(table: Path) -> None:
    csv = table / "index.csv"
    csv.write_text(csv.read_text().replace("normal", "blast"))
    refused(training("baseline", table), "1 class(es) (blast) where two are needed")


def test_an_unknown_sought_class(table: Path) -> None:
    refused(training("baseline", table, "--positive", "all"), "there is no class 'all'")


def test_too_few_subjects(table: Path) -> None:
    csv = table / "index.csv"
    lines = csv.read_text().splitlines()
    merged = [line if ",blast," in line else line.rsplit(",", 1)[0] + ",S" for line in lines[1:]]
    csv.write_text("\n".join([lines[0], *merged]))
    refused(training("baseline", table), "class normal has 1 separate subject(s)")


def test_too_few_cells_for_the_technique(tmp_path: Path, cells: Cells) -> None:
    positive = np.flatnonzero(cells.labels == 1)
    negative = np.flatnonzero(cells.labels == 0)
    subjects, first = np.unique(cells.subjects[negative], return_index=True)
    few = cells.take(np.concatenate([positive, negative[first]]))
    (tmp_path / "few").mkdir()
    write_table(tmp_path / "few", few)
    refused(training("adasyn", tmp_path / "few"), "needs at least 6; lower n_neighbors")
    assert len(subjects) < 10


def test_options_out_of_range(table: Path) -> None:
    refused(training("adasyn", table, "--n-neighbors", "0"), "at least 1 is needed")
    refused(training("baseline", table, "--image-size", "16"), "too small; use 32 px or more")
    refused(training("baseline", table, "--seed", "x"), "'x' is not a valid integer range", 2)
    refused(training("baseline", table, "--split-seed", "x"), "'x' is not a valid integer range", 2)
    refused(training("baseline", table, "--split-seed", "-1"), "-1 is not in the range x>=0", 2)
    refused(training("baseline", table, "--seed", str(2**32)), "whole number from 0 to 4294967295")
    refused(training("baseline", table, "--budget", "huge"), "'huge' is not one of", 2)
    refused(training("dcgan", table, "--gan-size", "100"), "choose a size that halves down")
    refused(training("dcgan", table, "--gan-ema", "1"), "ema is 1.0: give 0 or more and less")


def test_a_gan_where_no_cell_is_missing(cells: Cells, tmp_path: Path, store: Path) -> None:
    """One cell of every subject: whatever the split, no class is rarer."""
    rows = [np.flatnonzero(cells.subjects == name)[0] for name in sorted(set(cells.subjects))]
    (tmp_path / "even").mkdir()
    write_table(tmp_path / "even", cells.take(np.array(rows)))
    words = ["--data", str(tmp_path / "even"), "--positive", "blast", "--folds", "3", *TINY]
    refused(CliRunner().invoke(gan.main, words), "there is none to make")
    assert not store.exists()


def test_weights_that_are_not_there_or_do_not_fit(table: Path, tmp_path: Path) -> None:
    refused(training("baseline", table, "--backbone-weights", "gone.h5"), "'gone.h5': no such file")
    (tmp_path / "bad.h5").write_text("no weights")
    wrong = training("baseline", table, "--backbone-weights", str(tmp_path / "bad.h5"))
    refused(wrong, "do not fit")


def test_a_tracking_server_that_is_away(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    refused(training("baseline", table), "tracking server http://127.0.0.1:9 cannot be reached")


def test_an_experiment_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    done = CliRunner().invoke(rank.main, [])
    refused(done, "MLFLOW_EXPERIMENT_ID is 77, which sqlite:///")


def test_ranking_or_registering_nothing() -> None:
    refused(CliRunner().invoke(rank.main, []), "no finished training runs")
    refused(CliRunner().invoke(register.main, []), "no finished training runs")


def test_predicting_what_is_no_image_or_without_a_model(table: Path, tmp_path: Path) -> None:
    gone = CliRunner().invoke(predict.main, [str(tmp_path / "gone.bmp")])
    refused(gone, "gone.bmp: no such file or folder")
    (tmp_path / "nothing").mkdir()
    refused(CliRunner().invoke(predict.main, [str(tmp_path / "nothing")]), "no image files below")
    no_model = CliRunner().invoke(predict.main, [str(table / "cell_000.png")])
    refused(no_model, "cannot be loaded")


def test_a_study_of_unknown_techniques_or_seeds(table: Path) -> None:
    words = ["--data", str(table), "--techniques", "smote"]
    refused(CliRunner().invoke(study.main, words), "no technique 'smote'", 2)
    words = ["--data", str(table), "--seeds", "1,1"]
    refused(CliRunner().invoke(study.main, words), "give different numbers of 0 or more", 2)


def test_protocols_and_folds_that_the_data_do_not_have(table: Path, store: Path) -> None:
    refused(training("baseline", table, "--protocol", "official"), "no official split here")
    refused(training("baseline", table, "--fold", "9"), "there is no fold 9: protocol subject has")
    refused(training("baseline", table, "--protocol", "random"), "'random' is not one of", 2)
    refused(training("baseline", table, "--sensitivity", "1.5"), "1.5 is not in the range", 2)
    words = ["--data", str(table), "--positive", "blast", "--protocol", "official", *TINY]
    refused(CliRunner().invoke(study.main, words), "no official split here")
    assert not any(run for run in runs_in(store))


def test_a_waiver_or_a_metric_that_there_is_not() -> None:
    refused(CliRunner().invoke(rank.main, ["--waive", "leak"]), "'leak': choose from", 2)
    refused(CliRunner().invoke(rank.main, ["--metric", "auc"]), "'auc' is not one of", 2)


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    csv = tmp_path / "manifest.csv"
    csv.write_text("path,sha256\na.bmp,1\na.bmp,1\n")
    refused(CliRunner().invoke(audit.main, ["--data", str(csv)]), "a.bmp is listed twice")
    csv.write_text("path,sha256\nC-NMC/fold_0/all/cell.bmp,1\n")
    refused(CliRunner().invoke(audit.main, ["--data", str(csv)]), "is not named UID_SUBJECT")


def test_inflation_of_one_protocol_alone(table: Path) -> None:
    words = ["--data", str(table), "--protocols", "subject,mixed"]
    refused(CliRunner().invoke(inflation.main, words), "'mixed': choose from", 2)


def test_a_sample_over_something_else(tmp_path: Path) -> None:
    there = tmp_path / "C-NMC_Leukemia"
    there.mkdir()
    (there / "mine.txt").write_text("keep")
    result = CliRunner().invoke(sample.main, ["--out", str(tmp_path), "--cells", "72"])
    refused(result, str(there))
    assert (there / "mine.txt").read_text() == "keep"


def test_a_run_that_fails_later_says_so_in_mlflow(tmp_path: Path, cells: Cells) -> None:
    import mlflow

    (tmp_path / "even").mkdir()
    write_table(tmp_path / "even", cells)
    refused(training("adasyn", tmp_path / "even", "--n-neighbors", "50"), "needs at least 51")
    run = mlflow.search_runs(experiment_names=["leukemia"]).iloc[0]
    assert run["status"] == "FAILED"
    assert "needs at least 51" in run["tags.error"]


def test_mlflow_run_passes_the_line_and_the_failure_on(tmp_path: Path) -> None:
    from tests.service import run_project

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = run_project("baseline", uri, check=False, data=tmp_path, positive="all")
    assert done.returncode == 1
    assert "no labelled cells are here" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import json, sys\n"
        "from click.testing import CliRunner; from entrypoints import main, train\n"
        "asked = [(train.main, ['dcgan', '--help']), (main.main, ['--help'])]\n"
        "codes = [CliRunner().invoke(*each).exit_code for each in asked]\n"
        "heavy = [n for n in ('tensorflow', 'mlflow', 'keras', 'pandas') if n in sys.modules]\n"
        "print(json.dumps([codes, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert json.loads(done.stdout) == [[0, 0], []]


def test_a_study_says_why_its_runs_failed_and_marks_them(table: Path, store: Path) -> None:
    import mlflow

    words = [
        "study", "--data", str(table), "--positive", "blast", "--techniques", "adasyn",
        "--seeds", "3", "--repeats", "1", "--test-folds", "9,0", *TINY,
        "--backbone-weights", "gone.h5",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    trial = "adasyn, subject, seed 3, fold 0 of split 0"
    start = f"Error: none of 1 runs went well, so nothing is ranked; {trial}: "
    assert last.startswith(start)
    assert "'gone.h5': no such file" in last
    assert "Traceback" not in done.stderr
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    (study,) = (run for run in runs if run.data.tags.get("kind") == "study")
    (trained,) = (run for run in runs if run.data.tags.get("kind") != "study")
    assert (study.info.status, trained.info.status) == ("FAILED", "FAILED")
    assert trained.info.run_name == trial
    assert trained.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert "'gone.h5': no such file" in trained.data.tags["error"]


@pytest.mark.parametrize(("name", "value"), [("floatx", "float16"), ("image_data_format", "first")])
def test_keras_settings_of_another_program_are_refused(
    name: str, value: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps({name: value, "backend": "torch"}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    refused(training("baseline", table), f"keras.json says {name} '{value}'")
    (tmp_path / "keras.json").write_text("{")
    keras_json.check()
