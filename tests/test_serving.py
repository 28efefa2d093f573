"""A registered classifier behind HTTP: good images get answers, bad ones a line, and the alias is
followed. One real server on a real registry, asked as a browser, curl or MLflow's clients would."""

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests
from PIL import Image

from leukemia.cells import Cells
from leukemia.serving import MOST_CELLS
from tests.conftest import ROOT, write_table
from tests.service import free_port, running, wait_for

NAME = "leukemia-classifier"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, cells: Cells) -> Path:
    """Two registered versions, of the first of which `champion` is the alias."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "cells").mkdir()
    write_table(folder / "cells", cells)
    for seed in (0, 1):
        command(
            folder, "train", "baseline", "--data", str(folder / "cells"), "--positive", "blast",
            "--backbone", "miniature", "--crop", "0", "--image-size", "32", "--budget", "quick",
            "--seed", str(seed), "--experiment", f"of {seed}",
        )  # fmt: skip
        command(folder, "register", "--experiment", f"of {seed}", "--waive", "all")
    client(folder).set_registered_model_alias(NAME, "champion", "1")
    return folder


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"entrypoints.{words[0]}", *words[1:]],
        cwd=ROOT, env=environment(folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    import os

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
    table = {"dataframe_split": {"columns": ["image"], "data": rows}}
    return requests.post(f"{address}/invocations", json=table, timeout=60)


def test_both_ways_give_what_predict_gives(address: str, store: Path, cells: Cells) -> None:
    files = sorted((store / "cells").glob("*.png"))[:12]
    said = command(store, "predict", *map(str, files)).splitlines()
    rows = [line.split(",") for line in said if line.startswith(str(store))]
    contents = [file.read_bytes() for file in files]
    for answers in (uploaded(address, *contents).json(), as_json(address, *contents).json()):
        answers = answers if isinstance(answers, list) else answers["predictions"]
        found = [(f"{answer['probability']:.4f}", answer["label"]) for answer in answers]
        assert found == [(row[-2], row[-1]) for row in rows]


def test_an_answer_says_what_it_is_worth(address: str, cells: Cells) -> None:
    (answer,) = uploaded(address, encoded(cells.images[0])).json()
    assert 0 <= answer["probability"] <= 1
    assert answer["label"] == ("blast" if answer["probability"] >= 0.5 else "normal")
    assert (answer["model"], answer["version"], answer["threshold"]) == (NAME, "1", 0.5)
    assert answer["protocol"].startswith("Protocol subject: no subject on two sides")
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
    "not square": (lambda: encoded(np.zeros((32, 40, 3), np.uint8)), "not square"),
    "grey": (lambda: encoded(np.zeros((32, 32), np.uint8)), "mode L: expected 8-bit RGB"),
    "16 bits": (lambda: encoded(np.zeros((32, 32), np.uint16)), "expected 8-bit RGB"),
    "two frames": (animated, "several frames"),
    "bomb": (bomb, "10000x10000 px, mode 1: too large for one cell"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_is_a_400_with_one_line_and_the_server_goes_on(
    address: str, cells: Cells, bad: str
) -> None:
    make, message = BAD[bad]
    good = encoded(cells.images[0])
    upload = uploaded(address, good, make())
    assert upload.status_code == 400
    assert upload.json()["error"].startswith("cell_1.png: ")
    through_mlflow = as_json(address, good, make())
    assert through_mlflow.status_code == 400
    assert through_mlflow.json()["message"].startswith("image 2: ")
    for said in (upload.json()["error"], through_mlflow.json()["message"]):
        assert message in said
        assert "\n" not in said
    assert uploaded(address, good).status_code == 200


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


def test_a_model_that_is_not_there_is_one_line(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.serve", "--model", "models:/gone@champion"],
        cwd=ROOT, env=environment(store), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: model 'models:/gone@champion'")
    assert "Traceback" not in done.stderr
