"""A backbone with a head of one sigmoid unit, taking raw uint8 cells.

Input scaling is part of the model, so that what is served is what was trained.
Source: the thesis, section 4.3 (ResNet-50, 23,587,712 parameters below the head).
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leukemia.errors import UserError
from leukemia.model.backbones import KerasFile, backbone_of, scaled

if TYPE_CHECKING:  # Keras takes seconds to import and is not needed to print a help text
    import keras

SCALINGS = ("imagenet", "unit")
PRECISIONS = ("auto", "float32", "bfloat16")
MOMENTUM = 0.9  # of batch norm's moving statistics when they are learned here: 0.99 needs
# several hundred steps to forget its start, more than a small data set has


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What classifier to build.

    backbone: the name of an entry of `backbones`.
    weights: `imagenet` (Keras' file), `none` (from scratch), `auto` (Keras' file if it can be
        had, else from scratch), or the path of a weights file.
    scaling: `imagenet` (what the backbone's pretrained weights expect) or `unit` (the thesis:
        [0, 1]).
    size: width and height of the cells in pixels.
    precision: that the backbone is trained in: `float32`, `bfloat16` (its weights are float32 all
        the same, and so is the model that is kept), or `auto`: what this machine is faster in. A
        backbone that `fused` does not know trains in float32 whatever this says.
    """

    backbone: str = "resnet50"
    weights: str = "auto"
    scaling: str = "imagenet"
    size: int = 210
    precision: str = "auto"

    @property
    def cached(self) -> bool:
        """Whether Keras' own ImageNet file is at hand now: it decides what `auto` becomes."""
        file = backbone_of(self.backbone).file
        return file is not None and (_cache() / file.name).is_file()


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model and what was decided while building it.

    config: what was asked for.
    model: (n, size, size, 3) uint8 -> (n, 1) float32 probability of the positive class. Its
        layer `backbone` ends in (n, h, w, c); `features` pools that to (n, c).
    weights: what the backbone starts from: `imagenet`, `none` or a file's name.
    note: one line for people about that choice and about how the backbone is fine-tuned.
    keeps_statistics: batch norm stays as pretrained while the backbone is fine-tuned.
    """

    config: ModelConfig
    model: "keras.Model"
    weights: str
    note: str
    keeps_statistics: bool

    @property
    def pretrained(self) -> bool:
        """Whether there is anything to transfer."""
        return self.weights != "none"

    def freeze(self) -> None:
        """The backbone as it is: its batch norm then runs on the stored statistics."""
        self.model.get_layer("backbone").trainable = False

    def unfreeze(self) -> None:
        """The backbone may train; its batch norm only where the statistics do not fit.

        Keras 3 overrides a nested model's training=False with fit's own training=True, so
        only a batch norm that is not trainable keeps its statistics. Dropout is at work all the
        same, drawn from the seed that the classifier was built with.
        """
        backbone = self.model.get_layer("backbone")
        backbone.trainable = True
        for norm in _batch_norms(backbone):
            norm.trainable = not self.keeps_statistics


def build(config: ModelConfig, seed: int) -> Classifier:
    """A classifier with fresh head weights drawn from `seed`.

    Batch norm stays as pretrained in both stages where the input is scaled as its statistics
    expect; where they do not fit (from scratch, or `unit` scaling) it learns its own whenever
    the backbone trains.

    Raises:
        UserError: no such backbone, scaling or weights file, or Keras' file is out of reach.
    """
    import keras

    from leukemia.model.fusible import why_plain

    check(config)
    weights, note = find_weights(config)
    keras.utils.set_random_seed(seed)
    model = _network(config, weights)
    plain = why_plain(model.get_layer("backbone"))
    if plain:
        note += f"; it is fine-tuned by plain Keras, in float32 ({plain})"
    name = "none" if weights is None else _name(config.weights)
    return Classifier(
        config=config,
        model=model,
        weights=name,
        note=note,
        keeps_statistics=weights is not None and config.scaling == "imagenet",
    )


def feature_model(classifier: Classifier) -> "keras.Model":
    """The classifier below its head: (n, size, size, 3) uint8 -> (n, c) float32 pooled maps."""
    import keras

    model = classifier.model
    return keras.Model(model.inputs, model.get_layer("features").output)


def find_weights(config: ModelConfig) -> tuple[str | None, str]:
    """The weights file that the backbone starts from, None for scratch, and a note."""
    name, file = config.backbone, backbone_of(config.backbone).file
    if config.weights == "none" or (config.weights == "auto" and file is None):
        return None, f"{name} is trained from scratch"
    if config.weights not in ("auto", "imagenet"):
        path = Path(config.weights)
        return str(path.absolute()), f"{name} starts from {path.name}"
    if file is None:
        raise UserError(f"there are no ImageNet weights of backbone '{name}'; give none")
    try:
        return _keras_file(file), f"{name} starts from Keras' ImageNet weights"
    except Exception as error:  # Keras raises bare Exception for a failed download
        if config.weights == "imagenet":
            raise UserError(
                f"Keras' ImageNet weights are neither in {_cache()} nor to be downloaded; put "
                f"{file.name} there, or give backbone_weights=none or a file"
            ) from error
        return None, (
            f"{name} is trained FROM SCRATCH: Keras' ImageNet weights are neither cached nor "
            f"reachable"
        )


def check(config: ModelConfig) -> None:
    """Refuse a config that cannot be built.

    Raises:
        UserError: no such backbone, scaling or weights file, or cells too small for the backbone.
    """
    backbone = backbone_of(config.backbone)
    for came, known, what in (
        (config.scaling, SCALINGS, "scaling"),
        (config.precision, PRECISIONS, "precision"),
    ):
        if came not in known:
            raise UserError(f"there is no {what} '{came}': choose one of {', '.join(known)}")
    if config.weights not in ("auto", "imagenet", "none") and not Path(config.weights).is_file():
        raise UserError(
            f"backbone weights '{config.weights}': no such file; give imagenet, none, auto or the "
            f"path of {_fitting(config)}"
        )
    if config.size < backbone.smallest:
        raise UserError(
            f"cells of {config.size} px are too small for backbone '{backbone.name}': give an "
            f"image_size of {backbone.smallest} or more"
        )


def _network(config: ModelConfig, weights: str | None) -> "keras.Model":
    from keras import Input, Model, layers

    inputs = Input((config.size, config.size, 3), dtype="uint8", name="cells")
    entry = backbone_of(config.backbone)
    maps = _backbone(config, weights)(scaled(inputs, config.scaling, entry))
    features = layers.GlobalAveragePooling2D(name="features")(maps)
    head = layers.Dense(1, activation="sigmoid", name="probability")
    return Model(inputs, head(features), name=f"{config.backbone}_classifier")


def _name(weights: str) -> str:
    return "imagenet" if weights in ("auto", "imagenet") else Path(weights).name


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def _keras_file(file: KerasFile) -> str:
    """The path of Keras' own ImageNet file, downloaded if it is not cached."""
    cached = _cache() / file.name
    if cached.is_file():
        return str(cached)
    import keras

    path: str = keras.utils.get_file(
        file.name, file.folder + file.name, cache_subdir="models", file_hash=file.hash
    )
    return path


def _backbone(config: ModelConfig, weights: str | None) -> "keras.Model":
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that it finds nothing for, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            backbone = backbone_of(config.backbone).build((config.size, config.size, 3), weights)
    except (ValueError, OSError, UserWarning) as error:
        if weights is None:
            raise
        raise UserError(
            f"backbone weights '{weights}' do not fit ({str(error).splitlines()[0]}); give "
            f"{_fitting(config)}"
        ) from error
    for norm in _batch_norms(backbone):
        norm.momentum = MOMENTUM
    backbone.name = "backbone"
    return backbone


def _fitting(config: ModelConfig) -> str:
    return f"a weights file of {config.backbone} without top"


def _batch_norms(network: "keras.Model") -> "Iterator[keras.layers.BatchNormalization]":
    """Those of a network and of the networks within it."""
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _batch_norms(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer
