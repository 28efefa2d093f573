"""Only what this project writes is read of a logged model, and nothing of it is run or followed."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from leukemia.data.geometry import Geometry
from leukemia.errors import UserError
from leukemia.model.backbones import BACKBONES
from leukemia.registry.served import geometry_of
from leukemia.tracking import logged_model
from leukemia.tracking.logged_model import BESIDE, DESCRIPTION, NETWORK, read


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as a run leaves it, with a miniature network."""
    from leukemia.model.classifier import ModelConfig, build

    folder = tmp_path_factory.mktemp("logged")
    (folder / "data").mkdir()
    config = ModelConfig(backbone="miniature", weights="none", size=32)
    build(config, 0).model.save(folder / NETWORK)
    for name in BESIDE:
        (folder / name).write_text("as MLflow writes it")
    (folder / DESCRIPTION).write_text(yaml.safe_dump(description()))
    return folder


def description() -> dict[str, Any]:
    return {
        "artifact_path": "file:///store/models/m-1/artifacts",
        "flavors": {
            "keras": {"data": "data", "keras_backend": "tensorflow", "keras_version": "3.15.1",
                      "save_exported_model": False},
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.keras", "python_version": "3.13.0",
            },
        },
        "metadata": {"positive": "all", "negative": "hem", "crop": 210, "image_size": 32,
                     "threshold": 0.5, "technique": "baseline", "cells": "90 cells",
                     "protocol": "subject", "use": "Research use only"},
        "mlflow_version": "3.17.2", "model_id": "m-1", "run_id": "1" * 32,
    }  # fmt: skip


@pytest.fixture
def copy(logged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(logged, tmp_path / "copy"))


def test_how_images_became_squares_is_read_back_and_older_models_have_the_usual() -> None:
    usual = description()["metadata"]
    assert geometry_of(usual) == Geometry(crop=210, size=32)
    unusual = Geometry(crop=210, size=32, fit="pad", background="white", depth=12, stain="reinhard")
    assert geometry_of(usual | unusual.unusual) == unusual
    assert geometry_of(usual | Geometry(crop=210, size=32).unusual) == Geometry(crop=210, size=32)


def test_what_a_run_leaves_is_read(copy: Path) -> None:
    model = read(copy)
    assert model.about["positive"] == "all"
    assert model.network == copy / NETWORK
    assert len(model.digest) == 64


@pytest.mark.parametrize("name", [DESCRIPTION, NETWORK, *sorted(BESIDE)])
def test_the_digest_is_over_every_file(copy: Path, name: str) -> None:
    before = read(copy).digest
    if name == NETWORK:
        with zipfile.ZipFile(copy / name, "a") as parts:
            parts.comment = b"another"
    else:
        with (copy / name).open("a") as file:
            file.write("\n")
    assert read(copy).digest != before


def test_a_note_of_mlflow_s_is_neither_read_nor_counted(copy: Path) -> None:
    before = read(copy).digest
    (copy / logged_model.NOTE).write_text("model_name: x")
    assert read(copy).digest == before
    into = copy.parent / "into"
    into.mkdir()
    logged_model.copy(copy, into)
    assert not (into / logged_model.NOTE).exists()
    (copy / "data" / logged_model.NOTE).write_text("code of one's own")
    refused(copy, "a file 'data/registered_model_meta', which this project never writes")


