"""What a run has to tell MLflow, kept on disk in its order until the store has it.

A training writes here and waits for no server; `sender` sends it on, in this process or, after a
kill or an outage, in a later one. An entry that was sent twice leaves what it leaves when sent
once, so that nothing is lost and nothing stands there twice.
"""

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from leukemia.data.files import write_atomically
from leukemia.errors import UserError

ENTRIES, SENT, FILES, ABOUT = "entries.jsonl", "sent", "files", "about.json"

Kind = Literal["batch", "data_set", "files", "picture", "model", "manifest", "status"]
Point = tuple[str, float, int, int]  # a metric: name, value, milliseconds since 1970, step


@dataclass(frozen=True, kw_only=True)
class About:
    """Where a run's journal belongs: the run's ID, the store's address, and a title for people."""

    run_id: str
    store: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing to be told. number: its place, from 1. content: what JSON can say, by kind:

    batch: points, params, tags. data_set: of MLflow, and its context. files: a folder within the
    journal whose files are artifacts. picture: name, step, time and a file. model: a folder.
    manifest: files, metrics and tags that it binds. status: of the run, and an error or "".
    """

    number: int
    kind: Kind
    content: Mapping[str, Any]


class Journal:
    """The entries of one run in a folder. It may be written from several threads."""

    def __init__(self, folder: Path):
        """Open the journal of a folder, which is made if it is not there."""
        self.folder = folder
        self._changed = threading.Condition()
        (folder / FILES).mkdir(parents=True, exist_ok=True)
        self._entries = _read(folder / ENTRIES)
        sent = folder / SENT
        noted = int(sent.read_text()) if sent.exists() else 0
        self._sent = min(noted, len(self._entries))  # a power cut may have taken the last entries
        self._steps: dict[str, int] = {}
        for entry in self._entries:
            self._remember(entry)
        self._forget(0, self._sent)

    @property
    def about(self) -> About | None:
        """Where it belongs; None where that is not known yet."""
        path = self.folder / ABOUT
        return About(**json.loads(path.read_text())) if path.exists() else None

    def belongs(self, about: About) -> None:
        """Note where it belongs."""
        write_atomically(self.folder / ABOUT, json.dumps(vars(about)).encode())

    @property
    def finished(self) -> bool:
        """Whether all that a finished run leaves is written: only the sending may be missing."""
        statuses = [entry.content["status"] for entry in self._entries if entry.kind == "status"]
        return statuses[-1:] == ["FINISHED"]

    @property
    def waiting(self) -> int:
        """How many entries are not sent yet."""
        return len(self._entries) - self._sent

    def last_step(self, name: str) -> int:
        """The last step of a metric or picture that is written; -1 for none."""
        return self._steps.get(name, -1)

    def write(self, kind: Kind, **content: Any) -> None:
        """Add an entry.

        Raises:
            UserError: it cannot be written, as on a full disk.
        """
        with self._changed:
            entry = Entry(number=len(self._entries) + 1, kind=kind, content=content)
            line = json.dumps({"kind": kind, "content": content}) + "\n"
            try:
                with (self.folder / ENTRIES).open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                raise _unwritten(self.folder, error) from error
            self._entries.append(entry)
            self._remember(entry)
            self._changed.notify_all()

    def room(self) -> Path:
        """A new folder within the journal, for the files of an entry."""
        with self._changed:
            there = [int(each.name) for each in (self.folder / FILES).iterdir()]
            room = self.folder / FILES / f"{1 + max(there, default=0):06d}"
            try:
                room.mkdir()
            except OSError as error:
                raise _unwritten(self.folder, error) from error
            return room

    def next(self, patience_s: float) -> list[Entry]:
        """The entries that come next: one, or batches in a row; [] where none came in that time."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting, patience_s)
            first = self._entries[self._sent : self._sent + 1]
            if not first or first[0].kind != "batch":
                return first
            rest = self._entries[self._sent :]
            other = next((n for n, each in enumerate(rest) if each.kind != "batch"), len(rest))
            return rest[:other]

    def sent(self, entries: list[Entry]) -> None:
        """Note that these entries, the next ones, are in the store."""
        with self._changed:
            self._forget(self._sent, self._sent + len(entries))
            self._sent += len(entries)
            write_atomically(self.folder / SENT, str(self._sent).encode())

    def again(self, kinds: tuple[Kind, ...]) -> list[Entry]:
        """The entries of these kinds that were sent, to be sent once more."""
        return [entry for entry in self._entries[: self._sent] if entry.kind in kinds]

    def wake(self) -> None:
        """Let whoever waits for entries look again."""
        with self._changed:
            self._changed.notify_all()

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self, start: int, stop: int) -> None:
        """Numbers that the store has are not kept in memory: a day's readings of the machine."""
        for place in range(start, stop):
            if self._entries[place].kind == "batch":
                self._entries[place] = replace(self._entries[place], content={})

    def _remember(self, entry: Entry) -> None:
        if entry.kind == "batch":
            for name, _, _, step in entry.content.get("points", ()):
                self._steps[name] = max(self._steps.get(name, -1), step)
        elif entry.kind == "picture":
            name, step = entry.content["name"], entry.content["step"]
            self._steps[name] = max(self._steps.get(name, -1), step)


def _read(path: Path) -> list[Entry]:
    """The whole lines of a journal; what a kill has left of a last line is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        write_atomically(path, whole)
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        return [
            Entry(number=number, kind=line["kind"], content=line["content"])
            for number, line in enumerate(lines, 1)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); remove the folder {path.parent.parent}: the run then "
            f"starts from the beginning"
        ) from error


def _unwritten(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"results cannot be written to {folder} ({error.strerror}); make room there and give the "
        f"same command again: it goes on from what is there"
    )
