"""The networks below the head: one entry each, which is all that a backbone needs.

An entry names Keras' own ImageNet file, so that it is downloaded once and checked. Keras takes
seconds to import and is not needed to print the names: it is imported where a network is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from leukemia.errors import UserError

if TYPE_CHECKING:
    import keras

STORE = "https://storage.googleapis.com/tensorflow/keras-applications"

Shape = tuple[int, int, int]
# (input shape, path of a weights file or None for fresh weights) -> (n, S, S, 3) float32, already
# scaled, to maps (n, h, w, c).
Builder = Callable[[Shape, str | None], "keras.Model"]


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """Keras' own ImageNet weights without top.

    name: under which Keras keeps the file. folder: the address of the folder that it is in.
    hash: MD5 or SHA-256 in hexadecimal digits.
    """

    name: str
    folder: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network without top.

    name: as options spell it. about: a few words for `--help`, with the source.
    build: the network, without input scaling of its own. The maps that it ends in are those that
        the head pools and that Grad-CAM shows.
    expects: the input scaling that pretrained weights were trained on, by Keras' names: `caffe`
        (BGR, mean subtracted), `torch` (mean and deviation of ImageNet) or `tf` ([-1, 1]).
    file: Keras' ImageNet weights, None where there are none.
    smallest: side in pixels of the smallest cells that it takes.
    """

    name: str
    about: str
    build: Builder
    expects: Literal["caffe", "torch", "tf"]
    file: KerasFile | None = None
    smallest: int = 32


def application(name: str, **settings: bool) -> Builder:
    """A builder from the name of a network in `keras.applications` and its further settings."""

    def build(shape: Shape, weights: str | None) -> "keras.Model":
        import keras

        network = getattr(keras.applications, name)
        return network(include_top=False, weights=weights, input_shape=shape, **settings)

    return build


def scaled(inputs: "keras.KerasTensor", scaling: str, backbone: Backbone) -> "keras.KerasTensor":
    """uint8 RGB as a backbone takes it, in layers that Keras' safe mode loads.

    scaling: `imagenet`, what its pretrained weights expect, or `unit`, [0, 1].
    """
    import keras

    if scaling == "unit":
        return keras.layers.Rescaling(1 / 255, name="unit_scaling")(inputs)
    pixels = keras.layers.Rescaling(1.0, name="to_float")(inputs)
    return keras.applications.imagenet_utils.preprocess_input(pixels, mode=backbone.expects)


def backbone_of(name: str) -> Backbone:
    """The entry of a name.

    Raises:
        UserError: there is none.
    """
    if name not in BACKBONES:
        raise UserError(f"there is no backbone '{name}': choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def _efficientnet_b1(shape: Shape, weights: str | None) -> "keras.Model":
    """Keras' network without its scaling, which is given no way to leave it out.

    Its ImageNet file has that scaling's mean and deviation, those of `torch`, among the weights.
    Files of the older format go by the order of layers: only the whole network reads them.
    """
    import keras

    whole = application("EfficientNetB1")(shape, None)
    network = keras.Model(whole.get_layer("stem_conv_pad").input, whole.output)
    if weights is not None:
        (network if weights.endswith(".weights.h5") else whole).load_weights(weights)
    return network


def _miniature(shape: Shape, weights: str | None) -> "keras.Model":
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
    network = Model(inputs, x, name="miniature")
    if weights is not None:
        network.load_weights(weights)
    return network


ALL = (
    Backbone(
        name="resnet50",
        about="He et al. 2016, as in the thesis, section 4.3",
        build=application("ResNet50"),
        expects="caffe",
        file=KerasFile(
            name="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            folder=f"{STORE}/resnet/",
            hash="4d473c1dd8becc155b73f8504c6f6626",
        ),
    ),
    Backbone(
        name="efficientnetb1",
        about="Tan and Le 2019",
        build=_efficientnet_b1,
        expects="torch",
        file=KerasFile(
            name="efficientnetb1_notop.h5",
            folder="https://storage.googleapis.com/keras-applications/",
            hash="74c4e6b3e1f6a1eea24c589628592432",
        ),
    ),
    Backbone(
        name="efficientnetv2b0",
        about="Tan and Le 2021",
        build=application("EfficientNetV2B0", include_preprocessing=False),
        expects="torch",
        file=KerasFile(
            name="efficientnetv2-b0_notop.h5",
            folder=f"{STORE}/efficientnet_v2/",
            hash="893217f2bb855e2983157299931e43ff",
        ),
    ),
    Backbone(
        name="densenet121",
        about="Huang et al. 2017",
        build=application("DenseNet121"),
        expects="torch",
        file=KerasFile(
            name="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            folder=f"{STORE}/densenet/",
            hash="30ee3e1110167f948a6b9946edeeb738",
        ),
    ),
    Backbone(
        name="convnexttiny",
        about="Liu et al. 2022",
        build=application("ConvNeXtTiny", include_preprocessing=False),
        expects="torch",
        file=KerasFile(
            name="convnext_tiny_notop.h5",
            folder=f"{STORE}/convnext/",
            hash="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
    ),
    Backbone(
        name="mobilenetv3large",
        about="Howard et al. 2019",
        build=application("MobileNetV3Large", include_preprocessing=False),
        expects="tf",
        file=KerasFile(
            name="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
            folder=f"{STORE}/mobilenet_v3/",
            hash="07fb09a5933dd0c8eaafa16978110389",
        ),
    ),
    Backbone(
        name="miniature",
        about="a tiny residual network to try the service with",
        build=_miniature,
        expects="caffe",
    ),
)
BACKBONES = {backbone.name: backbone for backbone in ALL}
