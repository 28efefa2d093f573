"""A registered classifier behind HTTP: good images get answers, bad ones a line, and the alias is
followed. One real server on a real registry, asked as a browser, curl or MLflow's clients would."""

import base64
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from leukemia.cells import Cells
from leukemia.serving import guards
from leukemia.serving.answers import MOST_CELLS
from tests import hostile
from tests.conftest import ROOT
from tests.service import OFFLINE, chromium, free_port, running, shot, wait_for

NAME = "leukemia-classifier"


@pytest.fixture(scope="module")
def store(two_trained: Path) -> Path:
    """Two registered versions, of the first of which `champion` is the alias."""
    for seed in (0, 1):
        command(two_trained, "register", "--experiment", f"seed {seed}", "--waive", "all")
    client(two_trained).set_registered_model_alias(NAME, "champion", "1")
    return two_trained


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"entrypoints.{words[0]}", *words[1:]],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
    }


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    port, log = free_port(), store / "serve.log"
    words = [sys.executable, "-m", "entrypoints.serve", "--port", str(port)]
    settings = {k: environment(store)[k] for k in ("MLFLOW_TRACKING_URI", "LEUKEMIA_CACHE")}
    with running(words, log, **settings) as process:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"


def encoded(image: np.ndarray, kind: str = "png") -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


def uploaded(address: str, *contents: bytes) -> requests.Response:
    files = [("files", (f"cell_{n}.png", content)) for n, content in enumerate(contents)]
    return requests.post(f"{address}/cells", files=files, timeout=60)


def as_json(address: str, *contents: bytes) -> requests.Response:
    rows = [[base64.b64encode(content).decode()] for content in contents]
    table: dict[str, Any] = {"columns": ["image"], "data": rows}
    return requests.post(f"{address}/invocations", json={"dataframe_split": table}, timeout=60)


def test_both_ways_give_what_predict_gives(address: str, store: Path, cells: Cells) -> None:
    files = sorted((store / "cells").glob("*.png"))[:12]
    said = command(store, "predict", *map(str, files)).splitlines()
    rows = [line.split(",") for line in said if line.startswith(str(store))]
    contents = [file.read_bytes() for file in files]
    for answers in (uploaded(address, *contents).json(), as_json(address, *contents).json()):
        answers = answers if isinstance(answers, list) else answers["predictions"]
        found = [(f"{answer['probability']:.4f}", answer["label"]) for answer in answers]
        assert found == [(row[-3], row[-2]) for row in rows]


def test_an_answer_says_what_it_is_worth(address: str, cells: Cells) -> None:
    (answer,) = uploaded(address, encoded(cells.images[0])).json()
    assert 0 <= answer["probability"] <= 1
    assert answer["label"] == ("blast" if answer["probability"] >= 0.5 else "normal")
    assert (answer["model"], answer["version"], answer["threshold"]) == (NAME, "1", 0.5)
    assert answer["protocol"].startswith("Protocol subject: no subject in two splits")
    assert answer["use"] == "Research use only; not for diagnosis."


@pytest.mark.parametrize("kind", ["bmp", "png", "tiff"])
def test_formats_without_loss_get_the_same_answer(address: str, cells: Cells, kind: str) -> None:
    found = [
        uploaded(address, encoded(cells.images[5], each)).json()[0]["probability"]
        for each in ("png", kind)
    ]
    assert found[0] == found[1]


def bomb() -> bytes:
    """A PNG of 100 megapixels in 12 kB, black throughout."""
    content = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(content, "png", optimize=True)
    return content.getvalue()


def animated() -> bytes:
    content = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(content, "tiff", save_all=True, append_images=frames[1:])
    return content.getvalue()


