"""What a confined process can and cannot do, tried in a real one on this machine's kernel."""

import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from leukemia.errors import UserError
from leukemia.registry import process
from leukemia.registry.process import Confined, Ended
from tests.conftest import ROOT

FILES, CALLS = "no file but libraries", "no network"
MEMORY = 512 * 2**20


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-models")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", "not-for-models")
        started = begun()
    yield started
    started.close()


def begun() -> Confined:
    folder = tempfile.TemporaryDirectory()
    return Confined("tests.escapes", folder, MEMORY, 60)


def tried(confined: Confined, what: str, place: object = "", seconds: float = 30) -> str:
    header, _ = confined.ask({"try": what, "place": str(place)}, b"", 0, seconds)
    return str(header["came"])


def needs(confined: Confined, what: str) -> None:
    if what not in confined.holds:
        pytest.skip(f"this kernel gives: {confined.holds}")


@pytest.mark.parametrize("what", ["write", "append", "truncate", "remove", "rename"])
def test_no_file_outside_its_folder_is_changed(
    confined: Confined, what: str, tmp_path: Path
) -> None:
    needs(confined, FILES)
    file = tmp_path / "mine"
    file.write_text("as it was")
    with pytest.raises(UserError, match="Permission"):
        tried(confined, what, file)
    assert file.read_text() == "as it was"


@pytest.mark.parametrize("what", ["write", "make a folder", "link", "symlink"])
def test_nothing_is_made_outside_its_folder(confined: Confined, what: str, tmp_path: Path) -> None:
    needs(confined, FILES)
    with pytest.raises(UserError, match=r"Permission|cross-device"):
        tried(confined, what, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_it_reads_no_file_of_the_user(confined: Confined, tmp_path: Path) -> None:
    needs(confined, FILES)
    (tmp_path / "cells.csv").write_text("of a patient")
    for file in (tmp_path / "cells.csv", ROOT / "pyproject.toml", "/etc/passwd"):
        with pytest.raises(UserError, match="PermissionError"):
            tried(confined, "read", file)
    assert tried(confined, "read", ROOT / "leukemia" / "errors.py")


def test_its_own_folder_it_may_use(confined: Confined) -> None:
    assert tried(confined, "scratch") == "1"


def test_it_reaches_no_server(confined: Confined) -> None:
    needs(confined, CALLS)
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(UserError, match="not permitted"):
            tried(confined, "connect", f"http://127.0.0.1:{server.server_port}/stolen")
    assert not asked


def test_it_sends_nothing_without_a_connection_either(confined: Confined) -> None:
    needs(confined, CALLS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(1)
        with pytest.raises(UserError, match="not permitted"):
            tried(confined, "send", f"127.0.0.1:{ear.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            ear.recv(10)


@pytest.mark.parametrize("what", ["listen", "unix socket", "ring"])
def test_it_has_no_socket_of_any_kind(confined: Confined, what: str) -> None:
    needs(confined, CALLS)
    with pytest.raises(UserError, match="PermissionError"):
        tried(confined, what)


@pytest.mark.parametrize("what", ["run a program", "fork and run"])
def test_it_starts_no_other_program(confined: Confined, what: str, tmp_path: Path) -> None:
    needs(confined, CALLS)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match="PermissionError"):
        tried(confined, what, program)
    assert not (tmp_path / "ran").exists()


def test_it_neither_ends_nor_looks_into_other_processes(confined: Confined) -> None:
    needs(confined, FILES)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        try:
            for of in (other.pid, os.getpid()):
                with pytest.raises(UserError, match="PermissionError"):
                    tried(confined, "read", f"/proc/{of}/environ")
            with pytest.raises(UserError, match="PermissionError"):
                tried(confined, "signal", other.pid)
            assert other.poll() is None
        finally:
            other.kill()


def test_it_knows_no_password(confined: Confined) -> None:
    known = tried(confined, "environment")
    assert "PATH" in known
    assert "not-for-models" not in known


def test_it_holds_no_more_memory_than_it_may(confined: Confined) -> None:
    with pytest.raises(UserError, match="MemoryError"):
        tried(confined, "memory", MEMORY + 1)
    assert tried(confined, "scratch") == "1"  # and goes on


def test_an_answer_that_takes_too_long_ends_it() -> None:
    slow = begun()
    with pytest.raises(Ended, match="did not answer within 1 s"):
        tried(slow, "sleep", 60, seconds=1)
    with pytest.raises(Ended):
        tried(slow, "scratch")
    slow.close()


def test_one_that_dies_says_so() -> None:
    dying = begun()
    with pytest.raises(Ended, match="ended with 3"):
        tried(dying, "die")
    dying.close()


def test_where_the_kernel_gives_nothing_no_file_grows(tmp_path: Path) -> None:
    """As on a system without Landlock: plain limits are what is left."""
    code = (
        "from pathlib import Path\n"
        "from leukemia.registry import sandbox\n"
        "sandbox._close_files = sandbox._close_calls = lambda *given: False\n"
        f"print(sandbox.confine(Path({str(tmp_path)!r}), 2**29), flush=True)\n"
        f"Path({str(tmp_path / 'new')!r}).write_text('here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, cwd=ROOT
    )
    assert done.stdout.strip() == "memory and files bounded"
    assert "File too large" in done.stderr
    assert (tmp_path / "new").read_text() == ""


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b"[1]\n", b'{"bytes": -1}\n', b'{"bytes": 1e9}\n', b'{"bytes": 99}\n',
     b'{"bytes": "4"}\n', b'{"bytes": 4}\nabc', b"[" * 60_000, b"\xff\xfe\n"],
)  # fmt: skip
def test_what_it_answers_is_read_with_bounds(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(line)
    with (tmp_path / "answer").open("rb") as pipe, pytest.raises(EOFError):
        process._receive(pipe, 4)
