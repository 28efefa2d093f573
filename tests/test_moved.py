"""A project keeps its runs and their files wherever its folder lies, and after it was moved."""

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
import requests
import urllib3
from click.testing import CliRunner

from entrypoints import store as command
from leukemia.errors import UserError
from leukemia.tracking import connection, moved, patience, store

ODD = ["two words", "project #1", "fifty%20", "o'neil", "a:b", "é"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address from elsewhere; what a connection sets is forgotten afterwards."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", connection.ROOT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


def in_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a project's folder, as a command that is started there."""
    monkeypatch.chdir(folder)
    # In full, as MLflow itself has it without an address: it keeps what it opened by that name.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{quote(str(folder))}/mlflow.db")
    mlflow.set_tracking_uri(None)


def logged(text: str) -> str:
    """A run with a file; its ID."""
    experiment_id = connection.connect()
    with mlflow.start_run(experiment_id=experiment_id) as run:
        mlflow.log_text(text, "note.txt")
    return str(run.info.run_id)


def note(run_id: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/note.txt")).read_text()


@pytest.mark.parametrize("name", ODD)
def test_artifacts_lie_in_the_project_whatever_its_folder_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    in_project(folder, monkeypatch)
    run_id = logged("kept")
    assert note(run_id) == "kept"
    assert [path.name for path in folder.glob("mlruns/**/note.txt")] == ["note.txt"]
    # Of a name with a % in it MLflow makes an empty folder besides.
    assert [path.name for path in tmp_path.iterdir() if any(path.iterdir())] == [name]
    assert "%" in name or len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("name", ODD[:3])
def test_a_project_that_was_moved_says_so_and_is_mended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / name
    before.mkdir()
    in_project(before, monkeypatch)
    run_id = logged("kept")
    before.rename(after)
    in_project(after, monkeypatch)
    with pytest.raises(UserError, match=r"noted at .*/before/mlruns, which is not there"):
        connection.connect()
    said = CliRunner().invoke(command.main, ["--moved", "true"])
    assert said.exit_code == 0, said.output
    assert "places below" in said.output
    assert note(run_id) == "kept"
    assert note(logged("new")) == "new"
    assert not before.exists()
    assert len([*after.glob("mlflow.db.2*")]) == 1
    again = CliRunner().invoke(command.main, ["--moved", "true"])
    assert (again.exit_code, "nothing was moved" in again.stderr) == (1, True)


def test_a_copy_writes_nothing_into_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    in_project(tmp_path / "one", monkeypatch)
    run_id = logged("kept")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    in_project(tmp_path / "two", monkeypatch)
    with pytest.raises(UserError, match="of which this is a copy"):
        connection.connect()
    moved.mend(Path("mlflow.db"))
    logged("new")
    assert note(run_id) == "kept"
    assert len([*(tmp_path / "one").glob("mlruns/**/note.txt")]) == 1


def test_artifacts_that_somebody_put_elsewhere_stay_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one/mlruns").mkdir(parents=True)
    in_project(tmp_path / "one", monkeypatch)
    store.mend(Path("mlflow.db"))
    mlflow.create_experiment("disk", (tmp_path / "disk").as_uri())
    assert note(logged("kept")) == "kept"
    assert moved.former(Path("mlflow.db")) is None


def test_a_password_in_the_address_goes_where_mlflow_takes_it_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:pass%40word@127.0.0.1:9")
    mlflow.set_tracking_uri(None)
    try:
        with pytest.raises(UserError, match=r"tracking server http://127\.0\.0\.1:9 cannot be"):
            connection.connect()
        assert mlflow.get_tracking_uri() == "http://127.0.0.1:9"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "pass@word"
        assert "pass" not in connection.server()
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("secret", ["ada:p", "ada:p@w", "ada:p/w", "ada:p@/w#?", "token"])
def test_no_address_is_shown_with_its_secrets(secret: str) -> None:
    for address in ("lab.org", "lab.org:5000/under"):
        shown = patience.without_secrets(f"https://{secret}@{address}")
        assert shown == f"https://{address}"
    for plain in ("http://lab:5000/a@b", "http://lab", "sqlite:////disk/a@b/mlflow.db"):
        assert patience.without_secrets(plain) == plain


def test_a_password_that_an_address_cannot_hold_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:pass/word@127.0.0.1:9")
    mlflow.set_tracking_uri(None)
    with pytest.raises(UserError, match=r"server http://127\.0\.0\.1:9 has a password") as error:
        connection.connect()
    assert "word@" not in str(error.value)


@pytest.fixture
def behind_tls(tmp_path: Path) -> Iterator[str]:
    """The address of a server whose certificate nobody knows, which answers 200 to all."""
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "server.pem")]
    subprocess.run(
        [*words.split(), "subjectAltName=DNS:localhost,IP:127.0.0.1", *files],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Answering(BaseHTTPRequestHandler):
    """Says 200."""

    def do_HEAD(self) -> None:  # as the library names it
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing."""


def test_a_server_s_certificate_is_trusted_as_mlflow_is_told(
    behind_tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        patience.asked(behind_tls, 5)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", behind_tls)
    mlflow.set_tracking_uri(None)
    with pytest.raises(
        UserError, match=r"certificate is not trusted .* MLFLOW_TRACKING_SERVER_CERT"
    ):
        connection.connect()
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "server.pem"))
    assert patience.asked(behind_tls, 5).status_code == 200
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "server.pem"))
    assert patience.asked(behind_tls, 5).status_code == 200
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert patience.asked(behind_tls, 5).status_code == 200


def test_a_deleted_experiment_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_project(tmp_path, monkeypatch)
    gone = connection.connect("gone")
    mlflow.MlflowClient().delete_experiment(gone)
    with pytest.raises(UserError, match=rf"'gone' was deleted; .* --experiment-id {gone}"):
        connection.connect("gone")


def test_a_user_without_a_name_has_one_for_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setenv("USER", "")
    monkeypatch.setattr("getpass.getuser", nameless)
    in_project(tmp_path, monkeypatch)
    connection.connect()
    assert os.environ["USER"] == f"user-{os.getuid()}"
