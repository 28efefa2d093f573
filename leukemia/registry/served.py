"""A registered classifier, loaded and ready to be asked."""

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from leukemia.cells import Scores
from leukemia.data.store import Geometry, read_image
from leukemia.errors import UserError
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.images import Images

if TYPE_CHECKING:  # Keras takes seconds to import, and only `load` needs it
    import keras

DIGEST = "sha256"  # tag of a version: of the model's files as the gate saw them


@dataclass(frozen=True, kw_only=True)
class Served:
    """A registered classifier and what is needed to use it.

    model: (n, side, side, 3) uint8 -> (n, 1) probability of `positive`, which is called from
    `threshold` on. about: one line. name, version: in the registry; of an unregistered model its
    URI and "". protocol: how its figures were measured. card: Markdown.
    """

    model: "keras.Model"
    geometry: Geometry
    positive: str
    negative: str
    about: str
    name: str
    version: str
    threshold: float
    protocol: str
    card: str


def load(uri: str) -> Served:
    """A classifier and its geometry from a model URI; Keras' safe mode, no foreign code.

    Raises:
        UserError: there is no such model, it is no classifier of this project, or its files are
            not those that were registered.
    """
    import mlflow.keras

    try:
        registered = _registered(uri)
        with tempfile.TemporaryDirectory() as folder:
            place = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            digest = _digest(Path(place))
            metadata = mlflow.models.Model.load(place).metadata or {}
            if registered and registered.tags.get(DIGEST, digest) != digest:
                raise UserError(
                    f"model '{uri}' is not what was registered: its files in the store were "
                    f"changed since; rollback to another version, and restore the store from a "
                    f"backup"
                )
            model = mlflow.keras.load_model(place)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"model '{uri}' cannot be loaded ({str(error).splitlines()[0]}); register one with "
            f"mlflow run . -e register, or give the URI of a logged model"
        ) from error
    if not {"crop", "image_size", "positive", "negative"} <= set(metadata):
        raise UserError(f"model '{uri}' was not logged by this project: its crop is not known")
    threshold = metadata.get("threshold", THRESHOLD)  # of the run; models of old have none
    if registered:
        threshold = registered.tags.get("threshold", threshold)
    return Served(
        model=model,
        geometry=Geometry(crop=metadata["crop"], size=metadata["image_size"]),
        positive=metadata["positive"],
        negative=metadata["negative"],
        about=f"{uri}: {metadata['technique']}; {metadata['cells']}. {metadata['protocol']}",
        name=registered.name if registered else uri,
        version=str(registered.version) if registered else "",
        threshold=float(threshold),
        protocol=metadata["protocol"],
        card=(registered and registered.description) or metadata["protocol"],
    )


def digest_of(uri: str) -> str:
    """SHA-256 of a model's files in the store, "" where they cannot be read."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _digest(Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder)))
    except Exception:  # the gate says what is missing
        return ""


def _digest(folder: Path) -> str:
    """SHA-256 of a model's files and their names, without MLflow's note of its registration."""
    sha = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "registered_model_meta":
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            sha.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return sha.hexdigest()


def version_of(uri: str) -> str:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` stands for now, "" for a
    model that is not registered.

    Raises:
        UserError: the registry does not answer or knows no such model.
    """
    try:
        registered = _registered(uri)
    except Exception as error:
        raise UserError(
            f"model '{uri}' is not there ({str(error).splitlines()[0]}); register one with "
            f"mlflow run . -e register"
        ) from error
    return str(registered.version) if registered else ""


def _registered(uri: str) -> ModelVersion | None:
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if not match:
        return None
    client = mlflow.MlflowClient()
    name, alias, version = match.groups()
    if alias:
        return client.get_model_version_by_alias(name, alias)
    return client.get_model_version(name, version)


def called(served: Served, paths: Sequence[Path]) -> pd.DataFrame:
    """One row an image file: path, probability of the positive class, and label."""
    scores = probabilities(served, np.stack([read_image(path, served.geometry) for path in paths]))
    labels = np.where(
        scores.astype(np.float64) >= served.threshold, served.positive, served.negative
    )
    return pd.DataFrame({"path": map(str, paths), "probability": scores, "label": labels})


def probabilities(served: Served, images: Images) -> Scores:
    """(n,) float32: the probability of the positive class for (n, side, side, 3) uint8."""
    from leukemia.model.inference import serving

    return serving(served.model, served.threshold)(images)
