"""Move a project from SQLite and a folder to a lab's server: runs, metrics, artifacts, models.

    python docker/migrate.py mlflow.db [ARTIFACTS]

DATABASE_URI, BUCKET, MLFLOW_S3_ENDPOINT_URL and the store's keys as for server.sh; the database and
the store are empty, and no server runs on them. The project is only read (of an older version, a
copy of its database is brought up to date first). Every row keeps its ID; only the places of
artifacts change. Rows are counted and hashed on both sides, files hashed.

The project may be somebody else's. So files are taken from ARTIFACTS alone, the folder mlruns
beside the database unless it is named, links are not followed, and only experiments, runs and
models are moved: no users, and nothing by which the server would call or read other places.
"""

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import backup
import sqlalchemy as sa

ROOT = "artifacts"  # what server.sh puts before every artifact in the bucket
ROWS = 1000  # at once
MOVED = {("runs", "artifact_uri"), ("logged_models", "artifact_location"),
         ("model_versions", "storage_location"), ("model_versions", "source")}  # fmt: skip
TABLES = [
    "experiments", "experiment_tags", "runs", "params", "metrics", "latest_metrics", "tags",
    "datasets", "inputs", "input_tags", "logged_models", "logged_model_metrics",
    "logged_model_params", "logged_model_tags", "registered_models", "registered_model_tags",
    "registered_model_aliases", "model_versions", "model_version_tags",
]  # fmt: skip
# Versions of MLflow's tables, and the workspace that a fresh database has as well.
UNNAMED = {"alembic_version", "workspaces"}
IDENTIFIER = re.compile(r"[\w-]+")
# What a model version may come from besides a folder, as the server itself resolves it.
RESOLVED = re.compile(r"(?:models|runs):/[\w-]+(?:/(?!\.{1,2}(?:/|$))[^/]+)*")


