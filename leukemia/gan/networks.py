"""The two players of the DC-GAN.

Source: the thesis, section 4.4 (128 px, latent 100, five layers each, LeakyReLU 0.2, 'same'
padding, tanh and sigmoid at the ends, dropout 0.4), after Radford, Metz & Chintala 2015
(arXiv 1511.06434). Kernels and channels are not in the thesis and are ours; there is no batch
normalisation, because the thesis lists none.
"""

import keras
import numpy as np
from keras import layers

from leukemia.errors import UserError

SIZES = (32, 64, 128)
BOTTOM = 8  # side in pixels of the smallest feature map


def scales(size: int) -> list[tuple[int, int]]:
    """(side in pixels, channels) of the feature maps, from the image's own size down to 8 px.

    Channels are few where pixels are many: with 128 at every scale a step at 128 px costs three
    times as much.

    Raises:
        UserError: no network is described for images of that size.
    """
    if size not in SIZES:
        raise UserError(f"a GAN of {size} px cannot be built: choose a size of 32, 64 or 128")
    halvings = (size // BOTTOM).bit_length()
    return [(size >> step, min(32 << step, 256)) for step in range(halvings)]


def generator(size: int = 128, latent: int = 100, seed: int = 0) -> keras.Model:
    """Latent vectors (n, latent) float32, standard normal, to images (n, size, size, 3) in [-1, 1].

    Five convolutions at 128 px, one fewer for each halving of the size:

        latent                                   (100,)
        Dense, LeakyReLU, reshape                (8, 8, 256)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (16, 16, 256)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (32, 32, 128)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (64, 64, 64)
        Conv2DTranspose 4x4 by 2, LeakyReLU      (128, 128, 32)
        Conv2D 5x5, tanh                         (128, 128, 3)
    """
    *larger, (bottom, channels) = scales(size)
    seeds = np.random.default_rng(seed)
    inputs = keras.Input((latent,), name="latent")
    x = layers.Dense(bottom * bottom * channels, kernel_initializer=_glorot(seeds))(inputs)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Reshape((bottom, bottom, channels))(x)
    for _, channels in reversed(larger):
        x = layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", kernel_initializer=_glorot(seeds)
        )(x)
        x = layers.LeakyReLU(0.2)(x)
    image = layers.Conv2D(
        3, 5, padding="same", activation="tanh", kernel_initializer=_glorot(seeds)
    )(x)
    return keras.Model(inputs, image, name="generator")


def discriminator(size: int = 128, seed: int = 0) -> keras.Model:
    """Images (n, size, size, 3) float32 in [-1, 1] to the probability (n, 1) that each is real.

    Five convolutions at 128 px, one fewer for each halving of the size. The layer `logit` holds
    the value before the sigmoid, on which losses can be computed without rounding to 0 or 1.

        image                                    (128, 128, 3)
        Conv2D 5x5, LeakyReLU                    (128, 128, 32)
        Conv2D 5x5 by 2, LeakyReLU               (64, 64, 64)
        Conv2D 5x5 by 2, LeakyReLU               (32, 32, 128)
        Conv2D 5x5 by 2, LeakyReLU               (16, 16, 256)
        Conv2D 5x5 by 2, LeakyReLU               (8, 8, 256)
        flatten, dropout 0.4                     (16384,)
        Dense `logit`, sigmoid                   (1,)
    """
    seeds = np.random.default_rng(seed)
    inputs = x = keras.Input((size, size, 3), name="image")
    for side, channels in scales(size):
        stride = 1 if side == size else 2
        x = layers.Conv2D(
            channels, 5, strides=stride, padding="same", kernel_initializer=_glorot(seeds)
        )(x)
        x = layers.LeakyReLU(0.2)(x)
    x = layers.Dropout(0.4, seed=_draw(seeds))(layers.Flatten()(x))
    logit = layers.Dense(1, kernel_initializer=_glorot(seeds), name="logit")(x)
    return keras.Model(inputs, layers.Activation("sigmoid")(logit), name="discriminator")


def _glorot(seeds: np.random.Generator) -> keras.initializers.Initializer:
    """Glorot's uniform weights with a seed of their own: the global seed plays no part."""
    return keras.initializers.GlorotUniform(seed=_draw(seeds))


def _draw(seeds: np.random.Generator) -> int:
    return int(seeds.integers(2**31))
