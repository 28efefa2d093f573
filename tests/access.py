"""Requests to a lab's server as somebody, and things that somebody has made there."""

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import mlflow
import pytest
import requests

UNKNOWN = "0123456789abcdef"


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


def made_by(server: str, user: dict[str, str], name: str) -> Things:
    """An experiment of this name with a run and its model, all made by one user."""
    with pytest.MonkeyPatch.context() as patch:
        client = as_user(user, patch, server)
        experiment = client.create_experiment(name)
        run = client.create_run(experiment, tags={"kind": "train"}).info.run_id
        client.log_text(run, "theirs", "note.txt")
        model = client.create_logged_model(experiment, "model", run).model_id
    return Things(experiment=experiment, run=run, model=model)


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


def as_user(user: dict[str, str], monkeypatch: pytest.MonkeyPatch, server: str):
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    return mlflow.MlflowClient(server, server)


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
        return answer.status_code, next(answer.iter_content(1000), b"").decode(errors="replace")


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
