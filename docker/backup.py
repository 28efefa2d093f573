"""Database and store of a lab's server, saved and put back together.

    python docker/backup.py save FOLDER
    python docker/backup.py restore FOLDER

DATABASE_URI, BUCKET, MLFLOW_S3_ENDPOINT_URL and the store's keys as for server.sh; pg_dump and
pg_restore from PG_BIN or PATH. A backup may be made while the server runs: the database is read as
it stood at one moment, and the store after it, where nothing that the database names is missing
(MLflow writes a run's files before it says that the run has ended; a run that is under way may lack
its last ones). FOLDER holds database.dump, objects/ and manifest.json with a count of each table's
rows and a SHA-256 of each object, which restore checks. It is for its owner alone, since it holds
every user's password hash. restore reads nothing outside FOLDER; whose backup it is, though, his
users come with it.
"""

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg import sql

DUMP, OBJECTS, MANIFEST = "database.dump", "objects", "manifest.json"
AT_ONCE = 8  # objects under way
ADMINS = "select username from users where is_admin order by 1"
TABLES = "select table_name from information_schema.tables where table_schema = 'public' order by 1"


def save(folder: Path) -> str:
    """Write a backup; the folder is there only once it is whole."""
    if folder.exists():
        raise SystemExit(f"Error: {folder} is there already; name a new folder")
    os.umask(0o077)
    place = folder.with_name(f"{folder.name}.partial")
    (place / OBJECTS).mkdir(parents=True, exist_ok=True)
    with closing(psycopg.connect(_plain_uri())) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)
        rows = counted(connection)
        _run("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={place / DUMP}",
             _plain_uri())  # fmt: skip
    store, bucket = open_store()
    keys = list(keys_of(store, bucket))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        objects = dict(pool.map(lambda key: _fetch(store, bucket, key, place / OBJECTS), keys))
    manifest = {"rows": rows, "dump": sha256_of(place / DUMP), "objects": objects}
    (place / MANIFEST).write_text(json.dumps(manifest, indent=1))
    place.rename(folder)
    return f"{folder}: {_said(manifest)}; for you alone, since password hashes are in it"


def restore(folder: Path) -> str:
    """Put a backup into an empty database and store, and check all of it."""
    manifest = checked(folder)
    store, bucket = open_store()
    with closing(psycopg.connect(_plain_uri())) as connection:
        there = counted(connection)
    if any(there.get(table) for table in ("runs", "registered_models")) or any(
        True for _ in keys_of(store, bucket)
    ):
        raise SystemExit("Error: the database or the store is not empty; restore into a fresh one")
    _run("pg_restore", "--clean", "--if-exists", "--no-owner", "--exit-on-error",
         f"--dbname={_plain_uri()}", str(folder / DUMP))  # fmt: skip
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(
            lambda key: store.upload_file(str(folder / OBJECTS / key), bucket, key),
            manifest["objects"],
        ):
            pass
        found = dict(pool.map(lambda key: hashed(store, bucket, key), manifest["objects"]))
    with closing(psycopg.connect(_plain_uri())) as connection:
        rows = counted(connection)
        admins = [name for (name,) in connection.execute(ADMINS)] if "users" in rows else []
    if rows != manifest["rows"] or found != manifest["objects"]:
        raise SystemExit("Error: what was restored is not what was saved; nothing was lost there")
    return (
        f"restored and checked: {_said(manifest)}; administrators: {', '.join(map(repr, admins))}"
    )


