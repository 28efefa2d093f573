"""The two players of the DC-GAN.

Source: the thesis, section 4.4 (128 px, latent 100, five layers each, LeakyReLU 0.2, 'same'
padding, tanh and sigmoid at the ends, dropout 0.4), after Radford, Metz & Chintala 2015
(arXiv 1511.06434). Kernels and channels are not in the thesis and are ours; there is no batch
normalisation, because the thesis lists none.
"""

import keras
import numpy as np
from keras import layers, ops

from leukemia.gan.config import GanConfig, halvings

SLOPE = 0.2
DROPOUT = 0.4


def scales(size: int) -> list[tuple[int, int]]:
    """(side in pixels, channels) of the feature maps, from the image's own size down to 4 to 8.

    Channels are few where pixels are many: with 128 at every scale a step at 128 px costs three
    times as much.

    Raises:
        UserError: no network is described for images of that size.
    """
    return [(size >> step, min(32 << step, 256)) for step in range(halvings(size) + 1)]


def generator(config: GanConfig, seed: int, precision: str = "float32") -> keras.Model:
    """Latent vectors (n, latent) float32, standard normal, to images (n, size, size, 3) float32,
    0 to 255 as -1 to 1.

    Five convolutions at 128 px, one fewer for each halving of the size:

        latent                                   (100,)
        Dense, LeakyReLU, reshape                (8, 8, 256)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (16, 16, 256)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (32, 32, 128)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (64, 64, 64)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (128, 128, 32)
        Conv2D 5x5, tanh                         (128, 128, 3)

    Of a conditional config each vector is followed by a 1 in the place of its kind and 0 elsewhere.
    With `norm` each map has unit mean square at every pixel.
    """
    *larger, (bottom, channels) = scales(config.size)
    seeds, policy = np.random.default_rng(seed), _policy(precision)
    inputs = keras.Input((config.latent + config.kinds,), name="latent")
    x = layers.Dense(bottom * bottom * channels, kernel_initializer=_glorot(seeds), dtype=policy)(
        inputs
    )
    x = layers.LeakyReLU(SLOPE, dtype=policy)(x)
    x = layers.Reshape((bottom, bottom, channels))(x)
    for _, channels in reversed(larger):
        if config.norm:
            x = layers.RMSNormalization(dtype=policy)(x)
        x = layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", kernel_initializer=_glorot(seeds), dtype=policy
        )(x)
        x = layers.LeakyReLU(SLOPE, dtype=policy)(x)
    x = layers.Conv2D(3, 5, padding="same", kernel_initializer=_glorot(seeds), dtype=policy)(x)
    image = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, image, name="generator")


def discriminator(config: GanConfig, seed: int, precision: str = "float32") -> keras.Model:
    """Images (n, size, size, 3) float32, 0 to 255 as -1 to 1, to the logit (n, 1) float32 of the
    probability that each is real: the sigmoid is left to the loss, which so never rounds.

    Five convolutions at 128 px, one fewer for each halving of the size:

        image                                    (128, 128, 3)
        Conv2D 5x5, LeakyReLU                    (128, 128, 32)
        Conv2D 5x5 by 2, LeakyReLU               (64, 64, 64)
        Conv2D 5x5 by 2, LeakyReLU               (32, 32, 128)
        Conv2D 5x5 by 2, LeakyReLU               (16, 16, 256)
        Conv2D 5x5 by 2, LeakyReLU               (8, 8, 256)
        flatten, dropout 0.4                     (16384,)
        Dense                                    (1,), or one logit for each kind
    """
    seeds, policy = np.random.default_rng(seed), _policy(precision)
    convolution = SpectralConv2D if config.spectral else layers.Conv2D
    dense = SpectralDense if config.spectral else layers.Dense
    inputs = x = keras.Input((config.size, config.size, 3), name="image")
    for side, channels in scales(config.size):
        stride = 1 if side == config.size else 2
        x = convolution(
            channels,
            5,
            strides=stride,
            padding="same",
            kernel_initializer=_glorot(seeds),
            dtype=policy,
        )(x)
        x = layers.LeakyReLU(SLOPE, dtype=policy)(x)
    x = layers.Dropout(DROPOUT, seed=_draw(seeds), dtype=policy)(layers.Flatten()(x))
    x = dense(config.kinds or 1, kernel_initializer=_glorot(seeds), dtype=policy)(x)
    logit = layers.Activation("linear", dtype="float32")(x)
    return keras.Model(inputs, logit, name="discriminator")


def first_kind(config: GanConfig, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Weights of a generator of this config as those of one that makes the first kind only.

    The kind's row of the first kernel is added to the bias whatever the latent vector is, so it
    may as well be part of it: the same images from a generator that knows of no kinds.
    """
    if not config.kinds:
        return weights
    kernel, bias, *rest = weights
    return [kernel[: config.latent], bias + kernel[config.latent], *rest]


class _Spectral(layers.Layer):
    """A layer whose kernel is divided by an estimate of its largest singular value.

    One power iteration a training call, with gradients through the division as in the paper;
    Keras' own SpectralNormalization overwrites the kernel instead.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Add the left singular vector that the power iteration moves."""
        super().build(input_shape)
        width = self.kernel.shape[-1]
        start = np.random.default_rng(width).standard_normal((1, width))
        self.singular = self.add_weight(
            name="singular", shape=(1, width), trainable=False, dtype="float32",
            initializer=keras.initializers.Constant(start / np.linalg.norm(start)),
        )  # fmt: skip

    def normalised(self, training: bool) -> keras.KerasTensor:
        """The kernel at unit spectral norm, in the dtype of the computation."""
        kernel = ops.cast(self.kernel, "float32")
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        left = _unit(ops.matmul(self.singular, ops.transpose(matrix)))
        right = _unit(ops.matmul(left, matrix))
        if training:
            self.singular.assign(ops.stop_gradient(right))
        left, right = ops.stop_gradient(left), ops.stop_gradient(right)
        largest = ops.matmul(ops.matmul(left, matrix), ops.transpose(right))
        return ops.cast(kernel / largest, self.compute_dtype)


class SpectralConv2D(_Spectral, layers.Conv2D):
    """A convolution of unit spectral norm."""

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Convolve."""
        return ops.add(self.convolution_op(inputs, self.normalised(training)), self.bias)


class SpectralDense(_Spectral, layers.Dense):
    """A dense layer of unit spectral norm."""

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Multiply."""
        return ops.add(ops.matmul(inputs, self.normalised(training)), self.bias)


def _unit(vector: keras.KerasTensor) -> keras.KerasTensor:
    return vector / (ops.norm(vector) + 1e-12)


def _policy(precision: str) -> str:
    return "float32" if precision == "float32" else f"mixed_{precision}"


def _glorot(seeds: np.random.Generator) -> keras.initializers.Initializer:
    """Glorot's uniform weights with a seed of their own: the global seed plays no part."""
    return keras.initializers.GlorotUniform(seed=_draw(seeds))


def _draw(seeds: np.random.Generator) -> int:
    return int(seeds.integers(2**31))
