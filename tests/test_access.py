"""Who may do what on the server, and to whose things: every route is asked, as each role."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import mlflow
import numpy as np
import pytest
import requests
import sqlalchemy
from mlflow.entities import (
    Dataset,
    DatasetInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException

from tests.conftest import ROOT, Lab
from tests.service import log_in, native

ROLES = ("reader", "trainer", "registrar")
OPEN = {"/health", "/favicon.ico"}  # and the page's own files, which hold no data
# What the server can do, which MLflow's clients ask before they log in.
ABLE = {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
UNKNOWN = "0123456789abcdef"
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
    "kinds": sorted({type(getattr(each, "original_route", each)).__name__ for each in fast}),
}))
"""


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    return lab.folder


@pytest.fixture(scope="module")
def server(lab: Lab) -> str:
    return lab.address


@pytest.fixture(scope="module")
def users(server: str, place: Path) -> dict[str, dict[str, str]]:
    names = {role: role for role in ROLES} | {"other": "trainer"}
    return {name: log_in(place, f"a-{name}", role) for name, role in names.items()}


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
    assert set(listed["kinds"]) <= {"APIRoute", "Mount"}  # no web socket, of which nobody is asked
    known = {(method, shape(path)): path for method, path in listed["flask"]}
    fast = {(method, shape(path)): path for method, path in listed["fast"]}
    assert len(fast.keys() - known.keys()) > 30
    every = [Route(method, path) for (method, _), path in known.items()]
    every += [Route(each[0], fast[each], True) for each in fast.keys() - known.keys()]
    return sorted(each for each in every if each.method not in ("HEAD", "OPTIONS"))


def shape(path: str) -> str:
    return re.sub(r"<[^>]+>|{[^}]+}", "<>", path)


@dataclass(frozen=True, kw_only=True)
class Things:
    """What somebody made: an experiment, in it a run with a file, and the run's logged model."""

    experiment: str
    run: str
    model: str

    def path(self, path: str) -> str:
        """A route with its variable parts filled in."""
        files = f"{self.experiment}/{self.run}/artifacts"
        file = files if "/mpu/" in path else f"{files}/swept.txt"
        path = re.sub(r"<[^>]*artifact_path>", file, path.replace("<model_id>", self.model))
        return filled(path, UNKNOWN)

    def body(self) -> dict[str, Any]:
        """All that a request may name them by."""
        return {
            "run_id": self.run, "run_uuid": self.run, "experiment_id": self.experiment,
            "model_id": self.model, "source_run_id": self.run, "name": f"swept {self.run}",
            "new_name": f"swept {self.run}", "key": "swept", "value": "yes", "path": "swept.txt",
            "tags": [{"key": "swept", "value": "yes"}], "source": f"models:/{self.model}",
            "model_json": "{}", "models": [{"model_id": self.model}], "alias": "swept",
        }  # fmt: skip


@pytest.fixture(scope="module")
def make(server: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Things]:
    note = tmp_path_factory.mktemp("access") / "note.txt"
    note.write_text("theirs")

    def made(user: dict[str, str], name: str) -> Things:
        with pytest.MonkeyPatch.context() as patch:
            client = as_user(user, patch, server)
            experiment = client.create_experiment(name)
            run = client.create_run(experiment, tags={"kind": "train"}).info.run_id
            client.log_artifact(run, str(note))
            model = client.create_logged_model(experiment, "model", run).model_id
        return Things(experiment=experiment, run=run, model=model)

    return made


def seen(server: str, user: dict[str, str], things: Things) -> tuple[Any, ...]:
    """What others must not change."""
    with pytest.MonkeyPatch.context() as patch:
        client = as_user(user, patch, server)
        run, model = client.get_run(things.run), client.get_logged_model(things.model)
        experiment = client.get_experiment(things.experiment)
        files = {(each.path, each.file_size) for each in client.list_artifacts(things.run)}
        inside = client.list_logged_model_artifacts(things.model)
        kept = {key: value for key, value in model.tags.items() if key != "mlflow.modelVersions"}
        return (run.info.to_proto().SerializeToString(), run.data.to_dictionary(), run.inputs,
                run.outputs, files, kept, model.params, model.status, inside, experiment.name,
                experiment.lifecycle_stage, experiment.tags)  # fmt: skip


def filled(path: str, value: str) -> str:
    """A route with a value for each part that varies."""
    return re.sub(r"<[^>]+>|{[^}]+}", value, path)


