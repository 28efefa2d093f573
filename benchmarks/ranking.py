"""Time and peak memory of `rank` over many runs, on a store of drawn records.

    python -m benchmarks.ranking --runs 1000 --cells 2000

Records and predictions are numbers that a program draws (no network is trained, no cell looked
at); store, artifacts and command are the real ones. The first ranking fetches every run's
predictions, the second finds them kept.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, RunTag

from leukemia.evaluation.metrics import metrics
from leukemia.experiment import PREDICTIONS
from leukemia.ranking.peers import TERMS
from leukemia.tracking.connection import connect

ARMS = {"adasyn": 0.1, "augmentation": 0.0, "baseline": 0.0, "dcgan": 0.05, "weighted": 0.3}
FOLDS = 5
SUBJECTS = 60


def main() -> None:
    """Draw the runs once, rank them twice, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="runs in the store")
    parser.add_argument("--cells", type=int, default=2000, help="test cells of each run")
    parser.add_argument("--store", type=Path, help="folder to keep the runs in")
    options = parser.parse_args()
    folder = options.store or Path(tempfile.mkdtemp(prefix="ranking-"))
    os.environ |= {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
    }
    if not (folder / "mlflow.db").exists():
        fill(folder, options.runs, options.cells)
    for what in ("predictions fetched", "predictions kept"):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "entrypoints.rank"], capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(done.stdout[:1200] if what.endswith("kept") else done.stderr, end="")
        print(f"rank, {what}: {seconds:.1f} s, {peak:.2f} GiB, exit {done.returncode}")


def fill(folder: Path, runs: int, cells: int) -> None:
    """Write `runs` finished training runs with their predictions."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    experiment, client = connect("leukemia"), mlflow.MlflowClient()
    for number, (arm, seed, fold) in enumerate(arms(runs)):
        test = drawn(arm, seed, fold, cells)
        run = client.create_run(experiment, run_name=f"{arm} seed {seed} fold {fold}")
        log(client, run.info.run_id, arm, seed, fold, test)
        file = folder / "test.csv"
        test.to_csv(file, index=False)
        client.log_artifact(run.info.run_id, str(file), PREDICTIONS)
        client.set_terminated(run.info.run_id)
        if number % 100 == 99:
            print(f"{number + 1} of {runs} runs written", file=sys.stderr)


def arms(runs: int) -> Iterator[tuple[str, int, int]]:
    """(arm, seed, fold) of each run."""
    for number in range(runs):
        place, arm = divmod(number, len(ARMS))
        yield list(ARMS)[arm], place // FOLDS, place % FOLDS


def drawn(arm: str, seed: int, fold: int, cells: int) -> pd.DataFrame:
    """Labels and scores of a fold's cells: each subject has a hardness that all arms share."""
    rows = np.arange(fold * cells, (fold + 1) * cells)
    subject = fold * SUBJECTS + np.arange(cells) % SUBJECTS
    label = subject % 2
    hardness = np.random.default_rng(7).normal(0, 1, FOLDS * SUBJECTS)[subject]
    noise = np.random.default_rng([seed, fold, len(arm)]).normal(0, 1, cells)
    logit = (2 * label - 1) * (1.5 + ARMS[arm] + hardness) + noise
    return pd.DataFrame(
        {
            "labels": label,
            "scores": (1 / (1 + np.exp(-logit))).astype(np.float32),
            "subjects": [f"{'H' if each % 2 == 0 else ''}{each}" for each in subject],
            "cell_id": [f"fold_{fold}/UID_{each}_1_1.bmp" for each in rows],
        }
    )


def log(
    client: mlflow.MlflowClient, run_id: str, arm: str, seed: int, fold: int, test: pd.DataFrame
) -> None:
    """As many parameters, tags and metrics as a training run logs."""
    found = metrics(test["labels"].to_numpy(), test["scores"].to_numpy())
    named = {f"{side}_{name}{end}": found[name] for side in ("train", "val", "test")
             for name in found for end in ("", "_lo", "_hi")}  # fmt: skip
    named |= {"balance_s": 1.0, "train_s": 100.0, "peak_gib": 1.5, "overfits": float(seed % 2)}
    tags = dict.fromkeys(TERMS, "same") | {
        "kind": "train", "technique": arm, "arm": arm, "seed": str(seed), "fold": str(fold),
        "key": f"{arm}-{seed}-{fold}", "leaks": "", "protocol": "subject", "positive": "all",
        "cells": f"{len(test)} drawn numbers a fold", "protocol_line": "Protocol subject.",
        "simulated_data": "drawn numbers", "note": "no network", "image_size": "210",
        "budget": "none",
    }  # fmt: skip
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, 0) for name, value in named.items()],
        params=[Param(f"setting_{number}", "value") for number in range(35)],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


if __name__ == "__main__":
    main()
