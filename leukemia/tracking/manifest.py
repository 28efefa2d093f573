"""What a run left, bound together when it ended, and whether it is still that.

A run's artifacts, metrics and tags lie apart in MLflow, and each could be changed by itself. When a
run ends it writes down the SHA-256 of each file and of its model, its figures, settings and what
they were measured on; the SHA-256 of that list stands in the run's tag `manifest` and, once a
model is registered, in the registry. So one part cannot be exchanged without the others. Who made
the run could still make all of it anew: docs/lab.md says what a registrar looks at.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run

from leukemia.data.files import sha256
from leukemia.errors import UserError, first_line
from leukemia.tracking import MANIFEST

TAG = "manifest"  # of a run and of a version: the SHA-256 of its manifest
PENDING = "pending"  # what the tag says until all that the run left is in the store
LARGEST = 16 * 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """run, model: their IDs. model_sha256: as `registry.reader` takes it. sizes: path -> bytes of
    each artifact. files: path -> SHA-256 of each but pictures by step. metrics, tags, params: what
    the run logged of its outcome, its terms and its settings."""

    run: str
    model: str
    model_sha256: str
    sizes: Mapping[str, int]
    files: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    params: Mapping[str, str]

    @property
    def text(self) -> str:
        """As it is logged."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @property
    def sha256(self) -> str:
        """Of the text."""
        return digest(self.text.encode())


def digests(folder: Path) -> dict[str, str]:
    """Path -> SHA-256 of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def holds(run: Run, text: str) -> Manifest:
    """A run's manifest, where the run is still what it says.

    text: of the run's manifest.json.

    Raises:
        UserError: the run's tag, metrics, tags or settings are others, or it is of another run.
    """
    manifest = _parsed(text)
    if run.data.tags.get(TAG) != digest(text.encode()):
        raise UserError(f"its {MANIFEST} is not the one that it ended with")
    if manifest.run != run.info.run_id:
        raise UserError(f"its {MANIFEST} is of run {manifest.run[:40]}")
    for kind, then, now in (
        ("metric", manifest.metrics, run.data.metrics),
        ("tag", manifest.tags, run.data.tags),
        ("parameter", manifest.params, run.data.params),
    ):
        for name, value in then.items():
            if name not in now or not _same(value, now[name]):
                raise UserError(f"its {kind} {name} was changed after it ended")
    return manifest


def of_run(run: Run) -> Manifest:
    """A run's manifest, fetched, where the run is still what it says.

    Raises:
        UserError: as `holds`, or the run has none.
    """
    if TAG not in run.data.tags:
        raise UserError("it keeps no manifest of what it left; train it anew with this version")
    try:
        text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{MANIFEST}")
    except Exception as error:
        raise UserError(f"its {MANIFEST} is not in the store ({first_line(error)})") from error
    return holds(run, text)


def check(manifest: Manifest, path: str, content: bytes) -> None:
    """That a file is the one that the run wrote.

    Raises:
        UserError: it is another.
    """
    if differs(manifest, path, content):
        raise UserError(f"its file {path} is not the one that it ended with")


def differs(manifest: Manifest, path: str, content: bytes) -> bool:
    """Whether a file is another than the one that the run wrote."""
    return manifest.files.get(path) != digest(content)


def _parsed(text: str) -> Manifest:
    try:
        if len(text) > LARGEST:
            raise ValueError(f"{len(text)} characters")
        values: dict[str, Any] = json.loads(text)
        manifest = Manifest(**values)
        texts = (manifest.run, manifest.model, manifest.model_sha256)
        maps = (manifest.sizes, manifest.files, manifest.metrics, manifest.tags, manifest.params)
        if not all(isinstance(each, str) for each in texts):
            raise ValueError("an ID is no text")
        if not all(isinstance(each, dict) for each in maps):
            raise ValueError("a list is no list")
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"its {MANIFEST} is damaged ({first_line(error)})") from None
    return manifest


def _same(then: object, now: object) -> bool:
    if isinstance(then, float | int) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-9, abs_tol=1e-12)
    return then == now


def digest(content: bytes) -> str:
    """SHA-256, as a manifest has it of each file.

    content: the whole file.
    """
    return hashlib.sha256(content).hexdigest()
