"""Folders of unfinished work, of a run each, and who works in one."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout

from leukemia.tracking.journal import Journal
from leukemia.tracking.patience import without_secrets

FOLDER = "unfinished"  # of the cache
JOURNAL = "journal"  # folder in that of a run


def folder(cache: Path, experiment_id: str, key: str) -> Path:
    """Where the unfinished work of a run lies: another place for each store."""
    address = sha256(without_secrets(mlflow.get_tracking_uri()).encode()).hexdigest()[:8]
    return cache / FOLDER / f"{address}-{experiment_id}-{key}"


def folders(cache: Path) -> list[Path]:
    """The folders of a cache in which a run has begun."""
    return [each.parent for each in sorted((cache / FOLDER).glob(f"*/{JOURNAL}"))]


def journal_in(folder: Path) -> Journal:
    """What the run of a folder has left so far."""
    return Journal(folder / JOURNAL)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether this process alone works in the folder, for as long as the block lasts."""
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
