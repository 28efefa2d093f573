"""The SQLite database of a project: half-made, older and newer ones are told; copies are mended."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import sqlalchemy
from alembic import command
from click.testing import CliRunner, Result
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

from entrypoints import rank
from entrypoints import store as entry
from leukemia.errors import UserError
from leukemia.tracking import store
from leukemia.tracking.store import State
from tests.conftest import ROOT
from tests.service import BIN, PATH

OLDER = "17e22815139b"  # a revision of MLflow's tables, three before those of 3.17
# MLflow makes a database, or upgrades one, and is killed as soon as it has carried out a statement.
INTERRUPTED = """
import os, signal, sys
from mlflow.store.db import utils
from sqlalchemy import event

engine = utils.create_sqlalchemy_engine("sqlite:///" + sys.argv[1])

@event.listens_for(engine, "after_cursor_execute")
def end(connection, cursor, statement, *more):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

utils._initialize_tables(engine)
"""
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the test's own database is, or is to be."""
    place = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}")
    mlflow.set_tracking_uri(None)
    yield place
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An older MLflow's, with an experiment and a run in it."""
    place = tmp_path_factory.mktemp("older") / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{place}")
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(f"sqlite:///{place}"), OLDER)
    engine.dispose()
    with closing(sqlite3.connect(place)) as base, base:
        base.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage, "
            "workspace) values (1, 'leukemia', 'mlruns/1', 'active', 'default')"
        )
        base.execute(
            "insert into runs (run_uuid, name, source_type, status, start_time, lifecycle_stage, "
            "experiment_id, artifact_uri, user_id) "
            "values ('a1', 'of before', 'LOCAL', 'FINISHED', 1, 'active', 1, 'mlruns/1/a1', 'ada')"
        )
        base.execute("insert into params (key, value, run_uuid) values ('seed', '7', 'a1')")
    return place


@pytest.fixture(scope="module")
def half_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("half") / "mlflow.db"
    interrupted(place, "CREATE TABLE _alembic_tmp_tags")  # that is to replace another
    return place


def interrupted(file: Path, statement: str) -> None:
    words = [sys.executable, "-c", INTERRUPTED, str(file), statement]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL


def mended() -> Result:
    return CliRunner().invoke(entry.main, [])


def refused(result: Result, message: str) -> None:
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line


def old_ones(file: Path) -> list[Path]:
    return sorted(file.parent.glob("mlflow.db.2*"))


