"""What tests share: drawn cells, tables on disk, genuine cells where they are at hand."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# As `make ui` and the lab's server have it: six processes that nobody asks anything.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
# Some machines forbid it: 150 processes of the tests then compile the sources, half a second each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# `make test` hands its own level and flags on: a test's make is nobody's child.
os.environ.pop("MAKEFLAGS", None)
os.environ.pop("MAKELEVEL", None)
os.environ.pop("MFLAGS", None)

from leukemia.cells import Cells
from leukemia.data.sample import draw_cells

# Networks are graphs of millions of objects: looking for garbage is a fifteenth of the time.
gc.set_threshold(200_000, 50, 100)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# The files that take minutes each: begun first, so that none is left running alone at the end.
LONG = ("test_service", "test_examples", "test_text", "test_backbones", "test_gan_training",
        "test_serving", "test_owners", "test_store_closed", "test_gate")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files come first."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Genuine cells and weights beside the checkout; they are not the project's to hand on."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no genuine cells at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def experiment_of_this_test() -> Iterator[None]:
    """MLflow leaves the experiment it was last told in the environment, for all that follows."""
    yield
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


@dataclass(frozen=True)
class Lab:
    """A lab's server: its folder, with secrets, and its address."""

    folder: Path
    address: str


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A server on its own database and store, as `make server` starts it, for all tests."""
    from tests.service import stack

    # Not below pytest's folders, which only root may enter: PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="leukemia-server-"))
    folder.chmod(0o711)
    try:
        with stack(folder) as address:
            yield Lab(folder, address)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def users(lab: Lab) -> dict[str, dict[str, str]]:
    """A reader, two trainers and a registrar of that server: name and password, as MLflow takes
    them."""
    from tests.service import log_in

    roles = {role: role for role in ("reader", "trainer", "registrar")} | {"other": "trainer"}
    return {name: log_in(lab.folder, f"a-{name}", role) for name, role in roles.items()}


@pytest.fixture(scope="session")
def cells() -> Cells:
    """90 drawn cells of 32 px, 60 ALL and 30 HEM, of 12 subjects."""
    drawn = draw_cells(150, seed=3, size=210, subjects=12)
    positive = np.flatnonzero(drawn.labels == 1)[:60]
    negative = np.flatnonzero(drawn.labels == 0)[:30]
    chosen = drawn.take(np.sort(np.concatenate([positive, negative])))
    small = [np.asarray(Image.fromarray(image).resize((32, 32))) for image in chosen.images]
    return Cells(
        images=np.stack(small),
        labels=chosen.labels,
        subjects=chosen.subjects,
        cell_id=chosen.cell_id,
    )


@pytest.fixture
def table(tmp_path: Path, cells: Cells) -> Path:
    """A folder with index.csv and one PNG a cell, classes `blast` and `normal`."""
    folder = tmp_path / "my cells"  # with a space, as users have them
    folder.mkdir()
    write_table(folder, cells)
    return folder


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, cells: Cells) -> Path:
    """A folder with cells and an SQLite project in which a baseline was trained on each of two
    seeds, in the experiments `seed 0` and `seed 1`; made by the process that is first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            (folder / "cells").mkdir(parents=True)
            write_table(folder / "cells", cells)
            for seed in ("0", "1"):
                _train(folder, seed)
            (folder / "ready").touch()
    return folder


def _train(folder: Path, seed: str) -> None:
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    words = [
        "baseline", "--data", "cells", "--positive", "blast", "--backbone", "miniature",
        "--crop", "0", "--image-size", "32", "--budget", "quick", "--seed", seed,
        "--experiment", f"seed {seed}",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.train", *words],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def two_trained(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `trained_once` that a file's tests may change."""
    return copied_project(trained_once, tmp_path_factory.mktemp("two_trained") / "project")


def copied_project(project: Path, folder: Path) -> Path:
    """A copy of an SQLite project with its cells, whose database names its own artifacts."""
    shutil.copytree(project, folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as base, base:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"),
                              ("logged_models", "artifact_location")):  # fmt: skip
            base.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (str(project), str(folder)),
            )
    return folder


def write_table(folder: Path, cells: Cells) -> None:
    rows = []
    for number, image in enumerate(cells.images):
        name = f"cell_{number:03d}.png"
        Image.fromarray(image).save(folder / name)
        label = "blast" if cells.labels[number] else "normal"
        rows.append((name, label, cells.subjects[number]))
    pd.DataFrame(rows, columns=["path", "label", "subject"]).to_csv(
        folder / "index.csv", index=False
    )
