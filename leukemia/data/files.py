"""Many files read side by side, and their SHA-256, remembered by what the system notes of a file.

Path, size and time of writing may stay the same while a file becomes another one (copies that keep
times, archives that give all files one): its number in the file system and the time at which the
system itself last noted a change of it do not.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

import pandas as pd

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_COLUMNS = ["path", "size", "mtime_ns", "ctime_ns", "inode", "sha256"]
_Key = tuple[str, int, int, int, int]
_SHA256 = "[0-9a-f]{64}"
_TOGETHER = 32  # files handed to a thread at once: one by one takes half as long again


def digests(
    paths: list[Path], cache: Path | None, progress: Callable[[int, int], None]
) -> list[str]:
    """The SHA-256 of each file, in order; files unchanged since the last call are not read.

    cache: folder for the remembered digests, or None to read every file.
    """
    keys = [_key(path) for path in paths]
    memory = _memory(paths, cache)
    known = _recall(memory)
    unread = [key for key in dict.fromkeys(keys) if key not in known]
    for done, (key, sha) in enumerate(
        zip(unread, in_threads(lambda key: sha256(key[0]), unread), strict=True), 1
    ):
        known[key] = sha
        progress(done, len(unread))
    if unread and memory is not None:
        _remember(memory, {key: known[key] for key in keys})
    return [known[key] for key in keys]


def sha256(path: str | Path) -> str:
    """Of a file's content, which is never held as a whole."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """`function` of each item, in their order, computed by a thread for each processor.

    It pays where the function lets go of the interpreter's lock, as decoding and hashing do.
    """
    groups = [items[first : first + _TOGETHER] for first in range(0, len(items), _TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for results in pool.map(lambda group: [function(item) for item in group], groups):
            yield from results


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """All of `content` at `path`, or nothing: a reader never sees half a file, nor does one after
    the machine has lost its power.

    content: or what writes it, where it is too large to be held as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _key(path: Path) -> _Key:
    name = _absolute(path)
    status = os.stat(name)
    return name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _absolute(path: Path) -> str:
    """As `path.absolute()`, which on Python 3.13 costs 10,000 files a tenth of a second."""
    name = os.fspath(path)
    return name if os.path.isabs(name) else os.path.join(os.getcwd(), name)


def _memory(paths: list[Path], cache: Path | None) -> Path | None:
    if cache is None or not paths:
        return None
    common = os.path.commonpath({os.path.dirname(_absolute(path)) for path in paths})
    return cache / "digests" / f"{hashlib.sha256(common.encode()).hexdigest()[:16]}.csv"


def _recall(memory: Path | None) -> dict[_Key, str]:
    if memory is None or not memory.exists():
        return {}
    try:
        frame = pd.read_csv(memory, keep_default_na=False)
        frame = frame[frame["sha256"].astype(str).str.fullmatch(_SHA256)]  # the last may be cut
        keys = zip(*(frame[name] for name in _COLUMNS[:-1]), strict=True)
        return dict(zip(keys, frame["sha256"], strict=True))
    except (ValueError, KeyError):  # damaged: then all are read once more
        return {}


def _remember(memory: Path, known: dict[_Key, str]) -> None:
    frame = pd.DataFrame([(*key, sha) for key, sha in known.items()], columns=_COLUMNS)
    write_atomically(memory, frame.to_csv(index=False).encode())
