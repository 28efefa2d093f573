"""What goes wrong outside of this program, in a line: disks, the tracking store, memory."""

import errno
import os
import sqlite3

from leukemia.data.cache import cache_folder
from leukemia.errors import first_line

DEBUG = "LEUKEMIA_DEBUG"  # in the environment: the whole traceback instead
OF_STORES = ("mlflow", "sqlalchemy", "requests", "urllib3", "botocore")
ROOM = {errno.ENOSPC, errno.EDQUOT}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
# What TensorFlow and oneDNN say where there is no memory left.
NO_MEMORY = ("could not create a primitive", "OOM when allocating", "Unable to allocate",
             "std::bad_alloc", "failed to allocate memory")  # fmt: skip
AGAIN = "give the same command again: what is there is kept"


def line(error: Exception) -> str:
    """What came and what to do; "" where the fault is this program's own, or DEBUG is set."""
    if os.environ.get(DEBUG):
        return ""
    for of in (_of_memory, _of_disk, _of_store):
        if text := of(error):
            return text
    return ""


def _of_memory(error: Exception) -> str:
    text = str(error)
    if not isinstance(error, MemoryError) and not any(words in text for words in NO_MEMORY):
        return ""
    return (
        "memory ran out; give a smaller batch_size or image_size, fewer workers, or a machine with "
        f"more memory, then {AGAIN}"
    )


def _of_disk(error: Exception) -> str:
    if not isinstance(error, OSError) or error.errno not in ROOM | CLOSED:
        return ""
    place = f"{error.filename or f'below {cache_folder()}'}: "
    mend = "make room there" if error.errno in ROOM else "make it writable"
    return f"{place}{error.strerror}; {mend} or set LEUKEMIA_CACHE to another disk, then {AGAIN}"


def _of_store(error: Exception) -> str:
    if isinstance(error, sqlite3.Error):
        return f"a database: {first_line(error)}; {AGAIN}"
    if type(error).__module__.split(".")[0] not in OF_STORES:
        return ""
    text = first_line(error)
    if getattr(error, "error_code", "") == "PERMISSION_DENIED":
        return f"the tracking server does not allow this: {text}"
    return f"the tracking store: {_known(text)}; look after it, then {AGAIN}"


def _known(text: str) -> str:
    for words, meaning in (
        ("database is locked", "its SQLite database is locked by another process"),
        ("disk is full", "its disk is full"),
        ("readonly database", "its database may not be written"),
        ("Connection refused", "it does not answer"),
    ):
        if words in text:
            return meaning
    return text[:300]