def login(user: dict[str, str] | None) -> tuple[str, str] | None:
    return (user["MLFLOW_TRACKING_USERNAME"], user["MLFLOW_TRACKING_PASSWORD"]) if user else None


def ask(server: str, user: dict[str, str] | None, method: str, path: str, **given: Any) -> int:
    return told(server, user, method, path, **given)[0]


def told(
    server: str, user: dict[str, str] | None, method: str, path: str, **given: Any
) -> tuple[int, str]:
    """Status of the answer and the start of its text."""
    if method != "GET" and not given:
        given = {"json": {}}
    with requests.request(
        method, server + path, auth=login(user), timeout=30, allow_redirects=False, stream=True,
        **given,
    ) as answer:  # fmt: skip
        return answer.status_code, next(answer.iter_content(500), b"").decode(errors="replace")


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
        return not route.native and not route.path.endswith("/gateway-proxy")
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
    make: Callable[..., Things],
    role: str,
    own: bool,
) -> None:
    things = make(users[role if own else "other"], f"swept by {role}, own {own}")
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
    for kind in ("GET", "other"):
        of_kind = [each for each in asked if (each.method == "GET") == (kind == "GET")]
        print(f"\n{role}, {whose} things, {kind}: {sum(map(wanted.get, of_kind))} allowed, "
              f"{sum(not wanted[each] for each in of_kind)} refused", end="")  # fmt: skip
    refused = {each: code == 403 and "which does not allow" in said
               for each, (code, said) in answers.items()}  # fmt: skip
    assert {each: answers[each] for each in asked if refused[each] == wanted[each]} == {}
    done = [each for each in asked if each.method != "GET" and answers[each][0] == 200]
    assert len(done) > (30 if own else 5)
    assert own or seen(server, users[role], things) == before


API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts"
Send = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def mine(users: dict[str, dict[str, str]], make: Callable[..., Things]) -> Things:
    return make(users["trainer"], "of the attacker")


@pytest.fixture(scope="module")
def theirs(users: dict[str, dict[str, str]], make: Callable[..., Things]) -> Things:
    return make(users["other"], "of the attacked")


@pytest.fixture(params=["trainer", "registrar"])
def attacker(request: pytest.FixtureRequest, users: dict[str, dict[str, str]]) -> dict[str, str]:
    return users[request.param]


# What a request is said to be about in its body, for a run of one's own and one of another.
TO_A_RUN: dict[str, dict[str, Any]] = {
    "runs/update": {"run_name": "theirs no more", "status": "FAILED"},
    "runs/set-tag": {"key": "note", "value": "forged"},
    "runs/delete-tag": {"key": "kind"},
    "runs/log-metric": {"key": "test_bal_acc", "value": 0.999, "timestamp": 1, "step": 0},
    "runs/log-parameter": {"key": "seed", "value": "1"},
    "runs/log-batch": {"metrics": [{"key": "test_bal_acc", "value": 1, "timestamp": 1, "step": 0}]},
    "runs/log-inputs": {"datasets": [{"dataset": {"name": "cells", "digest": "0",
                                                  "source_type": "local", "source": "s"}}]},
    "runs/log-model": {"model_json": "{}"},
    "runs/delete": {},
    "runs/restore": {},
}  # fmt: skip
NAMINGS: dict[str, Callable[[Things, Things], dict[str, str]]] = {
    "the other": lambda mine, theirs: {"run_id": theirs.run},
    "by its old name": lambda mine, theirs: {"run_uuid": theirs.run},
    "in camel case": lambda mine, theirs: {"runId": theirs.run},
    "mine beside it": lambda mine, theirs: {"run_id": theirs.run, "run_uuid": mine.run},
    "it beside mine": lambda mine, theirs: {"run_id": mine.run, "run_uuid": theirs.run},
    "in both cases": lambda mine, theirs: {"run_id": mine.run, "runId": theirs.run},
    "nothing": lambda mine, theirs: {},
}


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"])
def test_nobody_but_its_maker_changes_a_run_however_it_is_named(
    server: str, attacker: dict[str, str], mine: Things, theirs: Things, prefix: str
) -> None:
    before = seen(server, attacker, theirs)
    for route, more in TO_A_RUN.items():
        for how, naming in NAMINGS.items():
            body = more | naming(mine, theirs)
            for given in (
                {"json": body},
                {"json": json.dumps(body)},  # twice, as old clients send it
                {"json": body, "params": {"run_id": mine.run}},
            ):
                code, said = told(server, attacker, "POST", f"{prefix}/{route}", **given)
                assert (code, "which does not allow" in said) == (403, True), (route, how, said)
    for path in ("runs/update/", "runs//update", "runs/Update", "RUNS/update", "runs/./update",
                 "runs/update%2f", "runs/update;a=b", "x/../runs/update"):  # fmt: skip
        code, _ = raw(server, attacker, "POST", f"{prefix}/{path}", {"run_id": theirs.run})
        assert code == 403, path
    assert raw(server, attacker, "GET", f"{prefix}/runs/update", {"run_id": theirs.run})[0] == 403
    assert seen(server, attacker, theirs) == before


