"""ResNet-50 with a head of one sigmoid unit, taking raw uint8 cells.

Input scaling is part of the model, so that what is served is what was trained.
Source: He et al. 2016; the thesis, section 4.3 (23,587,712 parameters below the head).
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leukemia.errors import UserError

if TYPE_CHECKING:  # Keras takes seconds to import and is not needed to print a help text
    import keras

BACKBONES = ("resnet50", "miniature")
SCALINGS = ("imagenet", "unit")
PRECISIONS = ("auto", "float32", "bfloat16")
CACHED = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"  # Keras' own name for its file
MOMENTUM = 0.9  # of batch norm's moving statistics when they are learned here: 0.99 needs
# several hundred steps to forget its start, more than a small data set has


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What classifier to build.

    backbone: `resnet50`, or `miniature`, a small residual network for tests.
    weights: `imagenet` (Keras' file), `none` (from scratch), `auto` (Keras' file if it can be
        had, else from scratch), or the path of a weights file.
    scaling: `imagenet` (Keras' preprocess_input) or `unit` (the thesis: [0, 1]).
    size: width and height of the cells in pixels.
    precision: that the backbone is trained in: `float32`, `bfloat16` (its weights are float32 all
        the same, and so is the model that is kept), or `auto`: what this machine is faster in.
    """

    backbone: str = "resnet50"
    weights: str = "auto"
    scaling: str = "imagenet"
    size: int = 210
    precision: str = "auto"

    @property
    def cached(self) -> bool:
        """Whether Keras' own ImageNet file is at hand now: it decides what `auto` becomes."""
        return (_cache() / CACHED).is_file()


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model and what was decided while building it.

    config: what was asked for.
    model: (n, size, size, 3) uint8 -> (n, 1) float32 probability of the positive class. Its
        layer `backbone` ends in (n, h, w, c); `features` pools that to (n, c).
    weights: what the backbone starts from: `imagenet`, `none` or a file's name.
    note: one line for people about that choice.
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
        only a batch norm that is not trainable keeps its statistics.
        """
        import keras

        backbone = self.model.get_layer("backbone")
        backbone.trainable = True
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = not self.keeps_statistics


def build(config: ModelConfig, seed: int) -> Classifier:
    """A classifier with fresh head weights drawn from `seed`.

    Batch norm stays as pretrained in both stages where the input is scaled as its statistics
    expect; where they do not fit (from scratch, or `unit` scaling) it learns its own whenever
    the backbone trains.

    Raises:
        UserError: no such backbone, scaling or weights file, or Keras' file is out of reach.
    """
    import keras

    check(config)
    weights, note = find_weights(config)
    keras.utils.set_random_seed(seed)
    model = _network(config, weights)
    name = "none" if weights is None else _name(config.weights)
    return Classifier(
        config=config,
        model=model,
        weights=name,
        note=note,
        keeps_statistics=weights is not None and config.scaling == "imagenet",
    )


def features(classifier: Classifier) -> "keras.Model":
    """The classifier below its head: (n, size, size, 3) uint8 -> (n, c) float32 pooled maps."""
    import keras

    model = classifier.model
    return keras.Model(model.inputs, model.get_layer("features").output)


def scaled(inputs: "keras.KerasTensor", scaling: str) -> "keras.KerasTensor":
    """uint8 RGB to what the backbone expects, in layers that Keras' safe mode loads."""
    import keras

    if scaling == "unit":
        return keras.layers.Rescaling(1 / 255, name="unit_scaling")(inputs)
    pixels = keras.layers.Rescaling(1.0, name="to_float")(inputs)
    return keras.applications.resnet.preprocess_input(pixels)


