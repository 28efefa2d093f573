"""Who may do what on the server, and to whose things: every route is asked, as each role."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from tests.access import UNKNOWN, as_user, ask, filled, made_by, seen, told
from tests.conftest import ROOT, Lab
from tests.service import log_in, native

ROLES = ("reader", "trainer", "registrar")
OPEN = {"/health", "/favicon.ico"}  # and the page's own files, which hold no data
# What the server can do, which MLflow's clients ask before they log in.
ABLE = {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
# What changes something and who may send it, to one's own things alone or to anybody's; all else
# that does is the admin's.
ASKS = re.compile(
    r"/mlflow/((experiments|runs|logged-models|datasets|traces|issues)/search|traces/metrics"
    r"|experiments/search-datasets|registered-models/get-latest-versions|traces/batchGetInfos"
    r"|traces/calculate-filter-correlation|users/update-password)$|^/graphql$"
)
MAKES = re.compile(r"/(experiments|runs)/create$")
REGISTERS = re.compile(r"/(registered-models|model-versions)/")
CHANGES = re.compile(
    r"/mlflow/(runs/(update|delete|restore|log-\w+|set-tag|delete-tag|outputs)|logged-models(/.*)?"
    r"|experiments/(update|delete|restore|set-experiment-tag|delete-experiment-tag)"
    r"|upload-artifact)$|/mlflow-artifacts/(artifacts|mpu)/"
)
# The app as `mlflow server` makes it, on users of its own: rules of Flask, then those of FastAPI.
LIST_ROUTES = """
import json, os, sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "auth.ini").write_text(f"[mlflow]\\ndefault_permission = READ\\nadmin_username = admin\\n"
    f"database_uri = sqlite:///{folder}/auth.db\\n"
    "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\\n")
os.environ |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "for its routes alone",
    "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_AUTH_ADMIN_PASSWORD": "a" * 20,
    "_MLFLOW_SGI_NAME": "uvicorn"}
from fastapi.routing import iter_route_contexts
from mlflow.server import app
from mlflow.server.auth import create_app
fast = list(iter_route_contexts(create_app(app).routes))
print(json.dumps({
    "flask": [(m, rule.rule) for rule in app.url_map.iter_rules() for m in rule.methods],
    "fast": [(m, each.path) for each in fast for m in getattr(each, "methods", None) or ()],
    "rest": [each.path for each in fast if not getattr(each, "methods", None)],
}))
"""


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    return lab.folder


@pytest.fixture(scope="module")
def server(lab: Lab) -> str:
    return lab.address


@dataclass(frozen=True, order=True)
class Route:
    """A method and a path, with <names> for what varies; native: Flask has no such route."""

    method: str
    path: str
    native: bool = False


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """Every route that the server knows, Flask's and FastAPI's own."""
    command = [sys.executable, "-c", LIST_ROUTES, str(tmp_path_factory.mktemp("routes"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout.splitlines()[-1])
    assert listed["rest"] == [""]  # Flask's; no web socket, of which nobody would be asked
    known = {(method, shape(path)): path for method, path in listed["flask"]}
    fast = {(method, shape(path)): path for method, path in listed["fast"]}
    assert len(fast.keys() - known.keys()) > 30
    every = [Route(method, path) for (method, _), path in known.items()]
    every += [Route(each[0], fast[each], True) for each in fast.keys() - known.keys()]
    return sorted(each for each in every if each.method not in ("HEAD", "OPTIONS"))


def shape(path: str) -> str:
    return re.sub(r"<[^>]+>|{[^}]+}", "<>", path)


def test_nobody_sees_anything_but_health(server: str, routes: list[Route]) -> None:
    assert len(routes) > 350
    closed = [each for each in routes if not is_open(each)]
    with ThreadPoolExecutor(4) as pool:
        codes = pool.map(
            lambda each: ask(server, None, each.method, filled(each.path, UNKNOWN)), closed
        )
        answered = dict(zip(closed, codes, strict=True))
    print("\nnobody:", dict(Counter(answered.values())))
    assert {each: code for each, code in answered.items() if code != 401} == {}
    assert ask(server, None, "GET", "/health") == 200
    admin = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "wrong"}
    assert ask(server, admin, "GET", "/") == 401


def is_open(route: Route) -> bool:
    return route.path in OPEN | ABLE or route.path.startswith("/static")


def allowed(role: str, own: bool, route: Route) -> bool:
    """Whether a role may send something, written anew from what docs/lab.md promises."""
    if route.method == "GET":
        return not route.native and not route.path.endswith(("/gateway-proxy", "/supported-models"))
    if ASKS.search(route.path):
        return True
    if role == "registrar" and REGISTERS.search(route.path):
        return True
    changes = MAKES.search(route.path) or (own and CHANGES.search(route.path))
    return role != "reader" and bool(changes)


@pytest.mark.parametrize(
    ("role", "own"),
    [("reader", False), ("trainer", False), ("trainer", True), ("registrar", False),
     ("registrar", True)],
)  # fmt: skip
def test_a_role_may_send_what_the_table_says_and_nothing_else(
    server: str,
    users: dict[str, dict[str, str]],
    routes: list[Route],
    role: str,
    own: bool,
) -> None:
    things = made_by(server, users[role if own else "other"], f"swept by {role}, own {own}")
    before = seen(server, users[role], things)

    def send(route: Route) -> tuple[int, str]:
        given: dict[str, Any] = {"params": {"run_uuid": things.run, "path": "swept.txt"}}
        if "upload-artifact" in route.path:
            given["data"] = b"swept"
        elif route.method != "GET":
            given["json"] = things.body()
        return told(server, users[role], route.method, things.path(route.path), **given)

    # What is deleted is not there for the next one.
    asked = sorted(
        (each for each in routes if not is_open(each)),
        key=lambda each: each.method == "DELETE" or each.path.endswith("/delete"),
    )
    with ThreadPoolExecutor(1 if own else 4) as pool:
        answers = dict(zip(asked, pool.map(send, asked), strict=True))
    wanted = {each: allowed(role, own, each) for each in asked}
    whose = "their own" if own else "another's"
    for looks in (True, False):
        counted = Counter(wanted[each] for each in asked if (each.method == "GET") == looks)
        print(f"\n{role}, {whose} things, {'GET' if looks else 'all else'}: "
              f"{counted[True]} allowed, {counted[False]} refused", end="")  # fmt: skip
    refused = {each: code == 403 and "which does not allow" in said
               for each, (code, said) in answers.items()}  # fmt: skip
    assert {each: answers[each] for each in asked if refused[each] == wanted[each]} == {}
    done = [each for each in asked if each.method != "GET" and answers[each][0] == 200]
    assert len(done) > (30 if own else 3)
    assert own or seen(server, users[role], things) == before


def test_the_table_in_the_documents_is_the_one_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docker"))
    access = import_module("access")
    assert access.table() in (ROOT / "docs/lab.md").read_text()
    assert len({(rule.deed, rule.whose) for rule in access.RULES}) == len(access.RULES)


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
    with pytest.raises(MlflowException, match="a-registrar is registrar, which does not allow"):
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