def raw(
    server: str, user: dict[str, str], method: str, path: str, body: object = None, **headers: str
) -> tuple[int, str]:
    """Sent as it is written: other clients tidy a path up."""
    connection = http.client.HTTPConnection(urlparse(server).netloc, timeout=30)
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    basic = requests.auth._basic_auth_str(*login(user) or ("", ""))
    named = {"Authorization": basic, "Content-Type": "application/json"}
    connection.request(method, path, sent, named | headers)
    answer = connection.getresponse()
    said = answer.read(500).decode(errors="replace")
    connection.close()
    return answer.status, said


def test_nobody_but_its_maker_changes_a_logged_model_or_puts_one_below_a_run(
    server: str, attacker: dict[str, str], mine: Things, theirs: Things
) -> None:
    before = seen(server, attacker, theirs)
    models = f"{API}/logged-models"
    tags = {"tags": [{"key": "a", "value": "b"}]}
    beside = {"key": "m", "value": 1, "timestamp": 1, "step": 0, "model_id": theirs.model}
    of_experiment = {"experiment_id": mine.experiment, "name": "model"}
    for method, path, body in (
        ("POST", models, of_experiment | {"source_run_id": theirs.run}),
        ("POST", models, of_experiment | {"sourceRunId": theirs.run}),
        ("POST", models, of_experiment | {"source_run_id": mine.run, "sourceRunId": theirs.run}),
        ("PATCH", f"{models}/{theirs.model}", {"model_id": theirs.model, "status": 2}),
        ("PATCH", f"{models}/{mine.model}", {"model_id": theirs.model, "status": 2}),
        ("PATCH", f"{models}/{mine.model}", {"modelId": theirs.model, "status": 2}),
        ("PATCH", f"{models}/{theirs.model}/tags", tags),
        ("DELETE", f"{models}/{theirs.model}/tags/a", None),
        ("POST", f"{models}/{theirs.model}/params", {"params": [{"key": "a", "value": "b"}]}),
        ("DELETE", f"{models}/{theirs.model}", None),
        ("POST", f"{API}/runs/log-metric", {"run_id": mine.run} | beside),
        ("POST", f"{API}/runs/log-batch", {"run_id": mine.run, "metrics": [beside]}),
        ("POST", f"{API}/runs/outputs",
         {"run_id": mine.run, "models": [{"model_id": theirs.model, "step": 0}]}),
        ("POST", f"{API}/runs/outputs",
         {"run_id": theirs.run, "models": [{"model_id": mine.model, "step": 0}]}),
        ("POST", f"{API}/runs/log-inputs",
         {"run_id": mine.run, "models": [{"modelId": theirs.model}]}),
    ):  # fmt: skip
        code, said = told(server, attacker, method, path, json=body)
        assert (code, "which does not allow" in said) == (403, True), (path, body, said)
    assert seen(server, attacker, theirs) == before


