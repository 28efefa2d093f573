"""Reads the folder of a logged model as this project writes it, and nothing that could be more.

A model comes from a store that others write to, and what MLflow and Keras are able to load may run
code or reach for other files. So neither chooses here: the files, the keys of MLmodel and the
layers of the network are those that this project writes, and what else is there is refused before
anything is opened. The digest is over every byte that is read afterwards.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import yaml

from leukemia.data.files import sha256
from leukemia.data.geometry import CHOICES
from leukemia.errors import UserError, first_line

DESCRIPTION, NETWORK = "MLmodel", "data/model.keras"
# What `tracking.logbook` and MLflow write beside the two that are read.
BESIDE = frozenset({
    "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json",
    "serving_input_example.json", "data/keras_module.txt", "data/save_format.txt",
})  # fmt: skip
# MLflow's note of a registration, which it writes into a copy that it fetches: never read here.
NOTE = "registered_model_meta"

LARGEST_DESCRIPTION, LARGEST_BESIDE = 64 * 2**10, 16 * 2**20  # bytes
LARGEST_NETWORK, LARGEST_CONFIG = 2 * 2**30, 16 * 2**20  # bytes, unpacked
PARTS = {"metadata.json", "config.json", "model.weights.h5"}  # of a .keras file

KEYS = frozenset({
    "artifact_path", "flavors", "is_signature_from_type_hint", "metadata", "mlflow_version",
    "model_id", "model_size_bytes", "model_uuid", "prompts", "run_id",
    "saved_input_example_info", "signature", "type_hint_from_example", "utc_time_created",
})  # fmt: skip
FLAVORS: Mapping[str, Mapping[str, tuple[object, ...]]] = {  # key -> values; none: any text
    "keras": {
        "data": ("data",), "keras_backend": ("tensorflow",), "keras_version": (),
        "save_exported_model": (False,),
    },
    "python_function": {
        "env": ({"conda": "conda.yaml", "virtualenv": "python_env.yaml"},),
        "loader_module": ("mlflow.keras",), "python_version": (), "data": ("data",),
    },
}  # fmt: skip
TEXTS = ("positive", "negative", "technique", "cells", "protocol", "use")
LONGEST_TEXT = 2000
LARGEST_SIDE = 4096  # pixels

# What networks of `model.backbones` are made of: numbers in, numbers out.
CLASSES: Mapping[str, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "Sequential"}),
    "keras.initializers": frozenset({
        "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal",
        "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal",
        "VarianceScaling", "Zeros",
    }),
    "keras.layers": frozenset({
        "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate",
        "Conv2D", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "ELU", "Flatten",
        "GaussianNoise", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GroupNormalization",
        "InputLayer", "LayerNormalization", "LeakyReLU", "MaxPooling2D", "Maximum", "Minimum",
        "Multiply", "Normalization", "PReLU", "Permute", "ReLU", "Rescaling", "Reshape",
        "SeparableConv2D", "Softmax", "SpatialDropout2D", "Subtract", "UpSampling2D",
        "ZeroPadding2D",
    }),
    "keras.regularizers": frozenset({"L1", "L1L2", "L2"}),
    "keras.src.applications.convnext": frozenset({"LayerScale"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.ops.numpy": frozenset({
        "Add", "GetItem", "Multiply", "Stack", "Subtract", "TrueDivide",
    }),
}  # fmt: skip
# Values that Keras writes in a class's form.
VALUES = frozenset({
    "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__", "__tuple__"
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A logged model that may be opened.

    network: its .keras file. about: what the run wrote of it (crop and image_size in pixels, the
    names of the classes, threshold ...). digest: SHA-256 of its files and their names.
    """

    network: Path
    about: Mapping[str, Any]
    digest: str


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors, by which a short text becomes a huge value."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UserError("MLmodel uses YAML anchors")
        return super().compose_node(parent, index)


def read(folder: Path) -> ModelFiles:
    """What a folder holds, if it holds a model as this project logs it.

    Raises:
        UserError: a file, a key, a layer is there that this project does not write, or one that
            it does write is missing, too large or damaged.
    """
    files = dict(_files(folder))
    missing = {DESCRIPTION, NETWORK} - files.keys()
    if missing:
        raise UserError(f"it has no file {' and no '.join(sorted(missing))}")
    about = _described(files[DESCRIPTION])
    _check_network(files[NETWORK])
    return ModelFiles(network=files[NETWORK], about=about, digest=_digest(files))


