"""What goes wrong outside of the program: a line, and caches that mend themselves."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import mlflow
import numpy as np
import pytest
import requests
from click.testing import CliRunner

from entrypoints import troubles
from entrypoints.command import Command
from leukemia.cells import Cells
from leukemia.data.cache import cache_folder
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import prepare
from leukemia.tracking import records
from tests.conftest import ROOT, copied_project, write_table

LOCKED = "(sqlite3.OperationalError) database is locked\n[SQL: SELECT 1]"
MEMORY = 2500 * 2**20  # bytes: enough to start a study and a training, not for a batch
DENIED = mlflow.MlflowException("no", error_code=mlflow.protos.databricks_pb2.PERMISSION_DENIED)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/cache/x"), "/cache/x: No space left"),
        (OSError(errno.EROFS, "Read-only file system"), f"below {cache_folder()}: Read-only"),
        (mlflow.MlflowException(LOCKED), "SQLite database is locked by another process"),
        (mlflow.MlflowException("(sqlite3) database or disk is full"), "its disk is full"),
        (DENIED, "the tracking server does not allow this: no"),
        (requests.ConnectionError("Connection refused"), "it does not answer"),
        (MemoryError(), "memory ran out; give a smaller batch_size"),
        (RuntimeError("could not create a primitive"), "memory ran out"),
    ],
)
def test_it_is_told_in_one_line_with_what_to_do(error: Exception, expected: str) -> None:
    @click.command(cls=Command)
    def main() -> None:
        raise error

    done = CliRunner().invoke(main, [])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert len(done.output.splitlines()) == 1
    assert expected in done.output


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert troubles.line(ValueError("a fault")) == ""
    monkeypatch.setenv(troubles.DEBUG, "1")
    assert troubles.line(MemoryError()) == ""


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A file that takes the number of a process, which then has MEMORY bytes with its children."""
    for base, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup") / base / f"leukemia_{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(MEMORY))
            yield group / "cgroup.procs"
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("no control group of memory may be made here")


@pytest.mark.slow
def test_a_training_that_the_system_kills_for_its_memory_is_told_in_one_line(
    tmp_path: Path, cells: Cells, little_memory: Path
) -> None:
    (tmp_path / "cells").mkdir()
    write_table(tmp_path / "cells", cells)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["--data", "cells", "--positive", "blast", "--backbone", "resnet50",
             "--backbone-weights", "none", "--image-size", "600", "--crop", "0", "--batch-size",
             "256", "--budget", "quick", "--techniques", "baseline", "--seeds", "0",
             "--test-folds", "0"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.study", *words],
        cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "LEUKEMIA_CACHE": str(tmp_path / "cache"),
                          "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: little_memory.write_text(str(os.getpid())),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: none of 1 runs went well, so nothing is ranked; baseline, subject, seed 0, fold 0: "
        "ended by signal 9: perhaps memory ran out, then give fewer workers or a smaller batch_size"
    )
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("leukemia").experiment_id])
    assert {run.data.tags["kind"]: run.info.status for run in runs} == {
        "study": "FAILED", "train": "KILLED",
    }  # fmt: skip


@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_cache_that_was_cut_short_is_made_anew(tmp_path: Path, cells: Cells, left: float) -> None:
    """As a full disk or a machine that lost power leaves it, file by file."""
    (tmp_path / "cells").mkdir()
    write_table(tmp_path / "cells", cells)
    options = ExperimentOptions(
        data=tmp_path / "cells", positive="blast", technique="baseline", budget="quick",
        image_size=32, crop=0, backbone="miniature",
    )  # fmt: skip
    cache = tmp_path / "cache"
    before, mapped = prepare(options, cache)
    images = np.array(mapped.images)
    kept = [file for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert {file.parent.name for file in kept} >= {"digests", "pixels", "near_duplicates"}
    for file in kept:
        content = file.read_bytes()
        file.write_bytes(content[: int(left * len(content))])
    after, again = prepare(options, cache)
    assert np.array_equal(images, again.images)
    assert before.config.key(before.index) == after.config.key(after.index)
    assert before.split.text == after.split.text


def test_a_kept_copy_of_predictions_that_was_damaged_is_fetched_again(
    trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied_project(trained_once, tmp_path / "project")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    try:
        experiment = mlflow.get_experiment_by_name("seed 0")
        [run_id] = records.finished(experiment.experiment_id).values()
        before = records.checked([run_id], tmp_path)
        [copy] = (tmp_path / "predictions").rglob("test.csv")
        copy.write_text(copy.read_text()[:200])
        after = records.checked([run_id], tmp_path)
    finally:
        mlflow.set_tracking_uri(None)
    assert before.broken == after.broken == {}
    assert np.array_equal(before.networks[run_id].test.scores, after.networks[run_id].test.scores)