def refused(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read(folder)
    assert "\n" not in str(error.value)


def linked(place: Path) -> None:
    (place / "conda.yaml").unlink()
    (place / "conda.yaml").symlink_to("/etc/passwd")


def linked_folder(place: Path) -> None:
    shutil.move(place / "data", place.parent / "else")
    (place / "data").symlink_to(place.parent / "else")


def pipe(place: Path) -> None:
    (place / "conda.yaml").unlink()
    os.mkfifo(place / "conda.yaml")


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file more": (lambda place: (place / "code.py").write_text("import os"), "a file 'code.py'"),
    "a folder more": (lambda place: (place / "code").mkdir(), "a folder 'code'"),
    "saved by TensorFlow": (
        lambda place: (place / "data/saved_model.pb").write_bytes(b"\x08\x01"),
        "a file 'data/saved_model.pb'",
    ),
    "a link": (linked, "'conda.yaml' is a link"),
    "a linked folder": (linked_folder, "'data' is a link"),
    "a pipe": (pipe, "a file 'conda.yaml'"),
    "no network": (lambda place: (place / NETWORK).unlink(), "no file data/model.keras"),
    "no description": (lambda place: (place / DESCRIPTION).unlink(), "no file MLmodel"),
    "a huge description": (
        lambda place: (place / DESCRIPTION).write_text("#" * 70_000),
        "65536 are allowed",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_other_files_are_refused(copy: Path, case: str) -> None:
    change, said = FILES[case]
    change(copy)
    refused(copy, said)


def changed(path: str, value: object) -> dict[str, Any]:
    whole = description()
    *above, last = path.split(".")
    part = whole
    for key in above:
        part = part[key]
    part[last] = value
    return whole


KEYS = {
    "loads a SavedModel": ("flavors.keras.save_exported_model", True, "save_exported_model"),
    "says so with a number": ("flavors.keras.save_exported_model", 0, "save_exported_model"),
    "from outside": ("flavors.keras.data", "/etc", "data: '/etc'"),
    "from above": ("flavors.keras.data", "../other", "data: '../other'"),
    "another loader": ("flavors.python_function.loader_module", "os", "loader_module"),
    "code of its own": ("flavors.python_function.code", "code", "a key 'code'"),
    "a module to import": ("flavors.keras.keras_module", "os", "a key 'keras_module'"),
    "another flavor": ("flavors.sklearn", {"pickled_model": "x"}, "a key 'sklearn'"),
    "another key": ("resources", {}, "a key 'resources'"),
    "a key that is no text": ("metadata", {1: 2}, "a key '1'"),
    "no keys": ("flavors", ["keras"], "no keys and values"),
    "no metadata": ("metadata", None, "no keys and values"),
    "a crop that is no number": ("metadata.crop", "210", "crop is '210'"),
    "a crop that is true": ("metadata.crop", True, "crop is 'True'"),
    "a fit that there is not": ("metadata.fit", "squeeze", "fit is 'squeeze', which is not known"),
    "a stain that is a list": ("metadata.stain", ["none"], "stain is"),
    "a huge size": ("metadata.image_size", 10**6, "image_size is '1000000'"),
    "a threshold beyond": ("metadata.threshold", 2.0, "threshold is '2.0'"),
    "no number": ("metadata.threshold", float("nan"), "threshold is 'nan'"),
    "a name that is none": ("metadata.positive", ["all"], "positive is no text"),
    "a long name": ("metadata.positive", "a" * 3000, "positive is no text of at most 2000"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_other_keys_and_values_are_refused(copy: Path, case: str) -> None:
    path, value, said = KEYS[case]
    (copy / DESCRIPTION).write_text(yaml.safe_dump(changed(path, value)))
    refused(copy, said)


TEXTS = {
    "an object": ("metadata: !!python/object/apply:os.system ['touch ran']", "damaged"),
    "an anchor": ("a: &a [x]\nb: [*a, *a]", "anchors"),
    "a laugh": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmetadata: *c", "anchors"),
    "depth": ("[" * 60_000, "damaged"),
    "no text": ("\ufffe\x00", "damaged"),
    "a date": ("metadata: 9999-99-99", "damaged"),
    "nothing": ("", "no keys and values"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_description_that_is_no_plain_yaml_is_refused(copy: Path, case: str) -> None:
    text, said = TEXTS[case]
    (copy / DESCRIPTION).write_text(text)
    refused(copy, said)
    assert not (copy / "ran").exists()


def with_parts(copy: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """The network's file with other parts."""
    with zipfile.ZipFile(copy / NETWORK) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    change(parts)
    with zipfile.ZipFile(copy / NETWORK, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)


def layer(module: str, name: str, **more: object) -> Callable[[dict[str, bytes]], object]:
    """The first layer becomes another."""

    def change(parts: dict[str, bytes]) -> None:
        config = json.loads(parts["config.json"])
        config["config"]["layers"][1] |= {"module": module, "class_name": name, **more}
        parts["config.json"] = json.dumps(config).encode()

    return change


NETWORKS: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a Lambda": (layer("keras.layers", "Lambda"), "'keras.layers.Lambda'"),
    "a SavedModel": (layer("keras.layers", "TFSMLayer"), "'keras.layers.TFSMLayer'"),
    "of Torch": (layer("keras.layers", "TorchModuleWrapper"), "'keras.layers.TorchModuleWrapper'"),
    "a vocabulary's file": (layer("keras.layers", "StringLookup"), "'keras.layers.StringLookup'"),
    "a class of Python": (layer("os", "system"), "'os.system'"),
    "a class of ours": (
        layer("leukemia.registry.process", "Confined"), "'leukemia.registry.process.Confined'"),
    "under another's name": (
        layer("keras.layers", "Dense", registered_name="Custom>Evil"), "'keras.layers.Dense'"),
    "a function": (layer("builtins", "function"), "'builtins.function'"),
    "a lambda's code": (
        layer("builtins", "__lambda__", config={"value": "4w=="}), "'builtins.__lambda__'"),
    "a part more": (lambda parts: parts.update({"assets/x": b""}), "other parts than"),
    "a path above": (lambda parts: parts.update({"../up": b""}), "other parts than"),
    "a part less": (lambda parts: parts.pop("metadata.json"), "other parts than"),
    "no JSON": (lambda parts: parts.update({"config.json": b"{"}), "damaged"),
    "deep JSON": (lambda parts: parts.update({"config.json": b"[" * 100_000}), "damaged"),
    "a long number": (lambda parts: parts.update({"config.json": b"9" * 5000}), "damaged"),
    "huge JSON": (lambda parts: parts.update({"config.json": b" " * 17 * 2**20}), "16777216 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_of_other_parts_or_classes_is_refused(copy: Path, case: str) -> None:
    change, said = NETWORKS[case]
    with_parts(copy, change)
    refused(copy, said)


def test_a_network_that_unpacks_to_more_than_it_may_is_refused(copy: Path) -> None:
    """A bomb of zeros, whose size is in its directory."""
    bound = logged_model.LARGEST_NETWORK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged_model, "LARGEST_NETWORK", 2**20)
        with_parts(copy, lambda parts: parts.update({"model.weights.h5": bytes(2**21)}))
        assert (copy / NETWORK).stat().st_size < 2**20
        refused(copy, "unpacks to more than 1048576 bytes")
    assert bound == 2 * 2**30


def test_a_file_that_is_no_archive_is_refused(copy: Path) -> None:
    (copy / NETWORK).write_bytes(b"PK\x03\x04 and no more")
    refused(copy, "damaged")


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_archive_is_refused_or_read_and_never_a_traceback(copy: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray((copy / NETWORK).read_bytes())
    # Its directory is at the end, its first part's head at the beginning.
    for place in rng.integers(0, 400, 8):
        content[int(place) * int(rng.choice([1, -1]))] = int(rng.integers(256))
    (copy / NETWORK).write_bytes(content)
    with suppress(UserError):
        read(copy)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_s_network_is_made_of_classes_that_are_read(name: str) -> None:
    from leukemia.model.classifier import ModelConfig, build

    config = ModelConfig(backbone=name, weights="none", size=64, scaling="imagenet")
    content = io.BytesIO()
    from keras.saving import serialize_keras_object

    content.write(json.dumps(serialize_keras_object(build(config, 0).model)).encode())
    logged_model._check_classes(json.loads(content.getvalue()))
