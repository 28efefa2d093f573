"""A command that a study or `mlflow run` has started ends with it, however that ends.

A study that is killed cannot end its trainings itself: they would go on for nobody.
"""

import os
import signal
import sys
import threading
import time

import psutil

from leukemia.tracking import PARENT

SECONDS = 1.0  # between two looks


def follow() -> None:
    """End this process as a SIGTERM does once whoever started it is gone; from a shell nobody
    counts as that, since a command may well outlive it."""
    started_by = os.environ.pop(PARENT, "")
    above = _above(started_by)
    if started_by and not above:
        sys.exit(f"Error: process {started_by}, which started this one, is gone")
    if above:
        threading.Thread(target=_watch, args=(above,), name="parent", daemon=True).start()


def _above(started_by: str) -> list[psutil.Process]:
    """The processes from this one's parent to the study's or `mlflow run`'s; [] for none."""
    parents: list[psutil.Process] = psutil.Process().parents()
    for number, parent in enumerate(parents):
        is_it = str(parent.pid) == started_by if started_by else _is_mlflow_run(parent)
        if is_it:
            return parents[: number + 1]
    return []


def _is_mlflow_run(process: psutil.Process) -> bool:
    if not os.environ.get("MLFLOW_RUN_ID"):
        return False
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "run" in words and any("mlflow" in word for word in words[:3])


def _watch(above: list[psutil.Process]) -> None:
    while all(_is_there(process) for process in above):
        time.sleep(SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