def test_nobody_writes_files_but_below_what_they_made(
    server: str, attacker: dict[str, str], mine: Things, theirs: Things
) -> None:
    before = seen(server, attacker, theirs)
    at = f"{theirs.experiment}/{theirs.run}/artifacts"
    model = f"{theirs.experiment}/models/{theirs.model}/artifacts"
    own = f"{mine.experiment}/{mine.run}/artifacts"
    for path in (
        f"{at}/note.txt", f"{at}/new.txt", f"{model}/MLmodel", f"{at}%2Fnote.txt",
        f"{theirs.experiment}%2F{theirs.run}%2Fartifacts%2Fnote.txt", f"%2e/{at}/note.txt",
        f"{own}/../../{theirs.run}/artifacts/note.txt", f"{own}/..%2f..%2f{theirs.run}/a",
        f"{own}%252F..%252F..%252F{theirs.run}/artifacts/note.txt", f"file:{at}/note.txt",
        f"{mine.experiment}/{mine.run}%252Fartifacts/note.txt", f"{own}//note.txt",
        f"{mine.experiment}/{mine.run}/artifacts%253Fa/note.txt", f"{own}/./note.txt",
        f"{theirs.experiment}/{mine.run}/artifacts/note.txt", f"{mine.experiment}/note.txt",
        f"{mine.experiment}/{mine.run}/note.txt",
        f"{mine.experiment}/models/{mine.run}/artifacts/note.txt", "note.txt", "",
        f"{mine.experiment}/traces/tr-1/artifacts/traces.json", f"/{at}/note.txt",
        f"{at}/note.txt?run_id={mine.run}&path={own}/note.txt", f"{at}%5Cnote.txt",
    ):  # fmt: skip
        for prefix in (FILES, FILES.replace("api", "ajax-api", 1)):
            code, _ = raw(server, attacker, "PUT", f"{prefix}/artifacts/{path}", b"forged")
            assert code in (400, 403, 404, 405, 308), (code, path)
            code, _ = raw(server, attacker, "DELETE", f"{prefix}/artifacts/{path}", {})
            assert code in (400, 403, 404, 405, 308), (code, path)
            for step in ("create", "complete", "abort"):
                body = {"path": "x.txt", "num_parts": 1, "upload_id": "u", "parts": [{}]}
                code, _ = raw(server, attacker, "POST", f"{prefix}/mpu/{step}/{path}", body)
                assert code != 200, path
    elsewhere = {"Host": f"127.0.0.1:1{FILES}/artifacts/{own}/a?"}
    code, _ = raw(
        server, attacker, "PUT", f"{FILES}/artifacts/{at}/note.txt", b"forged", **elsewhere
    )
    assert code == 403
    upload, runs = "/ajax-api/2.0/mlflow/upload-artifact", [mine.run, theirs.run]
    for asked in (
        {"run_uuid": theirs.run, "path": "note.txt"},
        {"run_uuid": runs, "path": "note.txt"},
        {"run_uuid": runs[::-1], "path": "note.txt"},
        {"run_uuid": mine.run, "run_id": theirs.run, "path": "note.txt"},
        {"run_uuid": mine.run, "path": f"../../{theirs.run}/artifacts/note.txt"},
        {"run_uuid": mine.run, "path": f"a/%2e%2e/../{theirs.run}/note.txt"},
        {"run_uuid": mine.run},
    ):
        code = ask(server, attacker, "POST", upload, params=asked, data=b"forged")
        assert code in (400, 403), asked
    for body in ({"run_id": theirs.run, "path": "a"}, {"model_id": theirs.model, "path": "a"}):
        assert (
            ask(server, attacker, "POST", f"{API}/artifacts/presigned-upload-url", json=body) == 403
        )
    assert seen(server, attacker, theirs) == before


def test_a_trainer_changes_all_of_what_is_the_trainers_own_in_anybodys_experiment(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, theirs: Things,
    tmp_path: Path,
) -> None:  # fmt: skip
    file = tmp_path / "own.txt"
    file.write_text("own")
    client = as_user(users["trainer"], monkeypatch, server)
    spoofed = {"experiment_id": theirs.experiment, "user_id": "a-other",
               "tags": [{"key": "mlflow.user", "value": "a-other"}]}  # fmt: skip
    assert ask(server, users["trainer"], "POST", f"{API}/runs/create", json=spoofed) == 200
    run = client.search_runs([theirs.experiment], order_by=["attributes.start_time DESC"])[0]
    assert (run.info.user_id, run.data.tags["mlflow.user"]) == ("a-trainer", "a-trainer")
    run_id = run.info.run_id
    client.update_run(run_id, "FAILED", "a name")
    client.log_param(run_id, "seed", 1)
    client.log_metric(run_id, "val_bal_acc", 0.5)
    client.set_tag(run_id, "kind", "train")
    client.delete_tag(run_id, "kind")
    client.log_artifact(run_id, str(file), "deep/er")
    client.log_image(run_id, np.zeros((2, 2, 3), np.uint8), key="a picture", step=10)
    dataset = Dataset(name="cells", digest="0", source_type="local", source="cells.csv")
    client.log_inputs(run_id, [DatasetInput(dataset)])
    model = client.create_logged_model(theirs.experiment, "model", run_id).model_id
    client.log_model_artifact(model, str(file))
    client.set_logged_model_tags(model, {"a": "b"})
    client.delete_logged_model_tag(model, "a")
    client.log_model_params(model, {"c": "d"})
    client.finalize_logged_model(model, "READY")
    client.log_metric(run_id, "of_model", 1.0, model_id=model)
    client.log_outputs(run_id, [LoggedModelOutput(model, 0)])
    files = f"{FILES}/artifacts/{theirs.experiment}/{run_id}/artifacts"
    assert ask(server, users["trainer"], "DELETE", f"{files}/deep") == 200
    assert {each.path for each in client.list_artifacts(run_id)} == {"images"}
    client.delete_run(run_id)
    client.restore_run(run_id)
    client.delete_logged_model(model)
    with pytest.raises(MlflowException, match="which does not allow"):
        as_user(users["other"], monkeypatch, server).set_tag(run_id, "note", "by the one spoofed")


