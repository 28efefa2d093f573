"""The champion: the best run's classifier as a registered model, and how it is used."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from leukemia import tracking
from leukemia.card import Logged, as_description, card
from leukemia.data.store import Geometry
from leukemia.errors import UserError
from leukemia.evaluation.metrics import THRESHOLD
from leukemia.tracking import MODEL

NAME = "leukemia-classifier"
CHAMPION = "champion"


if TYPE_CHECKING:  # Keras takes seconds to import, and only `load` needs it
    import keras


@dataclass(frozen=True)
class Served:
    """A registered classifier and what is needed to use it.

    model: (n, side, side, 3) uint8 -> (n, 1) probability of `positive`, which is called from
    `threshold` on. about: one line. name, version: in the registry; of an unregistered model its
    URI and "". protocol: how its figures were measured.
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


def register(run_id: str, name: str = NAME, waived: str = "") -> ModelVersion:
    """Register a run's classifier (once) with its card and move the alias `champion` to it.

    The card is the version's description and the run's artifact `model_card.md`.

    Raises:
        UserError: the run logged no model.
    """
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    version = _version_of(client, name, run_id) or _new_version(client, name, run_id)
    text = _card_of(run, waived)
    client.log_text(run_id, text, "model_card.md")
    client.update_model_version(
        name, version.version, as_description(text, f"model_card.md of run {run_id}")
    )
    for key in ("technique", "seed", "fold", "protocol", "data_digest", "synthetic_data", "leaks"):
        client.set_model_version_tag(name, version.version, key, run.data.tags.get(key, ""))
    client.set_model_version_tag(name, version.version, "waived", waived)
    client.set_model_version_tag(name, version.version, "threshold", str(THRESHOLD))
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return client.get_model_version(name, version.version)


def _card_of(run: Run, waived: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        subjects = pd.read_csv(
            tracking.download(run.info.run_id, tracking.SUBJECTS, Path(folder)),
            dtype={"subject": str},
        )
    return card(Logged(run.info.run_id, run.data.tags, run.data.metrics, subjects, waived))


def load(uri: str) -> Served:
    """A classifier and its geometry from a model URI; Keras' safe mode, no foreign code.

    Raises:
        UserError: there is no such model, or it is no classifier of this project.
    """
    import mlflow.keras

    try:
        metadata = mlflow.models.get_model_info(uri).metadata or {}
        model = mlflow.keras.load_model(uri)
    except Exception as error:
        raise UserError(
            f"model '{uri}' cannot be loaded ({str(error).splitlines()[0]}); register one with "
            f"mlflow run . -e register, or give the URI of a logged model"
        ) from error
    if not {"crop", "image_size", "positive", "negative"} <= set(metadata):
        raise UserError(f"model '{uri}' was not logged by this project: its crop is not known")
    registered = _registered(uri)
    return Served(
        model,
        Geometry(metadata["crop"], metadata["image_size"]),
        metadata["positive"],
        metadata["negative"],
        f"{uri}: {metadata['technique']}; {metadata['cells']}. {metadata['protocol']}",
        registered.name if registered else uri,
        str(registered.version) if registered else "",
        float(registered.tags.get("threshold", THRESHOLD)) if registered else THRESHOLD,
        metadata["protocol"],
    )


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
            f"model '{uri}' is not to be found ({str(error).splitlines()[0]}); register one with "
            f"mlflow run . -e register"
        ) from error
    return str(registered.version) if registered else ""


def _registered(uri: str) -> ModelVersion | None:
    found = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if not found:
        return None
    client = mlflow.MlflowClient()
    name, alias, version = found.groups()
    if alias:
        return client.get_model_version_by_alias(name, alias)
    return client.get_model_version(name, version)


def probabilities(served: Served, images: np.ndarray) -> np.ndarray:
    """(n,) float32: the probability of the positive class for (n, side, side, 3) uint8."""
    from leukemia.inference import serving

    return serving(served.model, served.threshold)(images)


def _version_of(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    try:
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    except mlflow.MlflowException:
        return None
    return versions[0] if versions else None


def _new_version(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion:
    models = client.search_logged_models(
        [client.get_run(run_id).info.experiment_id],
        filter_string=f"source_run_id = '{run_id}' and name = '{MODEL}'",
    )
    if not models:
        raise UserError(f"run {run_id} logged no model; train it anew, then register")
    return mlflow.register_model(f"models:/{models[0].model_id}", name)
