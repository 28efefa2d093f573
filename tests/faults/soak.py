"""Hours of studies whose trials train nothing: whether memory, handles and disk stay as they are.

    python -m tests.faults.soak [--hours 24] [--minutes-a-trial 10] [--out soak.csv]

A study launches its trials as it always does, each a process with a run, a journal, a lease and a
sender, against a real server. A trial writes at once what one of so many minutes writes: a reading
of the machine every 5 s, 25 epochs, a picture, files, a finished run. After each trial the study's
process and the server's are looked at. Exit code 1 where one grows from the second quarter on by
more than GROWTH.
"""

import argparse
import csv
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mlflow
import psutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from leukemia.experiment.options import ExperimentOptions
from leukemia.study.grid import Trial
from leukemia.study.launch import Launcher
from leukemia.tracking import connection, lease, runs
from tests.faults.outage import serving
from tests.faults.trainings import ROOT
from tests.service import MlflowServer

TRIALS_A_STUDY = 6
GROWTH = 0.1  # of what is there at the end of the first quarter
SLACK = {"memory": 20.0, "handles": 4, "threads": 2}  # MiB; what comes and goes


def main() -> int:
    """The number of curves that are not flat."""
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="soak-") as made, serving(Path(made) / "s") as server:
        rows = soaked(server, Path(made) / "cache", asked.hours, asked.minutes_a_trial)
    if asked.out:
        with open(asked.out, "w", newline="") as file:
            csv.writer(file).writerows([rows[0].keys(), *(row.values() for row in rows)])
    return report(rows, asked.hours)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="that are simulated")
    parser.add_argument("--minutes-a-trial", type=float, default=10.0, help="that one would take")
    parser.add_argument("--out", default="", help="file for the curves, as CSV")
    return parser.parse_args()


def soaked(
    server: MlflowServer, cache: Path, hours: float, minutes: float
) -> list[dict[str, float]]:
    """Studies one after another; what was seen after each trial."""
    os.environ["LEUKEMIA_CACHE"] = str(cache)
    tempfile.tempdir = os.environ["TMPDIR"] = str(cache.parent / "temporary")
    Path(tempfile.tempdir).mkdir()
    os.environ["PYTHONPATH"] = str(ROOT)
    mlflow.set_tracking_uri(server.address)
    trials, rows = round(60 * hours / minutes), list[dict[str, float]]()
    command = [sys.executable, "-m", "tests.faults.trial_of_nothing", str(minutes)]
    while len(rows) < trials:
        experiment_id = connection.connect("soak")
        lease.reap(experiment_id)
        with runs.started_run("study", "a study of nothing") as study:
            launch = Launcher(command, study, cache=cache, warn=print)
            for number in range(min(TRIALS_A_STUDY, trials - len(rows))):
                one = Trial(technique="baseline", protocol="subject", split_seed=0, seed=len(rows),
                            fold=number)  # fmt: skip
                options = one.options(ExperimentOptions(data="nowhere", technique="baseline"))
                if failed := launch({one: options}):
                    raise SystemExit(f"Error: {failed}")
                rows.append(seen(server, cache, len(rows) + 1, minutes))
                if len(rows) % 12 == 0:
                    print(line(rows[-1]), flush=True)
    unended = mlflow.MlflowClient().search_runs([experiment_id], "attributes.status != 'FINISHED'")
    assert not unended, f"{len(unended)} runs are not finished"
    return rows


def seen(server: MlflowServer, cache: Path, trials: int, minutes: float) -> dict[str, float]:
    """The study's process and the server's with its children, and the unfinished work on disk."""
    root = psutil.Process(server.process.pid)
    parts = {"study": [psutil.Process()], "server": [root, *root.children(recursive=True)]}
    row: dict[str, float] = {"hours": round(trials * minutes / 60, 2)}
    for name, processes in parts.items():
        row[f"{name} memory, MiB"] = round(sum(p.memory_info().rss for p in processes) / 2**20, 1)
        row[f"{name} handles"] = sum(p.num_fds() for p in processes)
        row[f"{name} threads"] = sum(p.num_threads() for p in processes)
    row["unfinished work, MiB"] = round(_size(cache) / 2**20, 2)
    row["temporary files, MiB"] = round(_size(Path(tempfile.gettempdir())) / 2**20, 2)
    row["server's disk a trial, MiB"] = round(_size(server.folder) / trials / 2**20, 2)
    return row


def report(rows: Sequence[dict[str, float]], hours: float) -> int:
    """Print where each curve began and ended; how many of them are not flat."""
    print(f"{len(rows)} trials, {hours:g} hours as simulated\n"
          f"  {'':<28}{'a quarter':>10}{'most':>10}{'the end':>10}")  # fmt: skip
    wrong = 0
    for name in list(rows[0])[1:]:
        curve = [row[name] for row in rows]
        quarter = curve[len(curve) // 4]
        slack = next((much for word, much in SLACK.items() if word in name), 0.01)
        grown = curve[-1] > quarter * (1 + GROWTH) + slack
        wrong += grown
        verdict = "GROWS" if grown else "flat"
        print(f"  {name:<28}{quarter:>10.2f}{max(curve[len(curve) // 4:]):>10.2f}"
              f"{curve[-1]:>10.2f}  {verdict}")  # fmt: skip
    return wrong


def line(row: dict[str, float]) -> str:
    return "  ".join(f"{re.sub(', MiB', '', name)} {value:g}" for name, value in row.items())


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