def test_what_carries_trust_is_not_even_the_makers_to_write(
    server: str, users: dict[str, dict[str, str]], mine: Things
) -> None:
    trainer = users["trainer"]
    card = f"{FILES}/artifacts/{mine.experiment}/{mine.run}/artifacts/model_card"
    for key, value in (
        ("gate", "passed"), ("mlflow.user", "somebody"), ("mlflow.user", "a-trainer"),
        ("kind", "summary"), ("kind", "former summary"), ("kind", "protocol summary"),
    ):  # fmt: skip
        tag = {"key": key, "value": value}
        for path, body in (
            ("set-tag", tag), ("log-batch", {"tags": [tag]}),
            ("log-batch", {"tags": [{"key": "a", "value": "b"}, tag]}),
            ("delete-tag", tag) if key != "kind" else ("set-tag", tag),
        ):  # fmt: skip
            body = body | {"run_id": mine.run}
            assert ask(server, trainer, "POST", f"{API}/runs/{path}", json=body) == 403, body
    gate = {"experiment_id": mine.experiment, "tags": [{"key": "gate", "value": "passed"}]}
    assert ask(server, trainer, "POST", f"{API}/runs/create", json=gate) == 403
    for name in (".md", "%2Emd", "%252Emd", "%25252emd", ".md/a"):
        assert raw(server, trainer, "PUT", card + name, b"forged")[0] == 403, name
    upload = {"run_uuid": mine.run, "path": "model_card.md"}
    way = "/ajax-api/2.0/mlflow/upload-artifact"
    assert ask(server, trainer, "POST", way, params=upload, data=b"forged") == 403
    parts = f"{FILES}/mpu/create/{mine.experiment}/{mine.run}/artifacts"
    for path in ("model_card.md", "a/model_card.md"):
        assert ask(server, trainer, "POST", parts, json={"path": path, "num_parts": 1}) == 403


def test_ranking_and_registering_write_on_runs_of_others_what_they_need_and_no_more(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, theirs: Things
) -> None:
    marks = [RunTag("rank", "1"), RunTag("best_of_arm", "true")]
    for name in ("trainer", "registrar"):
        client = as_user(users[name], monkeypatch, server)
        client.log_batch(theirs.run, tags=marks)
        client.set_tag(theirs.run, "mlflow.runColor", "#0072b2")
        client.set_experiment_tag(theirs.experiment, "mlflow.sharedViewState.ranking", "{}")
        for key, value in (
            ("rank", "first, says the lab"), ("best_of_arm", "yes"), ("kind", "thrown away"),
            ("mlflow.runColor", "url(http://elsewhere.example)"), ("leaks", ""), ("rank", ""),
        ):  # fmt: skip
            with pytest.raises(MlflowException, match="which does not allow"):
                client.set_tag(theirs.run, key, value)
        for batch in (
            {"tags": [RunTag("rank", "1"), RunTag("leaks", "")]},
            {"tags": marks, "metrics": [Metric("test_bal_acc", 1.0, 1, 0)]},
            {"tags": marks, "params": [Param("seed", "1")]},
        ):
            with pytest.raises(MlflowException, match="which does not allow"):
                client.log_batch(theirs.run, **batch)
        with pytest.raises(MlflowException, match="which does not allow"):
            client.set_experiment_tag(theirs.experiment, "mlflow.note.content", "forged")
        with pytest.raises(MlflowException, match="which does not allow"):
            client.log_text(theirs.run, "forged", "ranking.txt")
    client.set_tag(theirs.run, "gate", "passed")  # a registrar
    client.log_text(theirs.run, "a card", "model_card.md")
    client = as_user(users["trainer"], monkeypatch, server)
    with pytest.raises(MlflowException, match="which does not allow"):
        client.log_text(theirs.run, "forged", "model_card.md")
    with pytest.raises(MlflowException, match="which does not allow"):
        as_user(users["other"], monkeypatch, server).set_tag(theirs.run, "gate", "passed")


