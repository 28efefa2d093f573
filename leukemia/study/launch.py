"""Experiments as runs of MLflow: one in this process, or many, each in a process of its own.

outcome = tracked(ExperimentOptions(data="sample", technique="weighted"))
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import psutil
from mlflow.entities import Run

from leukemia.cells import Cells
from leukemia.data.cache import cache_folder
from leukemia.data.index import Index
from leukemia.errors import UserError
from leukemia.experiment.config import Experiment
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import prepare, resolve
from leukemia.experiment.run import Outcome, run
from leukemia.report import Progress, Report, both, silent, unwatched
from leukemia.study.grid import Trial
from leukemia.tracking import (
    PARENT,
    UNSENT,
    WORKERS,
    connection,
    lease,
    manifest,
    records,
    sync,
    unfinished,
)
from leukemia.tracking.logbook import Logbook
from leukemia.tracking.patience import Patience, without_secrets
from leukemia.tracking.resumable import resumable_run

SENT_NOW = "an earlier attempt was whole but for the sending: it is sent now"
INTERRUPTED = 130  # exit code of a command that Ctrl-C or a SIGTERM has ended
INHERITED = ("mlflow.user", "mlflow.source.git.commit")  # tags of a study that its runs have too


def tracked(
    options: ExperimentOptions,
    experiment: str | None = None,
    *,
    report: Report = silent,
    cache: Path | None = None,
    progress: Progress = unwatched,
) -> Outcome:
    """Train one experiment in this process as a run of MLflow that logs all of it.

    Args:
        experiment: MLflow's, by name; None: that of MLFLOW_EXPERIMENT_ID or
            MLFLOW_EXPERIMENT_NAME, else `leukemia`.
        report: told of each epoch, beside MLflow.
        cache: folder for decoded cells and unfinished work, `cache_folder()` unless given.

    Raises:
        UserError: the options, the data or the tracking store do not allow it, or an earlier
            attempt had all of its results and could only not send them, which is done then.
        Unsent: it is trained, and the store has not got all of its results.
    """
    prepared, cells = prepare(options, cache, progress)
    outcome = train(prepared, cells, options, experiment, report=report, cache=cache)
    if outcome is None:
        raise UserError(f"{prepared.config.title}: {SENT_NOW}; call it again to train it anew")
    return outcome


def train(
    experiment: Experiment,
    cells: Cells,
    options: ExperimentOptions,
    name: str | None = None,
    *,
    report: Report = silent,
    cache: Path | None = None,
    tell: Callable[[Outcome], object] = lambda outcome: None,
) -> Outcome | None:
    """`tracked` from what `prepare` gave; a run that was killed goes on where it was.

    name: MLflow's experiment, as in `tracked`. tell: told of the outcome before the store has it.

    Returns:
        None where an earlier attempt had the outcome, which is in MLflow now.
    """
    cache, config = cache or cache_folder(), experiment.config
    experiment_id = connection.connect(name)
    place = unfinished.folder(cache, experiment_id, config.key(experiment.index))
    tags = {manifest.TAG: manifest.PENDING}
    with (
        TemporaryDirectory() as folder,
        resumable_run("train", config.title, experiment_id, place, tags) as kept,
    ):
        if kept.finished:
            return None
        logbook = Logbook(kept.journal)
        logbook.start(experiment, options)
        settings = _fetched(config.settings, Path(folder))
        able = replace(experiment, config=replace(config, settings=settings))
        outcome = run(able, cells, both(report, logbook), place, cache)
        logbook.finish(experiment, outcome, cells)
        tell(outcome)
    return outcome


def keys(asked: Mapping[Trial, ExperimentOptions], index: Index) -> dict[Trial, str]:
    """The key that each trial's run has: of its cells, config and code."""
    return {trial: resolve(options).key(index) for trial, options in asked.items()}


def untrained(keys: Mapping[Trial, str], experiment_id: str) -> list[Trial]:
    """The trials of which there is no finished run with their key."""
    done = records.finished(experiment_id)
    return [trial for trial, key in keys.items() if key not in done]