def find_weights(config: ModelConfig) -> tuple[str | None, str]:
    """The file (or `imagenet`) that the backbone starts from, None for scratch, and a note."""
    if config.weights == "none" or (config.weights == "auto" and config.backbone != "resnet50"):
        return None, f"{config.backbone} is trained from scratch"
    if config.weights not in ("auto", "imagenet"):
        path = Path(config.weights)
        return str(path.absolute()), f"{config.backbone} starts from {path.name}"
    if config.backbone != "resnet50":
        raise UserError(f"there are no ImageNet weights of backbone '{config.backbone}'; give none")
    try:
        return _keras_file(), f"{config.backbone} starts from Keras' ImageNet weights"
    except Exception as error:  # Keras raises bare Exception for a failed download
        if config.weights == "imagenet":
            raise UserError(
                f"Keras' ImageNet weights are neither in {_cache()} nor to be downloaded; put "
                f"{CACHED} there, or give backbone_weights=none or a file"
            ) from error
        return None, (
            f"{config.backbone} is trained FROM SCRATCH: Keras' ImageNet weights are neither "
            f"cached nor reachable"
        )


def check(config: ModelConfig) -> None:
    """Refuse a config that cannot be built.

    Raises:
        UserError: no such backbone, scaling or weights file.
    """
    for came, known, what in (
        (config.backbone, BACKBONES, "backbone"),
        (config.scaling, SCALINGS, "scaling"),
        (config.precision, PRECISIONS, "precision"),
    ):
        if came not in known:
            raise UserError(f"there is no {what} '{came}': choose one of {', '.join(known)}")
    if config.weights not in ("auto", "imagenet", "none") and not Path(config.weights).is_file():
        raise UserError(
            f"backbone weights '{config.weights}': no such file; give imagenet, none, auto "
            f"or "
            f"the path of a ResNet-50 weights file without top"
        )


def _network(config: ModelConfig, weights: str | None) -> "keras.Model":
    from keras import Input, Model, layers

    inputs = Input((config.size, config.size, 3), dtype="uint8", name="cells")
    maps = _backbone(config, weights)(scaled(inputs, config.scaling))
    features = layers.GlobalAveragePooling2D(name="features")(maps)
    head = layers.Dense(1, activation="sigmoid", name="probability")
    return Model(inputs, head(features), name=f"{config.backbone}_classifier")


def _name(weights: str) -> str:
    return "imagenet" if weights in ("auto", "imagenet") else Path(weights).name


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def _keras_file() -> str:
    """The path of Keras' own ImageNet file, downloaded if it is not cached."""
    from keras.src.applications import resnet

    cached = _cache() / CACHED
    if cached.is_file():
        return str(cached)
    import keras

    return keras.utils.get_file(
        CACHED,
        resnet.BASE_WEIGHTS_PATH + CACHED,
        cache_subdir="models",
        file_hash=resnet.WEIGHTS_HASHES["resnet50"][1],
    )


def _backbone(config: ModelConfig, weights: str | None) -> "keras.Model":
    import keras

    shape = (config.size, config.size, 3)
    if config.backbone == "miniature":
        backbone = _miniature(shape)
        if weights is not None:
            _load(backbone.load_weights, weights)
    else:
        resnet = keras.applications.ResNet50
        backbone = _load(lambda path: resnet(False, path, input_shape=shape), weights)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    backbone.name = "backbone"
    return backbone


def _load(load: "Callable[[str | None], keras.Model]", weights: str | None) -> "keras.Model":
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that it finds nothing for, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            return load(weights)
    except (ValueError, OSError, UserWarning) as error:
        raise UserError(
            f"backbone weights '{weights}' do not fit ({str(error).splitlines()[0]}); give a "
            f"ResNet-50 weights file without top"
        ) from error


def _miniature(shape: tuple[int, int, int]) -> "keras.Model":
    """Two residual blocks: the same interface as ResNet-50 at a thousandth of its cost."""
    from keras import Input, Model, layers

    inputs = Input(shape)
    x = layers.Conv2D(16, 7, strides=4, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for width in (16, 32):
        y = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(y))
        x = layers.ReLU()(layers.Add()([y, layers.Conv2D(width, 1, strides=2)(x)]))
    return Model(inputs, x, name="miniature")
