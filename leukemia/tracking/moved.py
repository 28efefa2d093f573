"""A project's folder that was renamed, moved or copied: MLflow notes where artifacts lie in full.

Without mending, runs of before have lost their artifacts, and new ones of the same experiment go to
the old place, or make it anew.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from leukemia.errors import UserError
from leukemia.tracking import store

ARTIFACTS = "mlruns"  # the folder beside a database, where this project keeps artifacts
# Where MLflow's tables note places.
PLACES = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"), ("model_versions", "source"),
    ("model_versions", "storage_location"),
)  # fmt: skip
MEND = "`leukemia store --moved true` (or `python -m entrypoints.store --moved true`)"


def beside(file: Path) -> Path:
    """Where the artifacts of a database's runs are kept."""
    return Path(os.path.abspath(file.parent / ARTIFACTS))


def former(file: Path) -> Path | None:
    """Where a database notes that its artifacts lie, if that is beside another one and there are
    artifacts beside this one; else None."""
    if not file.exists() or not beside(file).is_dir():
        return None
    with closing(sqlite3.connect(file, timeout=store.LOCKED_S)) as base:
        # MLflow's own experiment Default has its place where the first command was started.
        rows = base.execute(
            "select artifact_location from experiments where experiment_id != 0"
        ).fetchall()
    for (location,) in rows:
        place = _of_artifacts(location or "")
        if place and not _same(place, beside(file)):
            return place
    return None


def hold_to_place(file: Path) -> None:
    """Refuse a database whose artifacts are noted elsewhere. Raises UserError."""
    if place := former(file):
        what = "of which this is a copy" if place.is_dir() else "which is not there"
        raise UserError(
            f"the artifacts of {file} are noted at {place}, {what}; where the project's folder was "
            f"moved or copied, {MEND} notes {beside(file)} in its place and keeps the old database"
        )


def mend(file: Path) -> str:
    """Note that the artifacts lie beside the database, in a copy that takes its place.

    Returns:
        What was done, in a line; the old file lies beside it.

    Raises:
        UserError: nothing was moved.
    """
    with store.alone(file):
        old = former(file)
        if old is None:
            raise UserError(f"the artifacts of {file} are noted where they lie: nothing was moved")
        fresh, changed = file.with_name(f"{file.name}.new"), 0
        with store.copied(file, fresh) as base:
            for table, column in PLACES:
                rows = base.execute(f"select rowid, {column} from {table}").fetchall()
                for row, location in rows:
                    if renewed := _renewed(location or "", old, beside(file)):
                        base.execute(
                            f"update {table} set {column} = ? where rowid = ?", (renewed, row)
                        )
                        changed += 1
        kept = store.replaced(file, fresh)
    return f"{file}: {changed} places below {old} are now below {beside(file)}; as it was: {kept}"


def _path(location: str) -> str:
    """The path of a local place, "" of another; as MLflow writes both, with `file:` and without."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return unquote(parts.path)
    return location if location.startswith("/") else ""


def _of_artifacts(location: str) -> Path | None:
    path = _path(location)
    before, found, _ = f"{path}/".rpartition(f"/{ARTIFACTS}/")
    return Path(f"{before}/{ARTIFACTS}") if found else None


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _renewed(location: str, old: Path, new: Path) -> str:
    """The place below `new` that a place below `old` becomes, in the same form; "" of another."""
    path = _path(location)
    if not f"{path}/".startswith(f"{old}/"):
        return ""
    moved = Path(str(new) + path.removeprefix(str(old)))
    return moved.as_uri() if urlsplit(location).scheme == "file" else str(moved)