def test_a_fresh_one_is_made_whole_and_left_as_it_is_afterwards(file: Path) -> None:
    assert store.look(file).state is State.NONE
    result = mended()
    assert (result.exit_code, result.output) == (0, f"{file} is made\n")
    assert store.look(file).state is State.READY
    before = file.read_bytes()
    assert mended().output == f"{file} is ready: 0 runs and models\n"
    assert CliRunner().invoke(entry.main, ["--look", "true"]).output == f"{file}: ready\n"
    assert file.read_bytes() == before
    assert {each.name for each in file.parent.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.slow
def test_two_mlflow_runs_at_once_on_one_that_was_made_before_both_go_well(
    file: Path, tmp_path: Path
) -> None:
    mended()
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text("name: p\nentry_points:\n  main: {command: 'echo ran'}\n")
    words = [str(BIN / "mlflow"), "run", str(project), "--env-manager", "local"]
    both = [
        subprocess.Popen(words, env=os.environ | {"PATH": PATH}, stderr=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    runs = mlflow.search_runs(search_all_experiments=True)
    assert runs["status"].tolist() == ["FINISHED"] * 2


def test_a_half_made_one_is_told_in_a_line_and_finished(file: Path, half_made: Path) -> None:
    shutil.copy(half_made, file)
    with pytest.raises(sqlalchemy.exc.OperationalError, match=r"_alembic_tmp_tags already exists"):
        store._migrate(file)  # as every later start of MLflow
    before = file.read_bytes()
    refused(CliRunner().invoke(rank.main, []), f"{file} is half-made: a process ended, or two")
    assert file.read_bytes() == before
    result = mended()
    assert result.exit_code == 0
    (kept,) = old_ones(file)
    assert result.output == (
        f"{file} was half-made and is ready: 0 runs and models; as it was: {kept}\n"
    )
    assert kept.read_bytes() == before
    refused(CliRunner().invoke(rank.main, []), "no finished training runs")


def test_an_older_mlflows_is_not_changed_by_reading_and_upgraded_without_loss(
    file: Path, older: Path
) -> None:
    shutil.copy(older, file)
    before = file.read_bytes()
    for each in (CliRunner().invoke(rank.main, []),
                 CliRunner().invoke(entry.main, ["--look", "true"])):  # fmt: skip
        refused(each, "was written by an older MLflow than this one")
    assert file.read_bytes() == before
    result = mended()
    assert result.exit_code == 0, result.output
    (kept,) = old_ones(file)
    assert "was of an older MLflow and is ready: 1 runs and models" in result.output
    assert kept.read_bytes() == before
    run = mlflow.MlflowClient().get_run("a1")
    assert (run.info.run_name, run.data.params) == ("of before", {"seed": "7"})


@pytest.mark.parametrize("statement", ["ADD COLUMN", "CREATE TABLE", "CREATE INDEX"])
def test_an_upgrade_that_was_killed_is_finished_without_loss(
    file: Path, older: Path, statement: str
) -> None:
    shutil.copy(older, file)
    interrupted(file, statement)
    result = mended()
    assert result.exit_code == 0, result.output
    assert store.look(file).state is State.READY
    run = mlflow.MlflowClient().get_run("a1")
    assert (run.info.run_name, run.data.params) == ("of before", {"seed": "7"})


def test_one_with_runs_that_cannot_be_finished_is_left_as_it_is(file: Path, older: Path) -> None:
    shutil.copy(older, file)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("create table _alembic_tmp_runs as select * from runs")
        base.execute("drop table runs")  # a hand's, not a migration's
        base.execute("insert into registered_models (name) values ('leukemia-classifier')")
    before = file.read_bytes()
    refused(mended(), "cannot be finished")
    assert file.read_bytes() == before
    assert not old_ones(file)
    assert not file.with_name("mlflow.db.new").exists()


def test_a_newer_mlflows_is_neither_read_nor_changed(file: Path, older: Path) -> None:
    shutil.copy(older, file)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("update alembic_version set version_num = 'ffffffffffff'")
    before = file.read_bytes()
    for each in (CliRunner().invoke(rank.main, []), mended()):
        refused(each, "was written by a newer MLflow")
    assert file.read_bytes() == before


def test_what_is_no_sqlite_database_of_this_project_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("not a database " * 100)
    refused(mended(), "cannot be read as an SQLite database (file is not a database)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    refused(mended(), "http://127.0.0.1:1 is a server's")
    with pytest.raises(UserError):
        store.hold_to_ready(file)


def test_make_setup_makes_the_database_once(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    words = ["make", "--dry-run", "--old-file=.venv/ready", "mlflow.db"]
    made = "-m entrypoints.store"
    assert made in subprocess.run(words, cwd=tmp_path, capture_output=True, text=True).stdout
    (tmp_path / "mlflow.db").touch()
    assert made not in subprocess.run(words, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "\nsetup: .venv/ready mlflow.db\n" in (tmp_path / "Makefile").read_text()


def make_ui(port: int) -> tuple[int, str]:
    """Code and words of `make ui` in an environment that is set up."""
    done = subprocess.run(
        ["make", "--old-file=setup", "ui", f"BIN={BIN}", f"PORT={port}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr.splitlines()[0]


def test_make_ui_ends_in_a_line_where_its_port_is_taken_or_the_database_is_half_made(
    file: Path, half_made: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = make_ui(port)
    assert code == 2  # make's
    assert said == (
        f"Error: port {port} of 127.0.0.1: Address already in use; end what listens there, or "
        f"name another with PORT="
    )
    shutil.copy(half_made, file)
    code, said = make_ui(port)
    assert code == 2
    assert said.startswith(f"Error: {file} is half-made: ")