def migrate(database: Path, artifacts: Path | None = None) -> str:
    """Move the project; a line with what was moved and checked."""
    if not database.is_file():
        raise SystemExit(f"Error: {database}: no such file; name the project's mlflow.db")
    mlruns = chosen(database, artifacts)
    try:
        return _migrate(database, mlruns)
    except (sqlite3.Error, sa.exc.SQLAlchemyError, LookupError, TypeError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise SystemExit(f"Error: {database} is not as MLflow makes it ({first})") from None


def _migrate(database: Path, mlruns: Path) -> str:
    engine = sa.create_engine(os.environ["DATABASE_URI"])
    store, bucket = backup.open_store()
    _made(os.environ["DATABASE_URI"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mlflow.db"
        with closing(sqlite3.connect(database)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)  # whole, also while somebody writes
        _upgraded(copy)
        with closing(sqlite3.connect(copy)) as old, engine.begin() as new:
            old.row_factory = sqlite3.Row
            _need_empty(new, any(True for _ in backup.keys_of(store, bucket)))
            places, files = taken(old, mlruns)
            try:
                _upload(store, bucket, files)
                counts = _copy(old, new, places)
            except BaseException:  # the database takes back its part by itself
                backup.empty(store, bucket)
                raise
            left = [f"{rows} rows of {name}" for name, rows in _left(old)]
    return (
        f"moved and checked: {sum(counts.values())} rows of {len(counts)} tables "
        f"({counts['runs']} runs, {counts['metrics']} metric values, {counts['model_versions']} "
        f"model versions, {counts['registered_model_aliases']} aliases), {len(files)} files"
        + (f"; not moved: {', '.join(left)}" if left else "")
    )


def taken(old: sqlite3.Connection, mlruns: Path) -> tuple[dict[str, str], list[tuple[Path, str]]]:
    """Where artifacts lie now and will lie, and each file with its key; all of it below mlruns."""
    places = dict(_places(old))
    for here in places:
        _need_inside(here, mlruns)
    return places, [each for here, there in places.items() for each in _files(Path(here), there)]


def chosen(database: Path, artifacts: Path | None) -> Path:
    """The folder from which files may be taken, itself no link unless somebody named it."""
    if artifacts is not None:
        if not artifacts.is_dir():
            raise SystemExit(f"Error: {artifacts}: no such folder; name the one of the artifacts")
        return artifacts.resolve()
    place = database.resolve().parent / "mlruns"
    if place.is_symlink():
        raise SystemExit(
            f"Error: {place} is a link to {place.resolve()}; if that is right, name it after the "
            f"database"
        )
    return place


def _need_inside(here: str, mlruns: Path) -> None:
    """Refuse artifacts that lie elsewhere, by name or behind links: nothing is moved then."""
    place = Path(here).resolve()
    if place == mlruns or not place.is_relative_to(mlruns):
        raise SystemExit(
            f"Error: the database says that artifacts lie at {here!r}, which is not below "
            f"{mlruns}; nothing was moved: if they are yours, name their folder after the database"
        )


def _upload(store: Any, bucket: str, files: list[tuple[Path, str]]) -> None:
    """Send the files, then compare each with what the store gives back."""
    with ThreadPoolExecutor(backup.AT_ONCE) as pool:
        for _ in pool.map(lambda each: store.upload_file(str(each[0]), bucket, each[1]), files):
            pass
        came = pool.map(lambda each: backup.hashed(store, bucket, each[1]), files)
        wrong = [
            key
            for (file, key), (_, sha) in zip(files, came, strict=True)
            if backup.sha256_of(file) != sha
        ]
    if wrong:
        raise SystemExit(
            f"Error: {len(wrong)} files came out otherwise ({wrong[0]}, ...); nothing was moved"
        )


def _need_empty(new: sa.Connection, objects: bool) -> None:
    runs = new.execute(sa.text("select count(*) from runs")).scalar()
    models = new.execute(sa.text("select count(*) from registered_models")).scalar()
    if runs or models or objects:
        raise SystemExit(
            f"Error: the server's database has {runs} runs and {models} models"
            f"{' and its store has files' if objects else ''}; move into a fresh one"
        )


def _places(old: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Where artifacts lie now and where they will; a local place as its path."""
    runs = "select artifact_uri, experiment_id, run_uuid from runs"
    for uri, *names in old.execute(runs):
        yield _path(uri), "mlflow-artifacts:/{}/{}/artifacts".format(*map(_identifier, names))
    models = "select artifact_location, experiment_id, model_id from logged_models"
    for uri, *names in old.execute(models):
        place = "mlflow-artifacts:/{}/models/{}/artifacts"
        yield _path(uri), place.format(*map(_identifier, names))


def _identifier(value: Any) -> str:
    if not isinstance(value, str | int) or not IDENTIFIER.fullmatch(str(value)):
        raise ValueError(f"{value!r} is no ID")
    return str(value)


def _path(uri: Any) -> str:
    """A local place as an absolute path."""
    parts = urllib.parse.urlparse(uri if isinstance(uri, str) else "none:")
    if parts.scheme not in ("", "file"):
        raise SystemExit(
            f"Error: artifacts lie at {uri!r}: only a project with local ones is moved"
        )
    return os.path.abspath(urllib.parse.unquote(parts.path))


def _files(folder: Path, place: str) -> Iterator[tuple[Path, str]]:
    below = place.removeprefix("mlflow-artifacts:/")
    for file in sorted(folder.rglob("*")):
        if file.is_dir() and not file.is_symlink():
            continue
        name = file.relative_to(folder).as_posix()
        if wrong := backup.outside(folder, name):
            raise SystemExit(
                f"Error: {str(file)!r} {wrong}; nothing was moved: put the file itself there, or "
                f"take it away"
            )
        yield file, f"{ROOT}/{below}/{name}"


def _copy(old: sqlite3.Connection, new: sa.Connection, places: dict[str, str]) -> dict[str, int]:
    """Copy every table, then compare counts and hashes; rows of each."""
    tables = sa.MetaData()
    tables.reflect(new)
    new.execute(sa.text("set session_replication_role = replica"))  # rows in any order
    there = {name for (name,) in old.execute("select name from sqlite_master where type = 'table'")}
    counts = {}
    for name, table in tables.tables.items():
        if name not in TABLES or name not in there:
            continue
        new.execute(table.delete())  # of the rows that a fresh database is given
        rows = list(_rows(old, table, places))
        for start in range(0, len(rows), ROWS):
            new.execute(table.insert(), rows[start : start + ROWS])
        found = [dict(row._mapping) for row in new.execute(table.select())]
        if _hash(found) != _hash(rows):
            raise SystemExit(f"Error: table {name} came out otherwise; nothing was moved")
        counts[name] = len(rows)
        _set_sequences(new, table)
    return counts


def _rows(
    old: sqlite3.Connection, table: sa.Table, places: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for row in old.execute(f'select * from "{table.name}"'):
        copied = {key: moved(table, key, row[key], places) for key in row.keys()}  # noqa: SIM118
        if table.name == "experiments":
            copied["artifact_location"] = f"mlflow-artifacts:/{copied['experiment_id']}"
        yield copied


def moved(table: sa.Table, key: str, value: Any, places: dict[str, str]) -> Any:
    """A row's value as it will be."""
    kind = table.columns[key].type
    if value is None:
        return None
    if isinstance(kind, sa.Boolean):
        return bool(value)
    if isinstance(kind, sa.JSON):
        return json.loads(value) if isinstance(value, str) else value
    if (table.name, key) in MOVED and not RESOLVED.fullmatch(value):
        return _moved(_path(value), places)
    return value


def _moved(path: str, places: dict[str, str]) -> str:
    """Where a local path will be, which may lie below one of the places."""
    for here, there in places.items():
        if path == here or path.startswith(f"{here}/"):
            return there + path[len(here) :]
    raise SystemExit(
        f"Error: the files of a model version are said to lie at {path!r}, where no run or model "
        f"of the project is; nothing was moved: delete that version first"
    )


def _left(old: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Tables that have rows and are not moved."""
    query = "select name from sqlite_master where type = 'table' and name not like 'sqlite%'"
    for (name,) in old.execute(query).fetchall():
        (rows,) = old.execute(f'select count(*) from "{name}"').fetchone()
        if rows and name not in {*TABLES, *UNNAMED}:
            yield name, rows


def _hash(rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """How many rows, and a sum of their hashes: the same in any order."""
    number = total = 0
    for row in rows:
        said = json.dumps({key: row[key] for key in sorted(row)}, default=_plain)
        total += int.from_bytes(hashlib.sha256(said.encode()).digest())
        number += 1
    return number, total % 2**256


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes | memoryview) else str(value)


def _set_sequences(new: sa.Connection, table: sa.Table) -> None:
    for column in table.primary_key.columns:
        if isinstance(column.type, sa.Integer):
            query = "select pg_get_serial_sequence(:table, :column)"
            sequence = new.execute(
                sa.text(query), {"table": f'"{table.name}"', "column": column.name}
            ).scalar()
            if sequence:
                last = new.execute(sa.select(sa.func.max(column))).scalar()
                new.execute(
                    sa.text("select setval(:sequence, :last, :any)"),
                    {"sequence": sequence, "last": last or 1, "any": last is not None},
                )


def _made(uri: str) -> None:
    """An empty database's tables, as a server would make them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, "mlflow-artifacts:/")


def _upgraded(file: Path) -> None:
    """Bring a project's database up to this version of MLflow."""
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{file}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise SystemExit(f"Error: the project is not to be brought up to date: {last}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(migrate(*map(Path, sys.argv[1:])))
