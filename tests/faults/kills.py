"""Whole trainings killed with SIGKILL at random moments until they have finished.

    python -m tests.faults.kills [--points 20] [--techniques baseline,dcgan] [--backbone resnet50]

For each technique one training is left alone; others, each in a project of its own, are killed at
random moments of its length and started again by the same command, until as many kills were made.
Weights, history, predictions and figures must be the same, bit for bit, and there must be one run.
Costs must be within a tenth, but for what a start takes (`--start-seconds` for each kill: the graph
of a network is built anew). A technique's lines say so; exit code 1 where anything differs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import numpy as np

from leukemia import techniques
from leukemia.errors import UserError
from leukemia.model.checkpoint import FILE, HEADER
from tests.faults import trainings
from tests.faults.trainings import Left


@dataclass(kw_only=True)
class Round:
    """A training that was killed some times: where, and what it left."""

    kept: list[str] = field(default_factory=list)
    left: Left | None = None
    fault: str = ""


def main() -> int:
    """The number of techniques of which something differs."""
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        base = Path(asked.out or made)
        trainings.sample(base, asked.cells)
        names = asked.techniques.split(",") if asked.techniques else techniques.names()
        with ThreadPoolExecutor(asked.workers) as pool:
            wrong = list(pool.map(lambda name: tried(base, name, asked), names))
    return sum(wrong)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default, text in (
        ("points", 20, "kills a technique"),
        ("techniques", "", "names with commas; none: all that there are"),
        ("workers", 1, "techniques at a time"),
        ("seed", 0, "decides the moments, in shares of an undisturbed training's length"),
        ("start-seconds", 15.0, "that each kill may add to a cost"),
        ("out", "", "folder that is kept; none: a temporary one"),
    ):
        parser.add_argument(
            f"--{name}", default=default, type=type(default), help=f"{text} (default: {default})"
        )
    trainings.add_options(parser)
    return parser.parse_args()


def tried(base: Path, name: str, asked: argparse.Namespace) -> bool:
    """Kill a technique's trainings, print its line, and say whether anything differs."""
    start = time.monotonic()
    whole = trained(Round(), base / name / "whole", name, asked, repeat(None))
    length = time.monotonic() - start
    if whole.left is None:
        print(f"{name}: {whole.fault}", flush=True)
        return True
    rounds: list[Round] = []
    rng = np.random.default_rng([asked.seed, sum(name.encode())])

    def moments() -> Iterator[float | None]:
        while True:
            yield rng.uniform(0, length) if count(rounds) < asked.points else None

    while count(rounds) < asked.points:
        rounds.append(Round())
        trained(rounds[-1], base / name / f"round_{len(rounds)}", name, asked, moments())
    faults = [each for one in rounds for each in differences(one, whole.left, asked.start_seconds)]
    print(line(name, length, rounds, whole.left, faults), flush=True)
    return bool(faults)


def count(rounds: list[Round]) -> int:
    """How many kills were made."""
    return sum(len(each.kept) for each in rounds)


def trained(
    round_: Round,
    place: Path,
    name: str,
    asked: argparse.Namespace,
    moments: Iterator[float | None],
) -> Round:
    """Start a training, kill it after so many seconds, and start it again until one ends.

    moments: how many; None: it may end.
    """
    place.mkdir(parents=True)
    # As `make setup` does; a database whose making is killed is what tests/test_database.py has.
    trainings.entry(place, store(place), "store").wait()
    while True:
        process = trainings.entry(
            place, store(place), "train", name, "--data", "../../sample", *trainings.words(asked)
        )
        try:
            code = process.wait(next(moments))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            round_.kept.append(kept(place))
            if not over(place):
                continue
            code = 0
        if code:
            errors = (place / "errors.txt").read_text().splitlines()
            round_.fault = f"exit code {code}: {errors[-1] if errors else ''}"
            return round_
        try:
            round_.left = trainings.left(store(place))
        except UserError as error:
            round_.fault = str(error)
        return round_


def store(place: Path) -> str:
    return f"sqlite:///{place.absolute()}/mlflow.db"


def kept(place: Path) -> str:
    """How many epochs lie in the folder of unfinished work, of GAN (g) and classifier (c)."""
    counts = []
    for letter, folder in (("g", "attempt_*"), ("c", "classifier")):
        for path in sorted(place.glob(f"cache/unfinished/*/{folder}/{FILE}")):
            with np.load(path) as file:
                header = json.loads(file[HEADER].tobytes())
            counts.append(f"{letter}{header.get('epoch', len(header['history']))}")
    return "+".join(counts) or "-"


def over(place: Path) -> bool:
    """Whether the run had finished before its process was killed: the command would train anew."""
    begun = (place / "mlflow.db").exists() and not any(place.glob("cache/unfinished/*/"))
    return begun and any(run.info.status == "FINISHED" for run in trainings.runs_of(store(place)))


def differences(one: Round, whole: Left, start_seconds: float) -> list[str]:
    """What of a killed training is not as it should be, in words."""
    if one.left is None:
        return [one.fault]
    return one.left.differences(whole, start_seconds * len(one.kept))


def line(name: str, length: float, rounds: list[Round], whole: Left, faults: list[str]) -> str:
    """All of a technique: how often and where it was killed, what came of it, costs in shares."""
    kept = " ".join(each for one in rounds for each in one.kept)
    shares = "; ".join(trainings.shares(one.left.costs, whole.costs) for one in rounds if one.left)
    verdict = "; ".join(faults) or "the same, bit for bit"
    return (
        f"{name} ({length:.0f} s): {count(rounds)} kills in {len(rounds)} runs: {verdict}\n"
        f"  epochs kept at each kill: {kept}\n  costs, as shares: {shares}"
    )


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
