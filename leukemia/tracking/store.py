"""The SQLite database of a project's runs: made whole or not at all, and never changed by reading.

MLflow makes its tables in some 60 steps, each kept at once, in whatever process opens a database
first. Two at a time, or one that is killed, leave half of it, which no later start mends. Of an
older MLflow's database it makes a newer one while it opens it, with no copy. So what opens a
database here looks first (`hold_to_ready`), and `mend` works on a copy.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from urllib.parse import quote, unquote

import mlflow
from filelock import FileLock

from leukemia.errors import UserError, first_line

UNFINISHED = "_alembic_tmp_"  # begins the name of a table that a step was filling when it ended
VERSION = "alembic_version"  # the table that notes the revision
BESIDE = ("-journal", "-wal", "-shm")  # end the names of SQLite's own files beside a database
# What a step has made before it ended, as MLflow's next try at the same step meets it, and how that
# is undone. Such a step has filled nothing yet: rows come in one transaction with its end.
UNDO = (
    (r"duplicate column name.*ALTER TABLE (\w+) ADD COLUMN (\w+)", "alter table {} drop column {}"),
    (r"index (\w+) already exists", "drop index {}"),
    (r"table (\w+) already exists", "drop table {}"),
)
SQLITE = "sqlite:///"  # begins the address of a file
LOCKED_S = 20  # to wait for another process, as MLflow does
RECORDS = ("runs", "registered_models", "logged_models")  # what somebody would miss
MEND = "`leukemia store` (or `python -m entrypoints.store`)"


class State(Enum):
    """How far a database is."""

    NONE = "no tables"
    HALF = "half-made"
    OLDER = "of an older MLflow"
    NEWER = "of a newer MLflow"
    READY = "ready"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a database was seen to be, unchanged by that.

    revision: of its tables, "" where none is noted. records: runs and models in it.
    """

    state: State
    revision: str = ""
    records: int = 0


def address() -> str:
    """Where runs are kept, as MLflow is told: MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`."""
    return str(mlflow.get_tracking_uri())


