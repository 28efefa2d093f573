"""What is installed is what was locked, and a release can say what is in it."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.service import PATH
from tests.test_project import LOCKS, locked, pins

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def tool(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docker"))
        return import_module(name)


@pytest.mark.parametrize("file", LOCKS)
def test_every_requirement_of_a_lock_has_its_hashes(file: str) -> None:
    for line, hashes in locked(file):
        assert Requirement(line).specifier
        assert hashes, line
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes)
    assert "://" not in (ROOT / file).read_text()  # no address of an index


def test_nothing_is_installed_from_a_lock_but_with_its_hashes() -> None:
    makefile, dockerfile = ((ROOT / name).read_text() for name in ("Makefile", "docker/Dockerfile"))
    for text in (makefile.replace("\\\n", ""), dockerfile.replace("\\\n", "")):
        lines = [line for line in text.splitlines() if re.search("pip (install|sync)", line)]
        assert lines
        for line in lines:
            assert "--require-hashes" in line or ".venv-bench" in line, line
    assert dockerfile.count("pip install") == 3


def test_setup_takes_uv_itself_by_its_hashes() -> None:
    (command,) = re.findall(r"^\t(sed -n .*?) \|", (ROOT / "Makefile").read_text(), re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", command.replace("$$", "$")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *hashes = done.stdout.splitlines()
    assert first == f"uv=={pins(LOCKS[0])['uv']} \\"
    assert len(hashes) > 5
    assert all(line.startswith("    --hash=sha256:") for line in hashes)
    assert not hashes[-1].endswith("\\")


def test_another_content_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """As an index or a proxy could hand out: pip and uv, as `make setup` calls them."""
    version = pins(LOCKS[0])["attrs"]
    about = f"attrs-{version}.dist-info"
    with zipfile.ZipFile(tmp_path / f"attrs-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("attrs/__init__.py", "print('changed')")
        wheel.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: attrs\nVersion: {version}\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    (line,) = [each for each in locked(LOCKS[0]) if each[0].startswith("attrs==")]
    (tmp_path / "lock").write_text(" ".join([line[0], *(f"--hash={each}" for each in line[1])]))
    words = ["--target", str(tmp_path / "target"), "--require-hashes", "--no-index",
             "--find-links", str(tmp_path), "--requirement", str(tmp_path / "lock")]  # fmt: skip
    for command in (
        [sys.executable, "-m", "pip", "install"],
        ["uv", "pip", "install", "--offline"],
    ):
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, env=os.environ | {"PATH": PATH}
        )
        assert done.returncode
        assert "hash" in done.stderr.lower(), done.stderr
    assert not (tmp_path / "target/attrs").exists()


def test_each_image_is_named_by_the_digest_that_the_registry_tells() -> None:
    pin = tool("pin_images")
    asked: list[str] = []

    def digest_of(name: str) -> str:
        asked.append(name)
        return DIGEST

    for file in pin.FILES:
        once = pin.pinned(file.read_text(), digest_of)
        assert pin.pinned(once, lambda _: DIGEST[:-1] + "0") == once.replace(
            DIGEST, DIGEST[:-1] + "0"
        )
        assert once.replace(f"@{DIGEST}", "") == re.sub(
            "@sha256:[0-9a-f]{64}", "", file.read_text()
        )
    compose = yaml.safe_load(pin.pinned(pin.FILES[1].read_text(), digest_of))
    foreign = [each["image"] for each in compose["services"].values() if "image" in each]
    assert len(foreign) == 2
    assert all(each.endswith(f"@{DIGEST}") for each in foreign)
    stages = re.findall(r"^FROM (\S+)", pin.pinned(pin.FILES[0].read_text(), digest_of), re.M)
    assert [each for each in stages if "@" not in each] == ["base", "base"]
    assert {each.split(":")[0] for each in asked} == {"python", "postgres", "chrislusf/seaweedfs"}


@pytest.mark.parametrize(
    ("says", "told"),
    [(None, "docker is not here"), ("echo no such host >&2; exit 1", "no such host"),
     ("echo sha256:short", "sha256:short"), ("true", "nothing was said")],
)  # fmt: skip
def test_without_an_answer_no_image_is_pinned(tmp_path: Path, says: str | None, told: str) -> None:
    for name in ("pin_images.py", "Dockerfile", "compose.yaml"):
        shutil.copy(ROOT / "docker" / name, tmp_path)
    (tmp_path / "bin").mkdir()
    if says:
        (tmp_path / "bin/docker").write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / "bin/docker").chmod(0o755)
    done = subprocess.run(
        [sys.executable, tmp_path / "pin_images.py"], capture_output=True, text=True,
        env={"PATH": str(tmp_path / "bin")},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for name in ("Dockerfile", "compose.yaml"):
        assert (tmp_path / name).read_text() == (ROOT / "docker" / name).read_text()


def test_a_bill_of_materials_names_what_the_image_installs(tmp_path: Path) -> None:
    materials = tool("materials")
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    materials.sbom(tmp_path)
    for image, (lock, python) in materials.IMAGES.items():
        stage = dockerfile.split(f" AS {image}\n")[1].split("\nFROM ")[0]
        assert re.search(rf"--requirement {re.escape(lock)}$", stage, re.MULTILINE)
        bill = json.loads((tmp_path / f"{image}.cdx.json").read_text())
        assert bill["bomFormat"] == "CycloneDX"
        listed = {each["name"]: each["version"] for each in bill["components"]}
        assert listed == pins(lock, python, "linux")
        hashes = {line.split("==")[0]: sums for line, sums in locked(lock)}
        for each in bill["components"]:
            assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
            assert [f"sha256:{of['content']}" for of in each["hashes"]] == hashes[each["name"]]


class Service(http.server.BaseHTTPRequestHandler):
    """Answers as osv.dev does, of one package that a vulnerability is known."""

    known: str | None = None
    answers: int | None = None  # where it breaks off

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        found = [{"vulns": [{"id": "TEST-1", "modified": "2026-01-01T00:00:00Z"}]}
                 if each["package"]["name"] == self.known else {} for each in asked]  # fmt: skip
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"results": found[: self.answers]}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class NoJson(Service):
    """Answers with a page, as a proxy that asks for a log-in does."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")


def service(known: str | None = None, answers: int | None = None) -> AbstractContextManager[str]:
    return service_of(type("Known", (Service,), {"known": known, "answers": answers}))


@contextmanager
def service_of(handler: type[Service]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def audited(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "docker/materials.py", "audit"], capture_output=True, text=True,
        env=os.environ | {"OSV_URL": url},
    )  # fmt: skip


def test_an_audit_tells_of_a_known_vulnerability_and_of_none() -> None:
    with service() as url:
        done = audited(url)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"no known vulnerability: \d{3} packages looked up\n", done.stdout)
    with service("pillow") as url:
        done = audited(url)
        assert done.returncode == 1
        first, last = done.stderr.splitlines()
        assert first == f"pillow {pins(LOCKS[0])['pillow']}: TEST-1"
        assert last.startswith("Error: known vulnerabilities")


def test_an_audit_without_an_answer_says_so_in_a_line() -> None:
    with service(answers=3) as cut, service_of(NoJson) as none:
        for url in ("http://127.0.0.1:9", cut, none, f"{none}/x"):
            done = audited(url)
            assert done.returncode == 1
            assert done.stderr.startswith(f"Error: nothing was looked up at {url}")
            assert "needs the network" in done.stderr
            assert len(done.stderr.splitlines()) == 1
