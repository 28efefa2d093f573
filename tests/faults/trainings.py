"""Whole trainings in folders of their own, and what they leave: to be compared bit for bit."""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run

from leukemia.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
COSTS = ("features_s", "balance_s", "review_s", "train_s")
NEVER_THE_SAME = ("_s", "_wh", "_seconds", "_gib")  # ends of the names of metrics
DRAWN = re.compile(r"\+timestamp\+\d+\+[0-9a-f-]+")  # in the names that MLflow gives pictures
OPTIONS = {
    "backbone": "miniature",
    "backbone-weights": "none",
    "image-size": 32,
    "budget": "quick",
    "batch-size": 32,
}


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a finished training leaves: digests by name, costs in seconds, its number of files."""

    digests: dict[str, str]
    costs: dict[str, float]
    files: int

    def differences(self, whole: "Left", grace_s: float) -> list[str]:
        """What is not as an undisturbed training left it, in words.

        grace_s: that a cost may differ by, beside a tenth.
        """
        names = sorted(whole.digests.keys() | self.digests.keys())
        return [
            *(
                f"{name} differ"
                for name in names
                if self.digests.get(name) != whole.digests.get(name)
            ),
            *(
                f"{name} is {self.costs[name]:.1f} for {cost:.1f}"
                for name, cost in whole.costs.items()
                if abs(self.costs[name] - cost) > 0.1 * cost + grace_s
            ),
        ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of a training, as its command has them, and of the cells."""
    for name, default in {**OPTIONS, "cells": 130}.items():
        parser.add_argument(
            f"--{name}", default=default, type=type(default), help=f"(default: {default})"
        )


def words(asked: argparse.Namespace) -> list[str]:
    """The options of a training as words of its command."""
    return [f"--{each}={getattr(asked, each.replace('-', '_'))}" for each in OPTIONS]


def entry(
    place: Path, store: str, command: str, *words: str, errors: str = "errors.txt"
) -> subprocess.Popen[bytes]:
    """A command in a folder, with a store and a cache of its own, in a group of its own.

    errors: the file in the folder that gets what it says.
    """
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store,
        "LEUKEMIA_CACHE": str(place.absolute() / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    with open(place / errors, "wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", f"entrypoints.{command}", *words],
            cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip


def sample(base: Path, cells: int) -> Path:
    """The folder of the simulated cells that all trainings of a base folder have."""
    base.mkdir(parents=True, exist_ok=True)
    if code := entry(base, "", "sample", "--out", "sample", "--cells", str(cells)).wait():
        raise UserError(f"exit code {code}: {(base / 'errors.txt').read_text()}")
    return base / "sample"


def runs_of(store: str) -> list[Run]:
    """The trainings in a store."""
    client = mlflow.MlflowClient(store)
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(experiments, "tags.kind = 'train'"))


def left(store: str) -> Left:
    """What the one training in a store has left.

    Raises:
        UserError: it is not one, or has not finished.
    """
    client, runs = mlflow.MlflowClient(store), runs_of(store)
    if [run.info.status for run in runs] != ["FINISHED"]:
        raise UserError(f"{len(runs)} runs: {', '.join(run.info.status for run in runs)}")
    (run,) = runs
    metrics = {k: v for k, v in run.data.metrics.items() if _is_a_figure(k)}
    courses = {
        name: sorted({(e.step, e.value) for e in client.get_metric_history(run.info.run_id, name)})
        for name in metrics
    }
    (model,) = client.search_logged_models([run.info.experiment_id])
    with tempfile.TemporaryDirectory() as folder:
        files = _fetched(run.info.artifact_uri, store, Path(folder) / "run")
        logged = _fetched(model.artifact_location, store, Path(folder) / "model")
        (network,) = logged.rglob("*.keras")
        names = [
            DRAWN.sub("", each.relative_to(place).as_posix())
            for place in (files, logged)
            for each in place.rglob("*")
            if each.is_file()
        ]
        return Left(
            digests={
                "weights": _weights(network),
                "history": _digest(repr(sorted(courses.items()))),
                "figures": _digest(repr(sorted(metrics.items()))),
                "names of files": _digest(repr(sorted(names))),
                **{
                    f"predictions of {path.stem}": _digest(path.read_text())
                    for path in sorted(files.glob("predictions/*.csv"))
                },
            },
            costs={name: run.data.metrics[name] for name in COSTS},
            files=len(names),
        )


def shares(costs: Mapping[str, float], whole: Mapping[str, float]) -> str:
    """Costs as shares of an undisturbed training's."""
    return " ".join(f"{name} {costs[name] / cost:.2f}" for name, cost in whole.items() if cost >= 1)


def _is_a_figure(name: str) -> bool:
    return not name.startswith("system/") and not name.endswith(NEVER_THE_SAME)


def _fetched(uri: str, store: str, folder: Path) -> Path:
    folder.mkdir()
    found = mlflow.artifacts.download_artifacts(
        artifact_uri=uri, dst_path=str(folder), tracking_uri=store
    )
    return Path(found)


def _weights(network: Path) -> str:
    import keras

    sha = hashlib.sha256()
    for each in keras.saving.load_model(network, compile=False).get_weights():
        sha.update(each.tobytes())
    return sha.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