class Launcher:
    """Trains trials below a study's run, each as a run and a process of its own.

    What is going on ends with the call: at Ctrl-C, at a SIGTERM, at any error.

    Args:
        command: the words that start a training, before technique and options.
        study: the run that theirs lie below.
        workers: how many go at a time.
        cache: their cache folder, `cache_folder()` unless given.
        tell: told of each trial as it begins. warn: told each line that a training writes to its
            standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        study: Run,
        workers: int = 1,
        cache: Path | None = None,
        tell: Callable[[str], object] = lambda line: None,
        warn: Callable[[str], object] = lambda line: None,
    ):
        self._command, self._study, self._workers = list(command), study, workers
        self._cache = cache or cache_folder()
        self._tell, self._warn = tell, warn
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._patience = Patience("the study waits; what is training goes on", self._ending)
        self._going: set[subprocess.Popen[str]] = set()

    def __call__(self, asked: Mapping[Trial, ExperimentOptions]) -> dict[Trial, str]:
        """Train all of them; of those that failed the last line that they wrote as an error."""
        clock, client = Clock(len(asked)), mlflow.MlflowClient()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                going = {
                    trial: pool.submit(self._train, client, trial, options, clock)
                    for trial, options in asked.items()
                }
                ended = {trial: each.result() for trial, each in going.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._end()
                raise
        self._deliver(client)
        return {trial: error for trial, error in ended.items() if error is not None}

    def _train(
        self,
        client: mlflow.MlflowClient,
        trial: Trial,
        options: ExperimentOptions,
        clock: "Clock",
    ) -> str | None:
        """Train one; None where it was trained, else the last line of its errors."""
        with self._lock:
            self._tell(clock.begun(trial))
        run_id = self._patience(lambda: self._new_run(client, trial))
        code, last = INTERRUPTED, "the study ended before it began"
        if process := self._start(run_id, options):
            code, last = self._followed(process)
        last = self._patience(lambda: _close(client, run_id, code, last))
        with self._lock:
            clock.ended()
        return last if code not in (0, UNSENT) else None

    def _deliver(self, client: mlflow.MlflowClient) -> None:
        """Send what trials could not, once the store is there."""
        store = without_secrets(mlflow.get_tracking_uri())
        for one in sync.waiting(self._cache):
            if one.about.store == store and one.finished:
                self._patience(lambda: client.search_experiments(max_results=1))
                self._warn(sync.send(one))

    def _new_run(self, client: mlflow.MlflowClient, trial: Trial) -> str:
        """The run below the study's that the process will go on with."""
        info, tags = self._study.info, self._study.data.tags
        made = client.create_run(
            info.experiment_id,
            run_name=str(trial),
            tags={
                **{name: tags[name] for name in INHERITED if name in tags},
                "mlflow.parentRunId": info.run_id,
                "mlflow.source.name": f"{self._command[-1]} {trial.technique}",
                "mlflow.source.type": "LOCAL",
                **lease.tags(),
            },
        )
        run_id: str = made.info.run_id
        return run_id

    def _start(self, run_id: str, options: ExperimentOptions) -> subprocess.Popen[str] | None:
        """A process that trains, None where the study is ending already."""
        environment = os.environ | {
            "MLFLOW_RUN_ID": run_id,
            "MLFLOW_EXPERIMENT_ID": self._study.info.experiment_id,
            "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
            "LEUKEMIA_CACHE": str(self._cache),
            WORKERS: str(self._workers),
            PARENT: str(os.getpid()),
        }
        with self._lock:
            if self._ending.is_set():
                return None
            process = subprocess.Popen(
                [*self._command, *words(options)],
                env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                errors="replace",
            )  # fmt: skip
            self._going.add(process)
        return process

    def _followed(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Pass its errors on until it ends: its exit code and the last line of them."""
        last = ""
        with process:  # which closes the pipe: a study of hundreds of runs would keep as many
            for line in process.stderr or ():
                self._warn(line.rstrip("\n"))
                last = line.strip() or last
        code = process.wait()
        with self._lock:
            self._going.discard(process)
        return code, last if code >= 0 else _ended_by(-code)

    def _end(self) -> None:
        """End what is going on, with all that it has started."""
        with self._lock:
            self._ending.set()
            for process in self._going:
                with suppress(psutil.NoSuchProcess):  # Ctrl-C reaches them too
                    root = psutil.Process(process.pid)
                    for each in [*root.children(recursive=True), root]:
                        with suppress(psutil.NoSuchProcess):
                            each.terminate()


class Clock:
    """How far a study has come, and how long the rest may take."""

    def __init__(self, trials: int):
        self._trials, self._begun, self._ended = trials, 0, 0
        self._start = time.monotonic()

    def begun(self, trial: Trial) -> str:
        """Count a trial that begins, and name it in a line."""
        self._begun += 1
        line = f"=== run {self._begun} of {self._trials}: {trial}"
        if not self._ended:
            return line
        done = self._ended + (self._begun - 1 - self._ended) / 2  # those that go on: half done
        spent = time.monotonic() - self._start
        return f"{line}, about {spent / done * (self._trials - done) / 60:.0f} min left"

    def ended(self) -> None:
        """Count a trial that has ended."""
        self._ended += 1


def words(options: ExperimentOptions) -> list[str]:
    """The options as words of a command line: the technique, then a name and a value for each."""
    named = options.shared() | dict(options.settings)
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in named.items()]
    return [options.technique, *chain(*pairs)]


def _ended_by(number: int) -> str:
    why = ": perhaps memory ran out, then give fewer workers or a smaller batch_size"
    return f"ended by signal {number}{why if number == signal.SIGKILL else ''}"


def _close(client: mlflow.MlflowClient, run_id: str, code: int, last: str) -> str:
    """End the run of a process that could not do so itself, or went on with an earlier run; the
    error that it ended with.

    last: the line that it wrote last: of a traceback that says less than what the run keeps.
    """
    run = client.get_run(run_id)
    error = _first_line(run.data.tags.get("error") or last)
    if run.info.status != "RUNNING" or code == UNSENT:  # which `leukemia sync` is to end
        return error
    if code:
        client.set_tag(run_id, "error", error[:5000])
    interrupted = code == INTERRUPTED or code < 0
    status = "KILLED" if interrupted else "FAILED" if code else "FINISHED"
    client.set_terminated(run_id, status)
    return error


def _first_line(text: str) -> str:
    """The first line of a text."""
    return (text.splitlines() or [""])[0]


def _fetched(settings: Any, folder: Path) -> Any:
    """The settings with run IDs replaced by local copies of the artifacts they stand for."""
    fetched = {}
    for each in fields(settings):
        run_id = getattr(settings, each.name)
        if "artifact" in each.metadata and run_id:
            fetched[each.name] = str(records.download(run_id, each.metadata["artifact"], folder))
    return replace(settings, **fetched)
