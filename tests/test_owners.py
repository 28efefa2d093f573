"""A run, a logged model and their files are changed by who made them: attacks by other users."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import sqlalchemy
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from tests.access import UNKNOWN, Things, as_user, ask, made_by, raw, seen, told
from tests.conftest import ROOT, Lab

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts"


@pytest.fixture(scope="module")
def server(lab: Lab) -> str:
    return lab.address


@pytest.fixture(scope="module")
def place(lab: Lab) -> Path:
    return lab.folder


@pytest.fixture(scope="module")
def mine(server: str, users: dict[str, dict[str, str]]) -> Things:
    return made_by(server, users["trainer"], "of the attacker")


@pytest.fixture(scope="module")
def theirs(server: str, users: dict[str, dict[str, str]]) -> Things:
    return made_by(server, users["other"], "of the attacked")


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
            ways: list[dict[str, Any]] = [{"json": body}]
            if how == "the other":
                ways.append({"json": json.dumps(body)})  # twice, as old clients send it
                ways.append({"json": body, "params": {"run_id": mine.run}})
            for given in ways:
                code, said = told(server, attacker, "POST", f"{prefix}/{route}", **given)
                assert (code, "which does not allow" in said) == (403, True), (route, how, said)
    for path in ("runs/update/", "runs//update", "runs/Update", "RUNS/update", "runs/./update",
                 "runs/update%2f", "runs/update;a=b", "x/../runs/update"):  # fmt: skip
        code, _ = raw(server, attacker, "POST", f"{prefix}/{path}", {"run_id": theirs.run})
        assert code == 403, path
    assert raw(server, attacker, "GET", f"{prefix}/runs/update", {"run_id": theirs.run})[0] == 403
    assert seen(server, attacker, theirs) == before


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
    for named in ({"run_id": theirs.run}, {"model_id": theirs.model}, {"run_id": mine.run}):
        body = {"path": "a", **named}
        presigned = f"{API}/artifacts/presigned-upload-url"
        assert ask(server, attacker, "POST", presigned, json=body) == 403
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
    code, said = told(server, users["trainer"], "POST", f"{API}/runs/create", json=spoofed)
    assert code == 200
    run_id = json.loads(said)["run"]["info"]["run_id"]
    run = client.get_run(run_id)
    assert (run.info.user_id, run.data.tags["mlflow.user"]) == ("a-trainer", "a-trainer")
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
    assert client.list_artifacts(run_id, "deep/er") == []
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
        ways: list[tuple[str, dict[str, Any]]] = [
            ("set-tag", tag), ("log-batch", {"tags": [tag]}),
            ("log-batch", {"tags": [{"key": "a", "value": "b"}, tag]}),
            ("delete-tag", tag) if key != "kind" else ("set-tag", tag),
        ]  # fmt: skip
        for path, body in ways:
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
        with pytest.raises(requests.HTTPError, match="which does not allow"):
            client.log_text(theirs.run, "forged", "ranking.txt")
    client.set_tag(theirs.run, "gate", "passed")  # a registrar
    client.log_text(theirs.run, "a card", "model_card.md")
    client = as_user(users["trainer"], monkeypatch, server)
    with pytest.raises(requests.HTTPError, match="which does not allow"):
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
) -> None:  # fmt: skip
    things = made_by(server, users["trainer"], "to be deleted")
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
) -> None:  # fmt: skip
    things = made_by(server, users["trainer"], "of before")
    client = as_user(users["trainer"], monkeypatch, server)
    summary = client.create_run(things.experiment, tags={"kind": "summary"}).info.run_id
    trained = client.create_run(things.experiment, tags={"kind": "train"}).info.run_id
    client.create_logged_model(things.experiment, "model", trained)
    settings = json.loads((place / "secrets/running.json").read_text())
    engine = sqlalchemy.create_engine(settings["DATABASE_URI"])
    forgets = sqlalchemy.text("delete from lab_owners where object = :run")
    calls = sqlalchemy.text(
        "update tags set value = 'summary' where run_uuid = :run and key = 'kind'"
    )
    with engine.begin() as connection:
        for run in (summary, trained, things.run):
            connection.execute(forgets, {"run": run})
        connection.execute(calls, {"run": trained})
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
