"""Who may do what on the server: every route is asked, as each role and as nobody."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from tests.conftest import ROOT, Lab
from tests.service import log_in, native

ROLES = ("reader", "trainer", "registrar")
OPEN = {"/health", "/favicon.ico"}  # and the page's own files, which hold no data
# What the server can do, which MLflow's clients ask before they log in.
ABLE = {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
UNKNOWN = "0123456789abcdef"
# What changes something and who may send it; all else that does is the admin's.
LOGS = re.compile(r"/(experiments|runs|logged-models|datasets)\b|mlflow-artifacts|upload-artifact"
                  r"|artifacts/presigned")  # fmt: skip
REGISTERS = re.compile(r"/(registered-models|model-versions)/")
ASKS = re.compile(r"/search$|search-datasets$|get-latest-versions$|batchGetInfos$|/metrics$"
                  r"|filter-correlation$|update-password$|^/graphql$")  # fmt: skip
LIST_ROUTES = """
import json, os
os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = "for its routes alone"
from mlflow.server import app
from mlflow.server.fastapi_app import create_fastapi_app
from mlflow.server.auth import routes
found = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods}
def walk(router):
    for route in router.routes:
        for method in getattr(route, "methods", None) or ():
            found.add((method, route.path))
        if hasattr(getattr(route, "app", None), "routes"):
            walk(route.app)
walk(create_fastapi_app(app))
methods = ("GET", "POST", "PATCH", "DELETE", "PUT")
found |= {(m, p) for n, p in vars(routes).items() if n.isupper() for m in methods}
print(json.dumps(sorted(each for each in found if each[0] not in ("HEAD", "OPTIONS"))))
"""


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    return lab.folder


@pytest.fixture(scope="module")
def server(lab: Lab) -> str:
    return lab.address


@pytest.fixture(scope="module")
def users(server: str, place: Path) -> dict[str, dict[str, str]]:
    return {role: log_in(place, f"a-{role}", role) for role in ROLES}


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """Every (method, path) that the server knows, with a name for each variable part."""
    import json

    said = subprocess.run(
        [sys.executable, "-c", LIST_ROUTES], capture_output=True, text=True, check=True
    ).stdout
    found = json.loads(said.splitlines()[-1])
    return sorted({(method, re.sub(r"<[^>]+>|{[^}]+}", UNKNOWN, path)) for method, path in found})


def ask(server: str, user: dict[str, str] | None, method: str, path: str) -> int:
    given = (user["MLFLOW_TRACKING_USERNAME"], user["MLFLOW_TRACKING_PASSWORD"]) if user else None
    with requests.request(
        method, server + path, auth=given, json=None if method == "GET" else {}, timeout=30,
        allow_redirects=False, stream=True,
    ) as answer:  # fmt: skip
        return answer.status_code


def allowed(role: str, path: str) -> bool:
    """Whether a role may send something that is no GET there."""
    if ASKS.search(path):
        return True
    return bool(
        (role in ("trainer", "registrar") and LOGS.search(path))
        or (role == "registrar" and REGISTERS.search(path))
    )


def test_nobody_sees_anything_but_health(server: str, routes: list[tuple[str, str]]) -> None:
    assert len(routes) > 250
    told = {
        (method, path): ask(server, None, method, path)
        for method, path in routes
        if path not in OPEN | ABLE and not path.startswith("/static")
    }
    assert {each: code for each, code in told.items() if code not in (401, 404, 405)} == {}
    assert ask(server, None, "GET", "/health") == 200
    # What answers 404 or 405 to nobody is no route for anybody.
    admin = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "wrong"}
    assert ask(server, admin, "GET", "/") == 401


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_refused_all_that_it_may_not_change(
    server: str, users: dict[str, dict[str, str]], routes: list[tuple[str, str]], role: str
) -> None:
    asked = {
        (method, path): ask(server, users[role], method, path)
        for method, path in routes
        if method != "GET" and path not in OPEN
    }
    refused = {each for each, code in asked.items() if code == 403}
    wanted = {each for each in asked if not allowed(role, each[1])}
    not_there = {each for each, code in asked.items() if code in (404, 405)}
    assert wanted - refused - not_there == set()
    assert len(wanted) > 100


def as_user(user: dict[str, str], monkeypatch: pytest.MonkeyPatch, server: str):
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    return mlflow.MlflowClient(server, server)


def test_a_trainer_logs_what_a_reader_reads_and_only_a_registrar_moves_the_champion(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("seen by the trainer")
    client = as_user(users["trainer"], monkeypatch, server)
    experiment = client.create_experiment("of a trainer")
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "val_bal_acc", 0.5)
    client.log_artifact(run, str(tmp_path / "note.txt"))
    with pytest.raises(MlflowException, match="a-trainer is trainer, which does not allow"):
        client.create_registered_model("a-model")

    client = as_user(users["registrar"], monkeypatch, server)
    client.create_registered_model("a-model")
    client.create_model_version("a-model", f"runs:/{run}/model", run)
    client.set_registered_model_alias("a-model", "champion", "1")

    for role in ("reader", "trainer"):
        client = as_user(users[role], monkeypatch, server)
        assert client.get_run(run).data.metrics == {"val_bal_acc": 0.5}
        assert [each.path for each in client.list_artifacts(run)] == ["note.txt"]
        assert client.get_model_version_by_alias("a-model", "champion").version == "1"
        with pytest.raises(MlflowException, match=r"does not allow POST .*alias"):
            client.set_registered_model_alias("a-model", "champion", "1")
        with pytest.raises(MlflowException, match=r"does not allow DELETE .*alias"):
            client.delete_registered_model_alias("a-model", "champion")
    client = as_user(users["reader"], monkeypatch, server)
    with pytest.raises(MlflowException, match="a-reader is reader"):
        client.log_metric(run, "val_bal_acc", 1.0)
    with pytest.raises(MlflowException, match="a-reader is reader"):
        client.create_experiment("of a reader")

    client = as_user(users["registrar"], monkeypatch, server)
    with pytest.raises(MlflowException, match="Permission denied"):
        client.delete_experiment(experiment)  # another one made it
    as_user(users["trainer"], monkeypatch, server).delete_experiment(experiment)


def test_another_role_is_another_right(
    server: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = log_in(place, "promoted", "reader")
    client = as_user(user, monkeypatch, server)
    with pytest.raises(MlflowException, match="promoted is reader"):
        client.create_experiment("before")
    said = subprocess.run(
        [*native(place), "user", "promoted", "trainer"], capture_output=True, text=True, check=True
    ).stdout
    assert said == "promoted is a trainer now\n"
    client.create_experiment("after")


def test_secrets_are_drawn_and_kept_from_others(place: Path, server: str) -> None:
    kept = list((place / "secrets").iterdir())
    assert len(kept) == 5
    assert (place / "secrets").stat().st_mode & 0o077 == 0
    for file in kept:
        assert file.stat().st_mode & 0o077 == 0
        assert file.name == "running.json" or len(file.read_text()) == 32


def test_a_mistake_is_one_line(place: Path, server: str) -> None:
    for words, said in (
        (["--folder", str(place), "up"], "is running"),
        (["--folder", "/tmp/no-such-stack", "user", "x", "reader"], "no stack runs in"),
        (["--folder", str(place), "restore", "/tmp/no-such-backup"], "is no whole backup"),
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / "docker/native.py"), *words],
            capture_output=True, text=True, env=os.environ,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