BAD = {
    "empty": (lambda: b"", "not a whole image"),
    "text": (lambda: b"hello", "none of BMP, PNG, JPEG, TIFF"),
    "cut": (lambda: encoded(np.full((32, 32, 3), 90, np.uint8), "bmp")[:900], "not a whole image"),
    "real numbers": (lambda: encoded(np.zeros((32, 32), np.float32), "tiff"), "pixels of mode F"),
    "16 bits": (lambda: encoded(np.zeros((32, 32), np.uint16)), "16 bits a value"),
    "two frames": (animated, "several frames"),
    "bomb": (bomb, "10000x10000 px: too large for one cell"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_is_a_line_of_its_own_and_keeps_no_other_from_its_answer(
    address: str, cells: Cells, bad: str
) -> None:
    make, message = BAD[bad]
    good = encoded(cells.images[0])
    alone = uploaded(address, make())
    assert alone.status_code == 400
    assert alone.json()["error"].startswith("cell_0.png: ")
    through_mlflow = as_json(address, make())
    assert through_mlflow.status_code == 400
    assert through_mlflow.json()["message"].startswith("image 1: ")
    (usual,) = uploaded(address, good).json()
    first, between, last = uploaded(address, good, make(), good).json()
    assert first == last == usual
    assert between["error"].startswith("cell_1.png: ")
    of_mlflow = as_json(address, good, make()).json()["predictions"]
    assert of_mlflow[1]["error"].startswith("image 2: ")
    for said in (alone.json()["error"], through_mlflow.json()["message"], between["error"]):
        assert message in said
        assert "\n" not in said


def test_too_many_too_large_and_none_at_all(address: str, cells: Cells) -> None:
    many = uploaded(address, *[encoded(cells.images[0])] * (MOST_CELLS + 1))
    assert (many.status_code, "257 images came" in many.text) == (400, True)
    large = requests.post(f"{address}/cells", data=b"0" * (64 * 2**20 + 1), timeout=60)
    assert (large.status_code, "bytes came: send at most" in large.text) == (413, True)
    assert as_json(address).json()["message"] == "no image came: give one to 256"


def test_when_the_alias_moves_the_next_request_is_answered_by_the_new_version(
    address: str, store: Path, cells: Cells
) -> None:
    image = encoded(cells.images[0])
    client(store).set_registered_model_alias(NAME, "champion", "2")
    second = uploaded(address, image).json()[0]
    client(store).set_registered_model_alias(NAME, "champion", "1")
    first = uploaded(address, image).json()[0]
    assert (second["version"], first["version"]) == ("2", "1")
    assert second["probability"] != first["probability"]


def test_a_version_that_cannot_be_loaded_takes_nothing_away(
    address: str, store: Path, cells: Cells
) -> None:
    """An extra file in its folder made every request wait a second and fail."""
    image, registry = encoded(cells.images[0]), client(store)
    place = urlsplit(registry.get_model_version(NAME, "2").source).path.rsplit("/", 1)[-1]
    (folder,) = store.rglob(f"*{place}/artifacts")
    (folder / "extra.txt").write_text("one file more")
    registry.set_registered_model_alias(NAME, "champion", "2")
    try:
        assert uploaded(address, image).json()[0]["version"] == "1"
        start = time.monotonic()
        assert {uploaded(address, image).json()[0]["version"] for _ in range(5)} == {"1"}
        assert time.monotonic() - start < 3  # it is not tried again each time
        health = requests.get(f"{address}/health", timeout=10)
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["refused"]["version"] == "2"
        assert "extra.txt" in health.json()["refused"]["why"]
    finally:
        registry.set_registered_model_alias(NAME, "champion", "1")
        (folder / "extra.txt").unlink()
    assert uploaded(address, image).json()[0]["version"] == "1"
    assert requests.get(f"{address}/health", timeout=10).json()["status"] == "ok"
    assert (store / "serve.log").read_text().count("version 2 is refused") == 1


def test_a_classifier_whose_process_is_killed_is_started_again(address: str, cells: Cells) -> None:
    image = encoded(cells.images[0])
    before = uploaded(address, image).json()
    for child in children(address):
        if "leukemia.registry.confined" in child.cmdline():
            child.kill()
    lost = uploaded(address, image)
    assert (lost.status_code, lost.headers["Retry-After"]) == (503, "30")
    assert uploaded(address, image).json() == before


def children(address: str) -> list[psutil.Process]:
    """The processes of the server."""
    port = address.rsplit(":", 1)[-1]
    (server,) = (
        each
        for each in psutil.process_iter(["cmdline"])
        if {"entrypoints.serve", port} <= set(each.info["cmdline"] or [])
    )
    return list(server.children(recursive=True))


# Requests that cost more than they carry, and those that a browser is made to send


@pytest.mark.parametrize("case", hostile.IMAGES)
def test_a_file_that_asks_for_too_much_is_a_400_at_once(
    address: str, cells: Cells, case: str
) -> None:
    start = time.monotonic()
    answer = uploaded(address, hostile.IMAGES[case]())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("cell_0.png: ")
    assert time.monotonic() - start < 10
    assert uploaded(address, encoded(cells.images[0])).status_code == 200


@pytest.mark.parametrize("case", hostile.BODIES)
def test_a_body_that_is_no_list_of_images_is_refused(address: str, case: str) -> None:
    kind, body = hostile.BODIES[case]
    headers = {"Content-Type": kind} if kind else {}
    answer = requests.post(f"{address}/invocations", data=body, headers=headers, timeout=30)
    assert answer.status_code in (400, 413, 415)
    inside(answer)


def inside(answer: requests.Response) -> None:
    """That an answer tells nothing of the server's inside."""
    for secret in ("Traceback", "site-packages", "/work", "/home", str(ROOT), "Error("):
        assert secret not in answer.text


ODD: dict[str, dict[str, Any]] = {
    "no form": {"data": b"x", "headers": {"Content-Type": "text/plain"}},
    "a broken form": {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    "a cut form": {
        "data": b"--b\r\nContent-Disposition: form-data",
        "headers": {"Content-Type": "multipart/form-data; boundary=b"},
    },
    "no files": {"files": {"other": b"x"}},
    "text in place of files": {"files": {"files": (None, "text")}},
    "a name with a line": {"files": {"files": ("a\nb\x1b[31m", b"x")}},
    "fields": {"files": [(f"f{n}", (None, "x")) for n in range(2000)]},
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_form_is_a_line(address: str, case: str) -> None:
    answer = requests.post(f"{address}/cells", timeout=30, **ODD[case])
    assert answer.status_code in (400, 415)
    assert "\x1b" not in answer.json()["error"]
    inside(answer)


def test_other_pictures_than_there_are_is_a_line(address: str) -> None:
    answer = requests.post(f"{address}/cells?pictures=%00all", files={"files": b"x"}, timeout=30)
    assert (answer.status_code, "give none, seen, heat" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_there_is_no_page_that_loads_scripts_from_elsewhere(address: str, path: str) -> None:
    assert requests.get(address + path, timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/about", 200), ("/health", 200), ("/none", 404)]
)
def test_every_answer_has_the_headers_that_bind_a_browser(
    address: str, path: str, status: int
) -> None:
    answer = requests.get(address + path, timeout=10)
    assert answer.status_code == status
    for name, value in guards.HEADERS.items():
        assert answer.headers[name] == value
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/about", "/health"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "127[[.0.0.1"]
)
def test_by_another_name_it_says_nothing(address: str, path: str, host: str) -> None:
    """As where a page's own name was given this machine's address."""
    answer = requests.get(address + path, headers={"Host": host}, timeout=10)
    assert answer.status_code in (400, 403)  # without any name the HTTP library refuses by itself
    assert "blast" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://[[["},
     {"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_a_page_of_another_site_may_not_ask(
    address: str, cells: Cells, headers: dict[str, str]
) -> None:
    files = {"files": encoded(cells.images[0])}
    answer = requests.post(f"{address}/cells", files=files, headers=headers, timeout=30)
    assert (answer.status_code, "another site" in answer.text) == (403, True)
    own = {"Origin": address, "Sec-Fetch-Site": "same-origin"}
    files = {"files": encoded(cells.images[0])}
    assert requests.post(f"{address}/cells", files=files, headers=own, timeout=30).ok


def test_a_real_page_of_another_site_is_refused(address: str, tmp_path: Path, cells: Cells) -> None:
    """Its requests reach a server that does not look where they come from, and not this one's
    answers."""
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    (tmp_path / "index.html").write_text("<p>another site</p>")
    port = free_port()
    words = [sys.executable, "-m", "http.server", str(port), "--directory", str(tmp_path)]
    attack = """async (address) => {
      const form = new FormData(); form.append("files", new Blob(["x"]), "x.png");
      const sent = (path, options) =>
        fetch(address + path, options).then((answer) => answer.type, () => "refused");
      return [await sent("/", {mode: "no-cors"}), await sent("/about", {}),
              await sent("/cells", {method: "POST", body: form, mode: "no-cors"})];
    }"""
    with running(words, tmp_path / "log") as process, sync_playwright() as playwright:
        wait_for(f"http://localhost:{port}", process, tmp_path / "log")
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=[*OFFLINE[:-1], "--host-resolver-rules="]
        )
        tab = browser.new_page()
        tab.goto(f"http://localhost:{port}")
        assert tab.evaluate(attack, f"http://127.0.0.1:{port}") == ["opaque", "refused", "opaque"]
        assert tab.evaluate(attack, address) == ["refused"] * 3
        browser.close()


def test_beyond_this_machine_it_needs_a_token(store: Path) -> None:
    words = [sys.executable, "-m", "entrypoints.serve", "--host", "0.0.0.0"]
    for token, said in ((None, "set LEUKEMIA_SERVE_TOKEN"), ("short", "has 5 characters")):
        settings = environment(store) | ({"LEUKEMIA_SERVE_TOKEN": token} if token else {})
        done = subprocess.run(words, cwd=ROOT, env=settings, capture_output=True, text=True)
        assert done.returncode == 1
        assert said in done.stderr.strip().splitlines()[-1]


def test_with_a_token_it_answers_those_who_have_it(store: Path, tmp_path: Path) -> None:
    token, port, log = "a-secret-of-this-test", free_port(), tmp_path / "log"
    words = [sys.executable, "-m", "entrypoints.serve", "--host", "0.0.0.0", "--port", str(port)]
    settings = {k: environment(store)[k] for k in ("MLFLOW_TRACKING_URI", "LEUKEMIA_CACHE")}
    about = f"http://127.0.0.1:{port}/about"
    with running(words, log, LEUKEMIA_SERVE_TOKEN=token, **settings) as process:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": f"Token {token}"},
                        {"Authorization": "Basic !"}):  # fmt: skip
            answer = requests.get(about, headers=headers, timeout=10)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        bearer = {"Authorization": f"Bearer {token}"}
        assert requests.get(about, headers=bearer, timeout=10).status_code == 200
        assert requests.get(about, auth=("anybody", token), timeout=10).status_code == 200


def test_a_storm_of_all_that_costs_much_leaves_it_small_and_answering(
    address: str, cells: Cells
) -> None:
    """Its memory, that of its processes included, within 300 MiB of its idle."""
    good = encoded(cells.images[0])
    for _ in range(3):
        assert uploaded(address, *[good] * 8).status_code == 200
    images = [make() for make in hostile.IMAGES.values()]
    images.append(encoded(np.zeros((3000, 3000, 3), np.uint8)))  # dear, and honest
    idle, most, ended = memory(address), 0.0, threading.Event()
    statuses: set[int] = set()

    def send(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not ended.is_set():
            if rng.random() < 0.5:
                chosen = [images[int(n)] for n in rng.integers(len(images), size=4)]
                statuses.add(uploaded(address, *chosen).status_code)
            else:
                kind, body = list(hostile.BODIES.values())[int(rng.integers(len(hostile.BODIES)))]
                answer = requests.post(f"{address}/invocations", data=body, timeout=60,
                                       headers={"Content-Type": kind} if kind else {})  # fmt: skip
                statuses.add(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send, seed) for seed in range(8)]
        end = time.monotonic() + 10
        while time.monotonic() < end:
            most = max(most, memory(address))
            time.sleep(0.1)
        ended.set()
        for sender in senders:
            sender.result()
    print(f"{idle:.0f} MiB idle, {most:.0f} MiB at most, answers {sorted(statuses)}")
    assert statuses <= {200, 400, 413, 415, 503}
    assert most - idle < 300
    assert uploaded(address, good).status_code == 200


def memory(address: str) -> float:
    """MiB that the server and its processes hold, what they share counted once."""
    found = 0
    for each in (children(address)[0].parent(), *children(address)):
        with suppress(psutil.NoSuchProcess):
            found += each.memory_full_info().pss
    return found / 2**20


def test_a_model_that_is_not_there_is_one_line(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.serve", "--model", "models:/gone@champion"],
        cwd=ROOT, env=environment(store), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: model 'models:/gone@champion'")
    assert "Traceback" not in done.stderr


# The page, in a real browser that can reach no other host


@pytest.fixture
def page(address: str) -> Iterator:
    from urllib.parse import urlparse

    from playwright.sync_api import sync_playwright

    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    hosts, said = set(), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=OFFLINE)
        tab = browser.new_page(viewport={"width": 1200, "height": 900})
        tab.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(address)
        yield tab
        browser.close()
    assert hosts - {None} == {"127.0.0.1"}
    assert [text for text in said if "400" not in text] == []


def give(page, store: Path) -> list[Path]:
    files = sorted((store / "cells").glob("*.png"))[:6]
    page.locator("#files").set_input_files(files)
    page.locator("#answers li").nth(len(files) - 1).wait_for(timeout=60_000)
    return files


LOADED = "images => images.filter(i => i.complete && i.naturalWidth > 0).length"


@pytest.mark.parametrize(("name", "width"), [("page", 1200), ("page_phone", 390)])
def test_the_page_shows_each_cell_with_probability_heat_map_and_card(
    page, store: Path, address: str, name: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.get_by_text("Research use only; not for diagnosis.").first.wait_for()
    page.get_by_text(f"{NAME} version 1: the probability that a cell is “blast”").wait_for()
    files = give(page, store)
    told = uploaded(address, *[file.read_bytes() for file in files]).json()
    shown = page.locator("#answers li")
    assert shown.locator("h2").all_inner_texts() == [file.name for file in files]
    for text, answer in zip(shown.locator("p").all_inner_texts(), told, strict=True):
        percent = f"{100 * answer['probability']:.1f}\u00a0%"
        assert text == f"{answer['label']} (probability of blast: {percent})"
    assert page.locator("#answers img").evaluate_all(LOADED) == 2 * len(files)
    assert "6 answered: " in page.locator("#said").inner_text()
    assert "Protocol subject: no subject in two splits" in page.locator("#said").inner_text()
    page.get_by_text("The model's card").click()
    page.get_by_role("heading", name="Limits").wait_for()
    assert page.locator("#card table").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls aside"
    page.get_by_text("The model's card").click()
    page.evaluate("scrollTo(0, 0)")
    shot(page, name)


def test_the_page_is_used_with_the_keyboard_alone(page, store: Path) -> None:
    choosers: list[Any] = []
    # Asked for now, since Chromium takes a moment to hand them over.
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["files", "heat", "SUMMARY"]
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What it is").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert not page.locator("#heat").is_checked()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    page.keyboard.press("Enter")
    deadline = time.monotonic() + 30
    while not choosers and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    choosers[0].set_files(sorted((store / "cells").glob("*.png"))[:2])
    page.locator("#answers li").nth(1).wait_for(timeout=60_000)
    assert page.locator("#answers img").evaluate_all(LOADED) == 2  # without heat maps


def test_a_bad_file_is_told_on_the_page_and_the_next_one_is_answered(
    page, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("no image")
    page.locator("#files").set_input_files([tmp_path / "notes.png"])
    alert = page.get_by_role("alert")
    alert.get_by_text("notes.png: not a whole image").wait_for()
    assert page.locator("#answers li").count() == 0
    give(page, store)
    assert alert.inner_text() == ""


def test_a_screen_reader_finds_nothing_nameless_or_faint(page, store: Path) -> None:
    """axe-core's rules for WCAG 2.2 A and AA, before and after an answer, light and dark."""
    from axe_playwright_python.sync_playwright import Axe

    give(page, store)
    page.get_by_text("The model's card").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
        assert found.violations_count == 0, found.generate_report()


def test_the_page_may_load_nothing_from_elsewhere_and_be_framed_by_nobody(address: str) -> None:
    for path in ("/", "/page.css", "/page.js"):
        answer = requests.get(address + path, timeout=10)
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
    assert requests.get(f"{address}/page/../registry.py", timeout=10).status_code == 404