def counted(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of each table."""
    names = [name for (name,) in connection.execute(TABLES)]
    found = {}
    for name in names:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(name))
        (found[name],) = connection.execute(query).fetchone() or (0,)
    return found


def checked(folder: Path) -> dict[str, Any]:
    """A backup's manifest, where nothing has been damaged since and all lies in its folder."""
    manifest = _manifest(folder)
    wanted = {DUMP: manifest["dump"]} | {
        f"{OBJECTS}/{key}": sha for key, sha in manifest["objects"].items()
    }
    for name in wanted:
        if wrong := outside(folder, name):
            raise SystemExit(
                f"Error: {folder}: {name!r} {wrong}; nothing outside a backup is read: use another"
            )
    bad = [
        name
        for name, sha in wanted.items()
        if not (folder / name).exists() or sha256_of(folder / name) != sha
    ]
    if bad:
        raise SystemExit(
            f"Error: {folder}: {len(bad)} files are missing or damaged ({bad[0]}, ...); use "
            f"another backup"
        )
    return manifest


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        if wrong := outside(folder, MANIFEST):
            raise ValueError(f"{MANIFEST} {wrong}")
        manifest = json.loads((folder / MANIFEST).read_text())
        if not (
            isinstance(manifest["dump"], str)
            and all(isinstance(each, str) for each in manifest["objects"].values())
            and all(isinstance(each, int) for each in manifest["rows"].values())
        ):
            raise ValueError(f"{MANIFEST} is none of ours")
        return manifest
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"Error: {folder} is no whole backup ({error})") from None


def outside(folder: Path, name: str) -> str | None:
    """Why a file of somebody else's folder may not be read: it leads, or may lead, out of there.

    Args:
        folder: Which is trusted as a place, whatever is in it.
        name: A path below it, with slashes; a file that is not there leads nowhere.
    """
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in name:
        return "is no plain path below it"
    try:
        for place in (folder.joinpath(*parts[: depth + 1]) for depth in range(len(parts))):
            there = place.lstat()
            if stat.S_ISLNK(there.st_mode):
                return "is, or lies behind, a symbolic link"
        if not stat.S_ISREG(there.st_mode):
            return "is no file"
        if there.st_nlink > 1:
            return "is a hard link, the same file as one elsewhere"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"can be no file ({error})"
    return None


def open_store() -> tuple[Any, str]:
    """The store's client and the bucket, made if it is not there."""
    store = boto3.client(
        "s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"],
        region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    )  # fmt: skip
    bucket = os.environ["BUCKET"]
    if bucket not in [each["Name"] for each in store.list_buckets()["Buckets"]]:
        store.create_bucket(Bucket=bucket)
    return store, bucket


def keys_of(store: Any, bucket: str) -> Iterable[str]:
    """Of every object."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", []):
            yield each["Key"]


def empty(store: Any, bucket: str) -> None:
    """Remove every object."""
    for key in list(keys_of(store, bucket)):
        store.delete_object(Bucket=bucket, Key=key)


def _fetch(store: Any, bucket: str, key: str, folder: Path) -> tuple[str, str]:
    file = folder / key
    if wrong := outside(folder, key):
        raise SystemExit(f"Error: an object is called {key!r}, which {wrong}")
    file.parent.mkdir(parents=True, exist_ok=True)
    store.download_file(bucket, key, str(file))
    return key, sha256_of(file)


def hashed(store: Any, bucket: str, key: str) -> tuple[str, str]:
    """An object's key and SHA-256, as the store gives it back."""
    sha = hashlib.sha256()
    for part in store.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(2**20):
        sha.update(part)
    return key, sha.hexdigest()


def sha256_of(file: Path) -> str:
    """Of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _plain_uri() -> str:
    return os.environ["DATABASE_URI"].replace("postgresql+psycopg:", "postgresql:")


def _run(tool: str, *words: str) -> None:
    place = os.environ.get("PG_BIN")
    done = subprocess.run(
        [f"{place}/{tool}" if place else tool, *words], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"Error: {tool}: {(done.stderr.strip().splitlines() or ['?'])[0]}")


def _said(manifest: dict[str, Any]) -> str:
    return (
        f"{sum(manifest['rows'].values())} rows of {len(manifest['rows'])} tables, "
        f"{manifest['rows'].get('runs', 0)} runs, {len(manifest['objects'])} objects"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("save", "restore"):
        sys.exit(__doc__)
    print({"save": save, "restore": restore}[sys.argv[1]](Path(sys.argv[2])))
