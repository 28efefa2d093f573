"""The network that is trained in place of the one that is kept: the same variables, less work.

Keras computes batch norm in many passes over the maps: on two cores a step of ResNet-50 in bfloat16
takes 2.4 s (32 cells of 210 px), 1.3 s with TensorFlow's own kernel of one pass. Where the
statistics stay as they are, batch norm is a line that the convolution before it can carry: 1.2 s.
What the variables learn is what they would in the plain network, up to rounding.
"""

import keras
import tensorflow as tf
from keras import layers

from leukemia.model.classifier import Classifier, scaled
from leukemia.model.precision import resolved

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
# A layer of a mixed policy would see its variables in bfloat16, whatever its `autocast` says.
AS_THEY_ARE = {"dtype": "float32", "autocast": False}


def trainable_features(classifier: Classifier) -> keras.Model:
    """(n, S, S, 3) uint8 -> (n, c) float32 pooled features, on the classifier's own variables.

    Its backbone computes in the classifier's precision; its scaling and pooling, where rounding
    would tell, in float32.
    """
    config, model = classifier.config, classifier.model
    plain, precision = model.get_layer("backbone"), resolved(config.precision)
    backbone = _backbone(plain, classifier.keeps_statistics, precision)
    inputs = keras.Input((config.size, config.size, 3), dtype="uint8")
    pooled = layers.GlobalAveragePooling2D()(backbone(scaled(inputs, config.scaling)))
    return keras.Model(inputs, pooled, name=model.name)


def _backbone(plain: keras.Model, keeps_statistics: bool, precision: str) -> keras.Model:
    """The backbone with each convolution, batch norm and step between them exchanged."""
    inputs, policy = keras.Input(plain.input.shape[1:]), POLICIES[precision]
    made = {plain.input: inputs}
    fixed = {
        layer.input: layer
        for layer in plain.layers
        if keeps_statistics and isinstance(layer, layers.BatchNormalization)
    }
    for layer in plain.layers[1:]:
        if isinstance(layer, layers.Conv2D):
            own = Convolution(layer, fixed.get(layer.output), precision)
        elif layer in fixed.values():
            own = layers.Identity(name=layer.name, dtype=policy)  # its convolution has done it
        elif isinstance(layer, layers.BatchNormalization):
            own = Norm(layer, precision)
        else:
            own = layer.from_config(layer.get_config() | {"dtype": policy})
        made[layer.output] = own(keras.tree.map_structure(made.get, layer.input))
    return keras.Model(inputs, made[plain.output], name=plain.name)


class Convolution(layers.Layer):
    """A convolution on a layer's variables and, if there is one, the batch norm after it with its
    statistics as they are: (n, h, w, c) in the given precision."""

    def __init__(
        self, plain: layers.Conv2D, norm: layers.BatchNormalization | None, precision: str
    ):
        super().__init__(name=plain.name, **AS_THEY_ARE)
        self.plain, self.norm, self.precision = plain, norm, precision
        self.built = True

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Called by Keras."""
        plain, norm = self.plain, self.norm
        kernel, bias = plain.kernel.value, plain.bias.value if plain.use_bias else None
        if norm is not None:
            slope = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
            kernel = kernel * slope
            bias = norm.beta + ((0 if bias is None else bias) - norm.moving_mean) * slope
        # As tf.nn.bias_add TensorFlow does it, and the ReLU after it, within the convolution.
        out = tf.nn.conv2d(
            tf.cast(maps, self.precision),
            tf.cast(kernel, self.precision),
            plain.strides,
            plain.padding.upper(),
        )
        return out if bias is None else tf.nn.bias_add(out, tf.cast(bias, self.precision))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Called by Keras."""
        return self.plain.compute_output_shape(shape)


class Norm(layers.Layer):
    """A batch norm that learns, on a layer's variables, in one pass over the maps."""

    def __init__(self, plain: layers.BatchNormalization, precision: str):
        super().__init__(name=plain.name, **AS_THEY_ARE)
        self.plain, self.precision = plain, precision
        self.built = True

    def call(self, maps: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Called by Keras."""
        plain = self.plain
        stored = {} if training else {"mean": plain.moving_mean, "variance": plain.moving_variance}
        out, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.cast(maps, self.precision),
            plain.gamma.value,
            plain.beta.value,
            **{name: kept.value for name, kept in stored.items()},
            epsilon=plain.epsilon,
            is_training=training,
        )[:3]
        if training:
            count = tf.cast(tf.size(maps) / tf.shape(maps)[-1], "float32")
            variance = variance * (count - 1) / count  # Keras stores the batch's own, biased
            for stored_value, seen in (
                (plain.moving_mean, mean),
                (plain.moving_variance, variance),
            ):
                stored_value.assign(stored_value * plain.momentum + seen * (1 - plain.momentum))
        return out

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Called by Keras."""
        return shape