def of(uri: str) -> Path | None:
    """The file of an SQLite address, in which blanks and the like are written as %20; None for a
    server's."""
    return Path(unquote(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """No other of this project's commands makes or mends the database meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        yield


def look(file: Path) -> Look:
    """Read how far a database is.

    Raises:
        UserError: it is no SQLite database, or another process has locked it.
    """
    if not file.exists():
        return Look(state=State.NONE)
    place = f"{file.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(place, timeout=LOCKED_S, uri=True)) as base:
            return _seen(base)
    except sqlite3.Error as error:
        raise UserError(
            f"{file} cannot be read as an SQLite database ({first_line(error)}); wait for what "
            f"else is using it, or name another in MLFLOW_TRACKING_URI"
        ) from error


def hold_to_ready(file: Path) -> None:
    """Refuse to open a database that MLflow could not use, or would change by opening it.

    Raises:
        UserError: it is half-made, or another version of MLflow has made it.
    """
    seen = look(file)
    if seen.state is State.HALF:
        raise UserError(
            f"{file} is half-made: a process ended, or two began, while MLflow made its tables; "
            f"{MEND} finishes it and keeps what is in it"
        )
    if seen.state is State.OLDER:
        raise UserError(
            f"{file} was written by an older MLflow than this one, {mlflow.__version__}, or is not "
            f"finished (its tables are of {_age(seen.revision)}); {MEND} upgrades it on a copy"
        )
    if seen.state is State.NEWER:
        raise UserError(_of_newer(file, seen))


def mend(file: Path) -> str:
    """Make the database, or finish or upgrade it on a copy that takes its place only when whole.

    Returns:
        What was done, in a line; the old file lies beside it.

    Raises:
        UserError: it cannot be done; nothing was changed.
    """
    with alone(file):
        seen = look(file)
        if seen.state is State.READY:
            return f"{file} is ready: {_counted(seen)}"
        if seen.state is State.NEWER:
            raise UserError(_of_newer(file, seen))
        fresh = file.with_name(f"{file.name}.new")
        try:
            return _made(file, fresh) if seen.state is State.NONE else _mended(file, fresh, seen)
        except UserError:
            raise
        except Exception as error:  # of MLflow's scripts, SQLite or the disk
            raise UserError(f"{file} is as it was: {first_line(error)}") from error
        finally:
            _remove(fresh)


def _seen(base: sqlite3.Connection) -> Look:
    tables = _tables(base)
    if not tables:
        return Look(state=State.NONE)
    rows = [*base.execute("select version_num from alembic_version")] if VERSION in tables else []
    revision = rows[0][0] if rows else ""
    records = sum(
        base.execute(f"select count(*) from {name}").fetchone()[0]
        for name in RECORDS
        if name in tables
    )
    known = _scripts()
    if any(name.startswith(UNFINISHED) for name in tables) or not revision:
        state = State.HALF
    elif revision == known[0]:
        state = State.READY
    else:
        state = State.OLDER if revision in known else State.NEWER
    return Look(state=state, revision=revision, records=records)


def _tables(base: sqlite3.Connection) -> set[str]:
    return {name for (name,) in base.execute("select name from sqlite_master where type = 'table'")}


def _scripts() -> list[str]:
    """The revisions that this MLflow knows, its own first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config(""))
    return [each.revision for each in script.walk_revisions()]


def _age(revision: str) -> str:
    """When MLflow's makers wrote a revision, and its name."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config("")).get_revision(revision)
    lines = script.longdoc.splitlines() + (script.module.__doc__ or "").splitlines()
    dates = [line.split(": ")[1][:10] for line in lines if line.startswith("Create Date: ")]
    return f"{dates[0]}, {revision}" if dates else revision


def _of_newer(file: Path, seen: Look) -> str:
    return (
        f"{file} was written by a newer MLflow (this one, {mlflow.__version__}, does not know its "
        f"tables, {seen.revision}); update the environment, or name another in MLFLOW_TRACKING_URI"
    )


def _counted(seen: Look) -> str:
    return f"{seen.records} runs and models"


def _made(file: Path, fresh: Path) -> str:
    _remove(fresh)
    _migrate(fresh)
    fresh.replace(file)
    return f"{file} is made"


def _mended(file: Path, fresh: Path, seen: Look) -> str:
    """Finish a copy; where that fails and nothing would be missed, make a fresh one."""
    try:
        _copy(file, fresh)
        _finish(fresh)
        if look(fresh) != Look(state=State.READY, revision=_scripts()[0], records=seen.records):
            raise UserError("the finished copy does not hold what the old one does")
    except Exception as error:  # of MLflow's scripts, whatever they meet
        if seen.records:
            raise UserError(
                f"{file} cannot be finished ({first_line(error)}) and is as it was; it holds "
                f"{_counted(seen)}: restore a backup of it, or take another in MLFLOW_TRACKING_URI"
            ) from error
        _remove(fresh)
        _migrate(fresh)
    kept = replaced(file, fresh)
    return f"{file} was {seen.state.value} and is ready: {_counted(seen)}; as it was: {kept}"


def _copy(file: Path, fresh: Path) -> None:
    """A copy as of one moment, without what a step left that was not finished: the table that it
    was to replace is still there, since SQLite drops and renames in one transaction."""
    _remove(fresh)
    with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(fresh)) as new, new:
        old.backup(new)
        names = [
            name for (name,) in new.execute("select name from sqlite_master where type='table'")
        ]
        for name in names:
            if name.startswith(UNFINISHED):
                whole = name.removeprefix(UNFINISHED) in names
                new.execute(
                    f'drop table "{name}"'
                    if whole
                    else f'alter table "{name}" rename to "{name.removeprefix(UNFINISHED)}"'
                )


def _finish(file: Path) -> None:
    """Bring a copy to this MLflow's tables, undoing what an unfinished step has made."""
    undone: set[str] = set()
    while True:
        try:
            return _migrate(file)
        except Exception as error:  # of MLflow's scripts, whatever they meet
            undo = _undo(str(error))
            if not undo or undo in undone:
                raise
            undone.add(undo)
            with closing(sqlite3.connect(file)) as base, base:
                _hold_to_empty(base, undo)
                base.execute(undo)


def _undo(said: str) -> str:
    """The statement that undoes what an error complains of, "" where none does."""
    for pattern, statement in UNDO:
        if match := re.search(pattern, said, re.DOTALL):
            return statement.format(*match.groups())
    return ""


def _hold_to_empty(base: sqlite3.Connection, undo: str) -> None:
    *words, name = undo.split()
    if words == ["drop", "table"] and base.execute(f"select 1 from {name} limit 1").fetchone():
        raise UserError(f"the table {name} is there before its time, with rows")


def _migrate(file: Path) -> None:
    """Bring a database, or a file that is not there yet, to this MLflow's tables."""
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(SQLITE + quote(str(file.absolute())))
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()


@contextmanager
def copied(file: Path, fresh: Path) -> Iterator[sqlite3.Connection]:
    """A copy as of one moment, to be changed in the block and kept only where that ends well."""
    _remove(fresh)
    try:
        with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(fresh)) as new, new:
            old.backup(new)
            yield new
    except BaseException:
        _remove(fresh)
        raise


def replaced(file: Path, fresh: Path) -> Path:
    """Put a copy in the file's place; where the old one lies now."""
    kept = _keep(file)
    fresh.replace(file)
    return kept


def _keep(file: Path) -> Path:
    """The old file under a name with the date, beside it."""
    kept = file.with_name(f"{file.name}.{datetime.now():%Y-%m-%dT%H%M%S}")
    try:
        os.link(file, kept)
    except OSError:  # a disk that knows no links
        shutil.copy2(file, kept)
    for ending in BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{file}{ending}").replace(f"{kept}{ending}")
    return kept


def _remove(file: Path) -> None:
    for ending in ("", *BESIDE):
        with suppress(FileNotFoundError):
            Path(f"{file}{ending}").unlink()
