"""Differentiable augmentation: what the discriminator sees of real and of made images alike.

With a few hundred images a discriminator soon knows each by heart. If it sees every image, real
or made, turned, mirrored, shifted, lightened and partly covered, it cannot; and because the
changes are differentiable and made images go through them too, the generator does not learn to
make changed images. Source: Zhao et al. 2020 (arXiv 2006.10738); turns and mirrors are ours: a
cell has no upright.
"""

import tensorflow as tf

SHIFT = 1 / 8  # of the side, the most that an image is shifted
COVER = 1 / 3  # of the side, the side of the covered square
LIGHT = 0.2  # the most that an image is lightened or darkened, where 2 is black to white


def augmented(images: tf.Tensor, seed: tf.Tensor, how: str = "all") -> tf.Tensor:
    """Each image changed in its own way, all decided by `seed` ((2,) int64).

    images: (n, side, side, 3) float32, -1 to 1. how: none, turns, or all; then shifted images and
    covered squares show black.
    """
    if how == "none":
        return images
    seeds = tf.unstack(tf.random.split(seed, 4))
    images = _turned(images, seeds[0])
    if how == "turns":
        return images
    images = _lightened(images, seeds[1])
    return _covered(_shifted(images, seeds[2]), seeds[3])


def _turned(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One of the eight turns and mirror images."""
    draws = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    images = tf.where(draws[0], tf.transpose(images, (0, 2, 1, 3)), images)
    images = tf.where(draws[1], images[:, ::-1], images)
    return tf.where(draws[2], images[:, :, ::-1], images)


def _lightened(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A brightness of its own, but black stays black: cells are cut out on black."""
    light = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, -LIGHT, LIGHT)
    return (images + 1) * (1 + light) - 1


def _shifted(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifted by whole pixels."""
    n, side = tf.shape(images)[0], images.shape[1]
    most = int(side * SHIFT)
    by = tf.random.stateless_uniform((2, n, 1), seed, -most, most + 1, tf.int32)
    places = tf.range(side)[None]
    last = side + 2 * most - 1
    rows, columns = (tf.clip_by_value(places + each + most, 0, last) for each in tf.unstack(by))
    padded = tf.pad(images + 1, [[0, 0], [most, most], [most, most], [0, 0]])
    padded = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(padded, columns, axis=2, batch_dims=1) - 1


def _covered(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A square of each is black."""
    n, side = tf.shape(images)[0], images.shape[1]
    centres = tf.random.stateless_uniform((2, n, 1), seed, 0, side, tf.int32)
    near = tf.abs(tf.range(side)[None] - centres) <= int(side * COVER) // 2
    covered = near[0][:, :, None] & near[1][:, None, :]
    return tf.where(covered[..., None], -1.0, images)