@contextmanager
def fetched(uri: str) -> Iterator[ModelFiles]:
    """A model's files, checked, in a folder of their own for as long as the block lasts.

    Raises:
        UserError: it is no model as this project logs them.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Of a store on this disk it is the original, which may change while it is read.
        place = Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
        with tempfile.TemporaryDirectory() as own:
            yield read(copy(place, Path(own)))


def copy(folder: Path, into: Path) -> Path:
    """The model's files, and no other, in an empty folder, which is returned.

    Raises:
        UserError: the folder holds a file that this project does not write.
    """
    for name, path in _files(folder):
        target = into / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return into


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of each file, which is none but those that this project writes."""
    most = {DESCRIPTION: LARGEST_DESCRIPTION, NETWORK: LARGEST_NETWORK}
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place) / name
            inner = path.relative_to(folder).as_posix()
            if path.is_symlink():
                raise UserError(f"its file {inner!r} is a link")
            if path.is_dir():
                if inner != "data":
                    raise UserError(f"it has a folder {inner!r}, which this project never writes")
                continue
            if inner == NOTE:
                continue
            if inner not in BESIDE | {DESCRIPTION, NETWORK} or not path.is_file():
                raise UserError(f"it has a file {inner!r}, which this project never writes")
            size, allowed = path.stat().st_size, most.get(inner, LARGEST_BESIDE)
            if size > allowed:
                raise UserError(f"its file {inner!r} has {size} bytes; {allowed} are allowed")
            yield inner, path


def _digest(files: Mapping[str, Path]) -> str:
    whole = hashlib.sha256()
    for name in sorted(files, key=Path):
        whole.update(f"{name} {sha256(files[name])}\n".encode())
    return whole.hexdigest()


def _described(file: Path) -> Mapping[str, Any]:
    """MLmodel's metadata, with every key and value of it as this project writes them."""
    try:
        said = yaml.load(file.read_text(), _PlainLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"its MLmodel is damaged ({first_line(error)})") from None
    _only("MLmodel", said, KEYS)
    _only("flavors", said.get("flavors"), frozenset(FLAVORS))
    for flavor, keys in FLAVORS.items():
        given = said["flavors"].get(flavor)
        _only(f"flavor {flavor}", given, frozenset(keys))
        for key, value in given.items():
            fits = value in keys[key] if keys[key] else isinstance(value, str)
            # In Python 0 is False; in a file they are two things.
            if not fits or type(value) not in {type(each) for each in keys[key] or ("",)}:
                raise UserError(f"its MLmodel asks for {flavor} {key}: {str(value)[:80]!r}")
    if said["flavors"]["keras"].get("data") != "data":
        raise UserError("its MLmodel names no data")
    return _about(said.get("metadata"))


def _only(what: str, value: object, allowed: frozenset[str]) -> None:
    if not isinstance(value, dict):
        raise UserError(f"its {what} has no keys and values")
    extra = sorted(str(key) for key in value.keys() - allowed)
    if extra:
        raise UserError(f"its {what} has a key {extra[0][:80]!r}, which this project never writes")


def _about(given: object) -> Mapping[str, Any]:
    _only("metadata", given, frozenset({*TEXTS, *CHOICES, "crop", "image_size", "threshold"}))
    assert isinstance(given, dict)
    if not {"crop", "image_size", "positive", "negative"} <= given.keys():
        raise UserError("it was not logged by this project: its crop is not known")
    for name in TEXTS:
        text = given.setdefault(name, "")
        if not isinstance(text, str) or len(text) > LONGEST_TEXT:
            raise UserError(f"its {name} is no text of at most {LONGEST_TEXT} characters")
    for name, least in (("crop", 0), ("image_size", 1)):
        side = given[name]
        if type(side) is not int or not least <= side <= LARGEST_SIDE:
            raise UserError(f"its {name} is {str(side)[:20]!r}, no number of pixels")
    for name, known in CHOICES.items():
        if given.get(name, known[0]) not in known:
            raise UserError(f"its {name} is {str(given[name])[:20]!r}, which is not known here")
    threshold = given.get("threshold", 0.5)
    if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
        raise UserError(f"its threshold is {str(threshold)[:20]!r}, no number from 0 to 1")
    return given


def _check_network(file: Path) -> None:
    """Its parts are Keras' three, of a size that fits, and its classes those that we use."""
    try:
        with zipfile.ZipFile(file) as parts:
            found = parts.infolist()
            names = [part.filename for part in found]
            if sorted(names) != sorted(PARTS):
                raise UserError(f"its network has other parts than {', '.join(sorted(PARTS))}")
            if sum(part.file_size for part in found) > LARGEST_NETWORK:
                raise UserError(f"its network unpacks to more than {LARGEST_NETWORK} bytes")
            if parts.getinfo("config.json").file_size > LARGEST_CONFIG:
                raise UserError(f"its network's config has more than {LARGEST_CONFIG} bytes")
            config = json.loads(parts.read("config.json"))
    except (zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError, EOFError,
            RuntimeError, OSError, zlib.error) as error:  # fmt: skip
        raise UserError(f"its network is damaged ({first_line(error)})") from None
    _check_classes(config)


def _check_classes(value: object) -> None:
    """Every class that the network would be built of, without recursion: it may nest deeply."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
            if "class_name" in each:
                _check_class(each)


def _check_class(named: Mapping[str, Any]) -> None:
    name, module, registered = (
        named.get(key) for key in ("class_name", "module", "registered_name")
    )
    if module is None and registered is None and name in VALUES:
        return
    if (
        not isinstance(module, str)
        or name not in CLASSES.get(module, frozenset())
        or registered not in (None, name)
    ):
        what = ".".join(str(each)[:80] for each in (module, name) if each is not None)
        raise UserError(f"its network has a {what!r}, which no backbone of this project has")
