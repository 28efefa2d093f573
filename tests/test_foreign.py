"""Backups and projects that somebody else made lead nowhere but into their own folder."""

import hashlib
import json
import os
import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import ROOT

OUTSIDE = "/etc/passwd"


def tool(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docker"))
        return import_module(name)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A whole backup of one object."""
    folder = tmp_path / "backups" / "monday"
    (folder / "objects" / "run").mkdir(parents=True)
    (folder / "database.dump").write_bytes(b"dump")
    (folder / "objects" / "run" / "file").write_bytes(b"kept")
    write(folder, {"run/file": sha256(b"kept")})
    return folder


def write(folder: Path, objects: Any, **others: Any) -> None:
    manifest = {"rows": {"runs": 1}, "dump": sha256(b"dump"), "objects": objects} | others
    (folder / "manifest.json").write_text(json.dumps(manifest))


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as ended:
        act()
    line = str(ended.value)
    assert line.startswith("Error: ")
    assert len(line.splitlines()) == 1
    return line


def test_a_whole_backup_is_taken(saved: Path) -> None:
    assert tool("backup").checked(saved)["objects"] == {"run/file": sha256(b"kept")}


@pytest.mark.parametrize(
    "name",
    ["../../../../../../../../etc/passwd", "run/../../../../../../../../../etc/passwd", OUTSIDE,
     f"/{OUTSIDE}", "..", ".", "", "run//file", "run/./file", "run\\..\\file"],
)  # fmt: skip
def test_an_object_of_a_backup_that_leads_out_of_it_is_refused(saved: Path, name: str) -> None:
    write(saved, {name: sha256(Path(OUTSIDE).read_bytes())})
    line = refused(lambda: tool("backup").checked(saved))
    assert repr(f"objects/{name}") in line
    assert "is no plain path below it" in line


def symbolic(place: Path) -> None:
    place.symlink_to(OUTSIDE)


def hard(place: Path) -> None:
    outside = place.parents[3] / "outside"
    outside.write_bytes(b"kept")
    place.hardlink_to(outside)


def pipe(place: Path) -> None:
    os.mkfifo(place)


def folder(place: Path) -> None:
    place.mkdir()


LINKS = [(symbolic, "symbolic link"), (hard, "hard link"), (pipe, "no file"), (folder, "no file")]


@pytest.mark.parametrize(("make", "said"), LINKS)
@pytest.mark.parametrize("name", ["objects/run/file", "database.dump", "manifest.json"])
def test_a_link_or_device_in_a_backup_is_not_followed(
    saved: Path, name: str, make: Callable[[Path], None], said: str
) -> None:
    (saved / name).unlink()
    make(saved / name)
    assert said in refused(lambda: tool("backup").checked(saved))


def test_a_linked_folder_in_a_backup_is_not_followed(saved: Path) -> None:
    (saved / "objects" / "etc").symlink_to("/etc")
    write(saved, {"etc/passwd": sha256(Path(OUTSIDE).read_bytes())})
    assert "behind, a symbolic link" in refused(lambda: tool("backup").checked(saved))


def hostile(rng: random.Random, depth: int = 3) -> Any:
    """Some JSON, with what leads out of folders among it."""
    text = [
        "",
        "..",
        "../../x",
        OUTSIDE,
        "a\0b",
        "x" * 300,
        "\ud800",
        "run/file",
        "objects",
        "a\nb",
    ]
    plain = [None, True, -1, 1e308, rng.choice(text), rng.choice(text), sha256(b"kept")]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(plain)
    if rng.random() < 0.5:
        return [hostile(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(text): hostile(rng, depth - 1) for _ in range(rng.randrange(4))}


def checked(saved: Path) -> str | None:
    """Why a backup is refused; where it is taken, nothing outside it was."""
    try:
        manifest = tool("backup").checked(saved)
    except SystemExit as ended:
        return str(ended)
    assert set(manifest["objects"]) <= {"run/file"}
    return None


@pytest.mark.parametrize("seed", range(20))
def test_any_manifest_is_taken_or_refused_in_a_line(saved: Path, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        whole = {"rows": {"runs": 1}, "dump": sha256(b"dump"), "objects": {}}
        manifest = whole | {rng.choice([*whole]): hostile(rng)} if rng.random() < 0.8 else None
        (saved / "manifest.json").write_text(json.dumps(manifest or hostile(rng)))
        if line := checked(saved):
            assert len(line.splitlines()) == 1
            assert line.startswith("Error: ")


def test_a_manifest_that_is_nested_without_end_is_refused(saved: Path) -> None:
    (saved / "manifest.json").write_text("[" * 200_000)
    assert "is no whole backup" in refused(lambda: tool("backup").checked(saved))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a run's file below mlruns, as MLflow's client lays it out."""
    place = tmp_path / "project"
    artifacts = place / "mlruns/1/run/artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "a file.txt").write_text("kept")
    return place


def taken(
    project: Path, uri: object, run: object = "run", mlruns: Path | None = None
) -> list[tuple[Path, str]]:
    """The files, with their keys, that migrate takes for a run of this place and ID."""
    with closing(sqlite3.connect(":memory:")) as old:
        old.execute("create table runs (artifact_uri, experiment_id, run_uuid)")
        old.execute("create table logged_models (artifact_location, experiment_id, model_id)")
        old.execute("insert into runs values (?, 1, ?)", (uri, run))
        return tool("migrate").taken(old, mlruns or project / "mlruns")[1]


def test_files_of_a_project_are_taken_from_its_own_folder(project: Path) -> None:
    artifacts = project / "mlruns/1/run/artifacts"
    wanted = [(artifacts / "a file.txt", "artifacts/1/run/artifacts/a file.txt")]
    for uri in (str(artifacts), artifacts.as_uri()):
        assert taken(project, uri) == wanted


@pytest.mark.parametrize(
    "uri",
    ["file:///etc", "/etc", "file:/etc", "file://somewhere/etc", "{p}/mlruns/../../../etc",
     "file://{p}/mlruns/%2e%2e/secrets", "{p}/mlruns", "{p}/mlruns2/1/run/artifacts", "{p}", "/",
     "", "mlruns/1/run/artifacts"],
)  # fmt: skip
def test_artifacts_elsewhere_are_refused_by_name(project: Path, uri: str) -> None:
    (project / "secrets").mkdir()
    (project / "mlruns2/1/run/artifacts").mkdir(parents=True)
    line = refused(lambda: taken(project, uri.format(p=project)))
    assert "which is not below" in line
    assert "nothing was moved" in line


@pytest.mark.parametrize(
    "uri", ["s3://bucket/1", "http://127.0.0.1/x", "mlflow-artifacts:/1", None, 7]
)
def test_artifacts_that_are_no_folder_are_refused(project: Path, uri: object) -> None:
    assert "only a project with local ones" in refused(lambda: taken(project, uri))


@pytest.mark.parametrize("run", ["../../../other", "a/b", "", ".", "a b", "a\0", None])
def test_an_id_that_would_lead_to_anothers_key_is_refused(project: Path, run: object) -> None:
    with pytest.raises(ValueError, match="is no ID"):
        taken(project, str(project / "mlruns/1/run/artifacts"), run)


def test_a_linked_folder_below_mlruns_is_refused(project: Path) -> None:
    (project / "mlruns/2").symlink_to("/etc")
    assert "'/etc'" not in refused(lambda: taken(project, str(project / "mlruns/2")))
    (project / "mlruns/1/run/artifacts/etc").symlink_to("/etc")
    line = refused(lambda: taken(project, str(project / "mlruns/1/run/artifacts")))
    assert "is, or lies behind, a symbolic link" in line


@pytest.mark.parametrize(("make", "said"), LINKS[:3])
def test_a_link_or_device_among_artifacts_is_not_followed(
    project: Path, make: Callable[[Path], None], said: str
) -> None:
    make(project / "mlruns/1/run/artifacts/x")
    line = refused(lambda: taken(project, str(project / "mlruns/1/run/artifacts")))
    assert said in line
    assert "artifacts/x" in line


def test_mlruns_itself_is_no_link_unless_it_is_named(project: Path, tmp_path: Path) -> None:
    (project / "mlruns").rename(tmp_path / "elsewhere")
    (project / "mlruns").symlink_to(tmp_path / "elsewhere")
    database = project / "mlflow.db"
    database.touch()
    choose = tool("migrate").chosen
    assert "is a link to" in refused(lambda: choose(database, None))
    assert choose(database, tmp_path / "elsewhere") == tmp_path / "elsewhere"
    uri = str(project / "mlruns/1/run/artifacts")
    assert len(taken(project, uri, mlruns=tmp_path / "elsewhere")) == 1
    assert "no such folder" in refused(lambda: choose(database, tmp_path / "none"))


@pytest.mark.parametrize(
    "value",
    ["/etc", "file:///etc", "mlflow-artifacts://somewhere.else/1", "mlflow-artifacts:/../x",
     "http://127.0.0.1:1/x", "models:/../x", "models:/m-1/../../x", "runs:/run/../../x",
     "/p/mlruns/1/run/artifacts/../../../../../etc", "s3://other/x"],
)  # fmt: skip
@pytest.mark.parametrize("column", ["source", "storage_location"])
def test_a_model_version_that_points_elsewhere_is_refused(column: str, value: str) -> None:
    migrate = tool("migrate")
    table = sa.Table("model_versions", sa.MetaData(), sa.Column(column, sa.String))
    places = {"/p/mlruns/1/run/artifacts": "mlflow-artifacts:/1/run/artifacts"}
    refused(lambda: migrate.moved(table, column, value, places))
    for kept in ("models:/m-0af3", "runs:/0af3/model", None):
        assert migrate.moved(table, column, kept, places) == kept
    inside = "/p/mlruns/1/run/artifacts/model"
    assert migrate.moved(table, column, inside, places).endswith(":/1/run/artifacts/model")


@pytest.mark.filterwarnings("ignore:starlette.middleware.wsgi is deprecated")  # MLflow 3.17 has it
def test_no_users_are_moved_nor_what_the_server_would_call() -> None:
    from mlflow.server.auth.db.models import Base

    tables = set(tool("migrate").TABLES)
    assert not tables & set(Base.metadata.tables)
    assert not {each for each in tables if re.search("webhook|endpoint|secret|job|mcp|trace", each)}
