"""Sends what runs could not: results that wait on this machine for their store."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow

from leukemia.tracking.journal import About
from leukemia.tracking.patience import without_secrets
from leukemia.tracking.sender import Unsent, sending
from leukemia.tracking.unfinished import alone, folders, journal_in


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A run of which the store has not got all. folder: of its unfinished work."""

    folder: Path
    about: About
    entries: int
    finished: bool


def waiting(cache: Path) -> list[Waiting]:
    """The runs of a cache folder that nobody is at and that have something to send."""
    found = []
    for folder in folders(cache):
        with alone(folder) as nobody_else:
            journal = journal_in(folder) if nobody_else else None
            about = journal.about if journal else None
            if journal and about and (journal.waiting or journal.finished):
                found.append(
                    Waiting(
                        folder=folder,
                        about=about,
                        entries=journal.waiting,
                        finished=journal.finished,
                    )
                )
    return found


def send(one: Waiting) -> str:
    """Send what a run has left, to the store that it is of, and say how that went in a line.

    A run that is whole is then FINISHED, and its folder removed; what is unfinished of another
    stays, so that its training can go on.
    """
    with alone(one.folder) as nobody_else, _store(one.about.store):
        if not nobody_else:
            return f"{one.about.title}: a process is at it, which sends what it has"
        journal = journal_in(one.folder)
        try:
            with sending(journal, one.about.run_id):
                pass
        except Unsent as error:
            return f"{one.about.title}: {error}"
        if journal.finished:  # with its checkpoint, or the next run would go on from that
            shutil.rmtree(one.folder)
    what = "it is finished" if one.finished else "give its command again to go on with it"
    return f"{one.about.title}: run {one.about.run_id} has all of it now; {what}"


@contextmanager
def _store(address: str) -> Iterator[None]:
    """MLflow with this store; the one that is set, where it is the same but for its secrets."""
    before = mlflow.get_tracking_uri()
    if without_secrets(before) != address:
        mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
