"""A registered classifier, loaded and ready to be asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from leukemia.cells import Scores
from leukemia.data.decoding import read_image
from leukemia.data.geometry import CHOICES, Geometry
from leukemia.data.named import refuse_name
from leukemia.errors import UserError, first_line
from leukemia.evaluation.predictions import THRESHOLD
from leukemia.images import Images
from leukemia.registry.confined import ConfinedModel
from leukemia.text.escape import visible
from leukemia.tracking.logged_model import fetched

DIGEST = "sha256"  # tag of a version: of the model's files as the gate saw them


@dataclass(frozen=True, kw_only=True)
class Served:
    """A registered classifier and what is needed to use it.

    model: answers with the probability of `positive`, which is called from `threshold` on. about:
    one line. name, version: in the registry; of an unregistered model its URI and "". protocol: how
    its figures were measured. card: Markdown.
    """

    model: ConfinedModel
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
    """A classifier and its geometry from a model URI, its network in a process of its own.

    Raises:
        UserError: there is no such model, it is no classifier of this project, or its files are
            not those that were registered.
    """
    try:
        registered = _registered(uri)
        with fetched(uri) as logged:
            if registered and DIGEST not in registered.tags:
                raise UserError("it was registered otherwise than by `register`; register its run")
            if registered and registered.tags[DIGEST] != logged.digest:
                raise UserError(
                    "it is not what was registered: its files in the store were changed since; "
                    "rollback to another version, and restore the store from a backup"
                )
            model = ConfinedModel(logged.network)
    except UserError as error:
        raise UserError(f"model '{uri}' cannot be loaded: {error}") from error.__cause__
    except Exception as error:
        raise UserError(
            f"model '{uri}' cannot be loaded ({first_line(error)}); register one with "
            f"mlflow run . -e register, or give the URI of a logged model"
        ) from error
    about = logged.about
    threshold = about.get("threshold", THRESHOLD)  # of the run; models of old have none
    if registered:
        threshold = registered.tags.get("threshold", threshold)
    return Served(
        model=model,
        geometry=geometry_of(about),
        positive=about["positive"],
        negative=about["negative"],
        about=f"{uri}: {about['technique']}; {about['cells']}. {about['protocol']}",
        name=registered.name if registered else uri,
        version=str(registered.version) if registered else "",
        threshold=float(threshold),
        protocol=about["protocol"],
        card=(registered and registered.description) or about["protocol"],
    )


def geometry_of(about: Mapping[str, Any]) -> Geometry:
    """How a logged model's cells were cut out; what older models do not say is as usual.

    Raises:
        UserError: it is said in a way that this version does not know.
    """
    more = {name: about[name] for name in CHOICES if name in about}
    return Geometry(crop=about["crop"], size=about["image_size"], **more)


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
            f"model '{uri}' is not there ({first_line(error)}); register one with "
            f"mlflow run . -e register"
        ) from error
    return str(registered.version) if registered else ""


def _registered(uri: str) -> ModelVersion | None:
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([^/@]+))", uri)
    if not match:
        return None
    client = mlflow.MlflowClient()
    name, alias, version = match.groups()
    if alias:
        return client.get_model_version_by_alias(name, alias)
    if version.lower() == "latest":
        found = client.search_model_versions(f"name = '{name}'")
        return max(found, key=lambda each: int(each.version), default=None) or _none(name)
    if not version.isdecimal():
        raise UserError(f"'{version}' is no version of {name}; give a number, latest or @ALIAS")
    return client.get_model_version(name, version)


def _none(name: str) -> ModelVersion:
    raise UserError(f"{name} has no version")


def called(served: Served, paths: Sequence[Path]) -> pd.DataFrame:
    """One row an image file: path, probability of the positive class, label, and as `error` why
    there are none, "" where there are. A file that cannot be read keeps no other from its answer.
    """
    images, errors = [], []
    for path in paths:
        try:
            refuse_name(path)
            images.append(read_image(path, served.geometry))
            errors.append("")
        except UserError as error:
            errors.append(str(error).removeprefix(f"{path}: "))
    rows = pd.DataFrame(
        {"path": [visible(str(path)) for path in paths], "probability": np.nan, "label": ""}
    ).assign(error=errors)
    if images:
        there = rows["error"] == ""
        scores = probabilities(served, np.stack(images)).astype(np.float64)
        rows.loc[there, "probability"] = scores
        rows.loc[there, "label"] = np.where(
            scores >= served.threshold, served.positive, served.negative
        )
    return rows


def probabilities(served: Served, images: Images) -> Scores:
    """(n,) float32: the probability of the positive class for (n, side, side, 3) uint8."""
    return served.model.served(images, served.threshold)
