"""Contenders for one job, timed in turn.

Each contender lives in a process of its own, so that none inherits another's warm caches and the
largest memory of each is its own. Each is made ready before its first round; all do the work once a
round, one after the other, with the machine's own ceilings measured beside them, so that whatever
else the machine does falls on all alike. Nothing is a test: a check says whether the work was the
same, the times say what they say.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from leukemia.experiment.memory import peak_gib

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-bench" / "bin" / "python"  # peers that the product does not depend on
CEILINGS = "benchmarks.ceilings"
# What a contender prepares: `run`, which does the work once and returns what came of it.
Run = Callable[[], Any]


@dataclass(frozen=True)
class Goal:
    """`ours` is to be `times` as fast as `peer`, or `most` GiB or seconds are allowed."""

    ours: str
    peer: str
    times: float


@dataclass(frozen=True)
class Contender:
    """prepare: the name of a function of the job's module, folder -> Run.
    elsewhere: it needs packages that the product does not have."""

    prepare: str
    elsewhere: bool = False


@dataclass(frozen=True)
class Job:
    """title: what is done, for a reader. contenders: by name, peers first.
    check: folder -> a line that says what was compared; raises AssertionError where it differs.
    work: gives the multiplications and additions of each contender's round; precision: that it
    does them in, for its share of the ceiling. Both only where that says something.
    """

    title: str
    contenders: dict[str, Contender]
    goals: tuple[Goal, ...]
    rounds: int
    check: Callable[[Path], str]
    work: Callable[[], dict[str, float]] = dict
    precision: dict[str, str] = field(default_factory=dict)


def run(name: str, rounds: int | None = None) -> dict[str, Any]:
    """Time a job (a module of benchmarks.jobs): a record of all that was measured."""
    module = f"benchmarks.jobs.{name}"
    job: Job = import_module(module).JOB
    print(f"== {job.title}", file=sys.stderr, flush=True)
    with TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        prepare = getattr(import_module(module), "prepare", None)
        if prepare:
            Worker(module, "prepare", folder, sys.executable).finish()
        ceiling = Worker(CEILINGS, "prepare", folder, sys.executable)
        seconds: dict[str, list[float]] = {each: [] for each in job.contenders}
        memory: dict[str, float] = {}
        workers: dict[str, Worker] = {}
        ceilings: list[dict[str, float]] = []
        total = rounds or job.rounds
        for number in range(total):
            ceilings.append(ceiling.go()["came"])
            for each in _turned(list(job.contenders), number):
                if not number:  # all are ready before the second round
                    contender = job.contenders[each]
                    workers[each] = Worker(module, contender.prepare, folder, _python(contender))
                seconds[each].append(workers[each].go()["seconds"])
                print(f"   {each}: {seconds[each][-1]:.3f} s", file=sys.stderr, flush=True)
                if number == total - 1:  # its memory is the next one's
                    memory[each] = workers[each].finish()
        ceiling.finish()
        return {
            "job": name,
            "title": job.title,
            "seconds": seconds,
            "peak_gib": memory,
            "ceilings": {k: statistics.median(c[k] for c in ceilings) for k in ceilings[0]},
            "goals": [
                {**vars(goal), "reached": ratio(seconds, goal.ours, goal.peer)}
                for goal in job.goals
            ],
            "work": job.work(),
            "precision": job.precision,
            "same": job.check(folder),
        }


def ratio(seconds: dict[str, list[float]], ours: str, peer: str) -> float:
    """How many times as fast, by the medians."""
    return statistics.median(seconds[peer]) / statistics.median(seconds[ours])


class Worker:
    """A process that has prepared a contender and waits."""

    def __init__(self, module: str, prepare: str, folder: Path, python: str):
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.harness", module, prepare, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},  # else its news bury the times
        )
        self._answer()

    def go(self) -> dict[str, Any]:
        """Do the work once: seconds, and what came of it where that is a plain value."""
        self._say("go")
        return self._answer()

    def finish(self) -> float:
        """The largest memory it held, GiB; the process ends."""
        self._say("end")
        peak: float = self._answer()["peak_gib"]
        self._process.communicate()
        return peak

    def _say(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("@"):
                answer: dict[str, Any] = json.loads(line[1:])
                return answer
        raise RuntimeError("a contender ended without an answer; its error stands above")


def _turned(names: list[str], by: int) -> list[str]:
    """Another begins each round."""
    by %= len(names)
    return names[by:] + names[:by]


def _python(contender: Contender) -> str:
    return str(PEERS) if contender.elsewhere else sys.executable


def _work(module: str, prepare: str, folder: Path) -> None:
    """The other side of a Worker."""
    run_once = getattr(import_module(module), prepare)(folder)
    print("@{}", flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        start = time.perf_counter()
        came = run_once()
        seconds = time.perf_counter() - start
        plain = came if isinstance(came, dict | float | int | str) else None
        if isinstance(plain, dict) and "seconds" in plain:  # a part of it, or many at once
            seconds = plain["seconds"]
        print("@" + json.dumps({"seconds": seconds, "came": plain}), flush=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print("@" + json.dumps({"peak_gib": max(peak_gib(), children)}), flush=True)


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
