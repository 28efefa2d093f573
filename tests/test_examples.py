"""A technique of any kind is one file and one line of MLproject, from `mlflow run` to its rank."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from tests.conftest import ROOT
from tests.service import run_project

# Whose processes are the user's own, from the project's line on; the others share one.
AS_PROJECTS = ("feature_smote", "focal")
IN_ONE_PROCESS = """
import sys
from entrypoints.train import main
words = sys.argv[sys.argv.index("--"):]
for name in sys.argv[1:sys.argv.index("--")]:
    main([name, *words[1:]], standalone_mode=False)
"""
EXAMPLES = tuple(
    sorted(file.stem for file in (Path(__file__).parent / "examples").glob("[!_]*.py"))
)
NOT_COPIED = shutil.ignore_patterns(
    ".venv*", ".cache", ".git", "mlruns", "sample", "server", "*.db*", "__pycache__", "bench"
)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A copy of the checkout with the examples dropped in, its store, and what `rank` printed."""

    project: Path
    uri: str
    ranking: str
    runs: dict[str, Run]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("examples")
    project, uri = folder / "project", f"sqlite:///{folder}/mlflow.db"
    shutil.copytree(ROOT, project, ignore=NOT_COPIED)
    lines = (project / "MLproject").read_text().splitlines()
    line = next(line for line in lines if line.startswith("  adasyn:"))
    for name in EXAMPLES:
        shutil.copy(ROOT / f"tests/examples/{name}.py", project / f"leukemia/techniques/{name}.py")
        lines.insert(lines.index(line), line.replace("adasyn", name))
    (project / "MLproject").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKEMIA_CACHE", str(folder / "cache"))
        run_project("sample", uri, project, out=folder / "sample", cells=130)
        asked: dict[str, Any] = {"data": folder / "sample", "budget": "quick", "image_size": 32,
                 "backbone": "miniature"}  # fmt: skip
        run_project("baseline", uri, project, **asked)  # alone: it makes the store and the cache
        for name in AS_PROJECTS:
            run_project(name, uri, project, **asked)
        others = [name for name in EXAMPLES if name not in AS_PROJECTS]
        options = [f"--{key.replace('_', '-')}={value}" for key, value in asked.items()]
        subprocess.run(
            [sys.executable, "-c", IN_ONE_PROCESS, *others, "--", *options],
            check=True, cwd=project, env=os.environ | {"MLFLOW_TRACKING_URI": uri},
        )  # fmt: skip
        ranking = run_project("rank", uri, project).stdout
        mlflow.set_tracking_uri(uri)
        found = mlflow.MlflowClient().search_runs(
            [mlflow.get_experiment_by_name("leukemia").experiment_id], "tags.kind = 'train'"
        )
        yield Lab(
            project=project,
            uri=uri,
            ranking=ranking,
            runs={run.data.tags["technique"]: run for run in found},
        )
        mlflow.set_tracking_uri(None)  # what the environment says, again


def test_there_is_an_example_of_each_of_the_eight_kinds() -> None:
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_runs_and_is_ranked(name: str, lab: Lab) -> None:
    run = lab.runs[name]
    assert run.info.status == "FINISHED"
    assert run.data.tags.get("mlflow.project.entryPoint") == (name if name in AS_PROJECTS else None)
    assert "test_bal_acc" in run.data.metrics
    order = lab.ranking[lab.ranking.index("rank  technique") :].split("\n\n")[0]
    assert re.search(rf"^\d+=?\s+{name}\s+1 ", order, re.MULTILINE), order


def test_nothing_but_the_file_and_the_line_was_touched(lab: Lab) -> None:
    done = subprocess.run(
        ["diff", "-rq", "-x", "__pycache__", *(f"-x{each}" for each in ("mlruns", "*.db*")),
         ROOT / "leukemia", lab.project / "leukemia"],
        capture_output=True, text=True,
    )  # fmt: skip
    added = re.findall(r"^Only in \S+techniques: (\w+)\.py$", done.stdout, re.MULTILINE)
    assert sorted(added) == list(EXAMPLES)
    assert len(done.stdout.splitlines()) == len(EXAMPLES)


def test_its_settings_are_options_and_help_names_it(lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.train", "--help"],
        capture_output=True, text=True, cwd=lab.project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in EXAMPLES)
    assert lab.runs["focal"].data.params["gamma"] == "2.0"


def test_cells_left_out_are_logged_and_shown(lab: Lab) -> None:
    run = lab.runs["undersampling"]
    left_out = run.data.metrics["left_out"]
    assert left_out > 0
    assert lab.runs["baseline"].data.metrics["left_out"] == 0
    costs = lab.ranking[lab.ranking.index("cost  ") :].split("\n\n")[0].splitlines()
    place = costs[0].index("left out")
    row = next(line for line in costs if line.startswith("undersampling"))
    assert row[place:].split()[0] == f"{left_out:.0f}"


def test_synthetic_cells_are_logged_and_shown(lab: Lab) -> None:
    run = lab.runs["duplicates"]
    assert run.data.metrics["synthetic"] > 0
    assert "synthetic_cells" in run.data.tags["pictures"]


def test_moving_the_threshold_changes_calls_and_no_score(lab: Lab, tmp_path: Path) -> None:
    plain, moved = (_predictions(lab.runs[name], tmp_path / name) for name in
                    ("baseline", "threshold_moving"))  # fmt: skip
    np.testing.assert_array_equal(plain["scores"], moved["scores"])
    threshold = lab.runs["threshold_moving"].data.metrics["threshold"]
    assert threshold != 0.5
    assert set(moved["threshold"].round(6)) == {round(threshold, 6)}
    called = moved["scores"] >= moved["threshold"]
    sensitivity = called[moved["labels"] == 1].mean()
    metrics = lab.runs["threshold_moving"].data.metrics
    assert metrics["test_sens"] == pytest.approx(sensitivity)
    assert metrics["test_auroc"] == lab.runs["baseline"].data.metrics["test_auroc"]


def _predictions(run: Run, folder: Path) -> pd.DataFrame:
    folder.mkdir()
    return pd.read_csv(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path="predictions/test.csv", dst_path=str(folder)
        )
    )