def test_a_summary_is_renewed_by_whoever_ranks_next_and_is_never_a_run_of_training(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, mine: Things
) -> None:
    client = as_user(users["trainer"], monkeypatch, server)
    run = client.create_run(mine.experiment, tags={"kind": "summary"}).info.run_id
    for name in ("other", "trainer", "registrar"):
        client = as_user(users[name], monkeypatch, server)
        tags = [RunTag("rank", "1"), RunTag("best_run", mine.run), RunTag("kind", "summary")]
        client.log_batch(run, metrics=[Metric("val", 1.0, 1, 0)], tags=tags)
        client.set_tag(run, "kind", "former summary")
        client.log_text(run, "1 baseline", "ranking.txt")
        client.set_terminated(run)
        client.delete_run(run)
        client.restore_run(run)
        own = client.create_run(mine.experiment).info.run_id
        for path, body in (
            ("runs/set-tag", {"key": "kind", "value": "train"}),
            ("runs/set-tag", {"key": "gate", "value": "passed"} if name != "registrar" else {}),
            ("runs/delete-tag", {"key": "kind"}),
            ("runs/log-batch", {"tags": [{"key": "kind", "value": "train"}]}),
            ("runs/log-batch", {"params": [{"key": "a", "value": "b"}]}),
            ("runs/log-parameter", {"key": "a", "value": "b"}),
            ("runs/log-model", {"model_json": "{}"}),
            ("runs/outputs", {"models": []}),
            ("runs/set-tag", {"run_uuid": own, "key": "kind", "value": "summary"}),
            ("logged-models", {"experiment_id": mine.experiment, "source_run_id": run}),
        ):
            body = {"run_id": run} | body
            code, said = told(server, users[name], "POST", f"{API}/{path}", json=body)
            if body.keys() != {"run_id"}:
                assert (code, "which does not allow" in said) == (403, True), (name, path, body)
    client.create_registered_model("of-summary")
    with pytest.raises(MlflowException, match="say where files lie"):
        client.create_model_version("of-summary", f"runs:/{run}/model", run)
    client.delete_registered_model("of-summary")


def test_where_files_lie_is_the_servers_alone_to_say(
    server: str, place: Path, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch,
    mine: Things,
) -> None:  # fmt: skip
    create = f"{API}/experiments/create"
    for role in ("trainer", "registrar"):
        for location in (
            "file:///etc", "/etc", "etc", "s3://mlflow/artifacts", "http://127.0.0.1:1/",
            f"mlflow-artifacts:/{mine.experiment}", "mlflow-artifacts:/", " ",
        ):  # fmt: skip
            for name in ("artifact_location", "artifactLocation"):
                body = {"name": f"at {location} {name} {role}", name: location}
                code, said = told(
                    server, users[role], "POST", f"{API}/experiments/create", json=body
                )
                assert (code, "say where files lie" in said) == (403, True), location
        empty = {"name": f"empty for {role}", "artifact_location": ""}
        assert ask(server, users[role], "POST", create, json=empty) == 200
    password = (place / "secrets/MLFLOW_AUTH_ADMIN_PASSWORD").read_text()
    admin = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    elsewhere = as_user(admin, monkeypatch, server).create_experiment("elsewhere", "file:///tmp/e")
    for path in ("runs/create", "logged-models"):
        for experiment in (elsewhere, "99999", f"0{mine.experiment}", ""):
            body = {"experiment_id": experiment, "name": "model"}
            assert ask(server, users["trainer"], "POST", f"{API}/{path}", json=body) == 403


def test_a_version_is_of_a_run_or_model_that_is_there(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, mine: Things,
    theirs: Things,
) -> None:  # fmt: skip
    client = as_user(users["registrar"], monkeypatch, server)
    client.create_registered_model("sourced")
    run = {"run_id": theirs.run}
    for source, more in (
        ("file:///etc", {}), ("/etc/passwd", run), ("http://127.0.0.1:1/model", {}),
        ("s3://mlflow/artifacts", {}), (f"mlflow-artifacts:/{theirs.experiment}", run),
        (f"models:/{UNKNOWN}", {}), ("models:/m-" + "0" * 32, {}), ("runs:/" + "0" * 32, {}),
        ("models:/sourced/1", {}), ("dbfs:/a", {}), (f"runs:/{theirs.run}/../a", run),
        (f"runs:/{theirs.run}/%2e%2e/a", run), (f"models:/{theirs.model}", {"run_id": mine.run}),
        (f"models:/{theirs.model}", {"model_id": mine.model}),
        (f"runs:/{theirs.run}/model", {"run_id": mine.run}),
        (f"runs:/{theirs.run}/model", run | {"model_id": mine.model}), ("", {}),
    ):  # fmt: skip
        body = {"name": "sourced", "source": source} | more
        create = f"{API}/model-versions/create"
        assert ask(server, users["registrar"], "POST", create, json=body) in (400, 403), body
    assert client.search_model_versions("name = 'sourced'") == []
    source = f"models:/{theirs.model}"
    client.create_model_version("sourced", source, theirs.run, model_id=theirs.model)
    client.create_model_version("sourced", f"runs:/{theirs.run}/model", theirs.run)
    assert client.get_model_version("sourced", "1").source == source


def test_an_experiment_is_renamed_and_deleted_by_its_maker_alone_and_not_with_runs_of_others(
    server: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Things],
) -> None:  # fmt: skip
    things = make(users["trainer"], "to be deleted")
    for name in ("other", "registrar"):
        client = as_user(users[name], monkeypatch, server)
        for change in (
            lambda client: client.rename_experiment(things.experiment, "theirs no more"),
            lambda client: client.delete_experiment(things.experiment),
            lambda client: client.restore_experiment(things.experiment),
            lambda client: client.set_experiment_tag(things.experiment, "a", "b"),
        ):
            with pytest.raises(MlflowException, match="which does not allow"):
                change(client)
    client = as_user(users["trainer"], monkeypatch, server)
    client.delete_experiment(things.experiment)
    client.restore_experiment(things.experiment)
    as_user(users["other"], monkeypatch, server).create_run(things.experiment)
    with pytest.raises(MlflowException, match="which does not allow"):
        as_user(users["trainer"], monkeypatch, server).delete_experiment(things.experiment)


def test_what_was_there_before_is_nobodys_but_a_summary(
    server: str, place: Path, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Things],
) -> None:  # fmt: skip
    things = make(users["trainer"], "of before")
    client = as_user(users["trainer"], monkeypatch, server)
    summary = client.create_run(things.experiment, tags={"kind": "summary"}).info.run_id
    trained = client.create_run(things.experiment, tags={"kind": "train"}).info.run_id
    client.create_logged_model(things.experiment, "model", trained)
    settings = json.loads((place / "secrets/running.json").read_text())
    engine = sqlalchemy.create_engine(settings["DATABASE_URI"])
    with engine.begin() as connection:
        for run in (summary, trained, things.run):
            query = sqlalchemy.text("delete from lab_owners where object = :run")
            connection.execute(query, {"run": run})
        query = "update tags set value = 'summary' where run_uuid = :run and key = 'kind'"
        connection.execute(sqlalchemy.text(query), {"run": trained})
    for run in (summary, trained, things.run):
        with pytest.raises(MlflowException, match="which does not allow"):
            client.set_tag(run, "note", "mine?")
    monkeypatch.syspath_prepend(str(ROOT / "docker"))
    import_module("owners").prepare(engine)  # as every process of the server does when it starts
    engine.dispose()
    client.set_tag(summary, "note", "renewed")
    for run in (trained, things.run):  # a model makes it no summary, whatever it is called
        with pytest.raises(MlflowException, match="which does not allow"):
            client.set_tag(run, "note", "mine?")


def test_the_table_in_the_documents_is_the_one_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docker"))
    access = import_module("access")
    assert access.table() in (ROOT / "docs/lab.md").read_text()
    assert len({(rule.deed, rule.whose) for rule in access.RULES}) == len(access.RULES)


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
