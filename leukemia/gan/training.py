"""Training of the DC-GAN, and images from a trained generator.

Every random draw is a function of the seed and of the place in the schedule, never of a global
state: the same seed gives the same generator, bit for bit, on the same machine.

Source: the thesis, section 4.4; the non-saturating loss is Goodfellow et al. 2014, section 3.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from leukemia.errors import UserError
from leukemia.gan import networks
from leukemia.report import Report

METRICS = ("gan_g_loss", "gan_d_loss", "gan_d_real", "gan_d_fake")
GRID = (4, 8)  # rows and columns of a picture of samples

# step(images, rows, number) -> (4,) float32, in the order of METRICS
Step = Callable[[tf.Tensor, np.ndarray, np.int64], tf.Tensor]


@dataclass(frozen=True)
class Plan:
    """How a GAN is trained: image size in pixels, and Adam's two settings among others.

    Raises:
        UserError: a value is out of its range.
    """

    size: int
    latent: int
    epochs: int
    batch_size: int
    learning_rate: float
    beta_1: float

    def __post_init__(self) -> None:
        networks.scales(self.size)
        for name in ("latent", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"the GAN's {name} is {getattr(self, name)}: give 1 or more")
        if not self.learning_rate > 0:
            raise UserError(f"the GAN's learning rate is {self.learning_rate}: give more than 0")
        if not 0 <= self.beta_1 < 1:
            raise UserError(f"the GAN's beta_1 is {self.beta_1}: give 0 or more and less than 1")


def train(
    images: np.ndarray, plan: Plan, seed: int, report: Report
) -> tuple[keras.Model, dict[str, list[float]]]:
    """The generator after the last epoch, and each metric by epoch.

    An epoch shows every image once in a new order, less the rest that fills no batch.

    images: (n, size, size, 3) uint8.
    report: is called with epochs 1, 2, ... and the epoch's means `gan_g_loss`, `gan_d_loss`,
        `gan_d_real` and `gan_d_fake` (share of real and of made images that the
        discriminator tells rightly, in [0, 1]) and `gan_seconds`; at about ten epochs also
        with `gan_samples`, a picture of 32 made images, always from the same latent vectors.

    Raises:
        UserError: a loss is no longer a finite number.
    """
    batch_size = min(plan.batch_size, len(images))
    generator = networks.generator(plan.size, plan.latent, seed)
    step = _compiled_step(generator, plan, batch_size, seed)
    on_device = tf.constant(images)
    shown = _sample_epochs(plan.epochs)
    latent = _latent(GRID[0] * GRID[1], plan.latent, seed)
    history: dict[str, list[float]] = {}
    for epoch in range(1, plan.epochs + 1):
        values = _train_epoch(step, on_device, batch_size, seed, epoch)
        report(epoch, values)
        for name, value in values.items():
            history.setdefault(name, []).append(value)
        if epoch in shown:
            report(epoch, {"gan_samples": _grid(_paint(generator, latent))})
    return generator, history


def generate(
    generator: keras.Model, n: int, seed: int, size_out: int | tuple[int, int] | None = None
) -> np.ndarray:
    """New images (n, S, S, 3) uint8, resized to `size_out` where that is given."""
    made = _paint(generator, _latent(n, generator.input_shape[1], seed))
    return made if size_out is None else resize(made, size_out)


def resize(images: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Images (n, H, W, 3) uint8 at another side in pixels, or another (height, width).

    Pillow's bicubic filter, which widens when it shrinks and so does not alias; real cells go
    down and made cells go up through this one function. Source: Parmar, Zhang & Zhu 2022.
    """
    height, width = np.broadcast_to(size, 2).tolist()
    resized = np.empty((len(images), height, width, 3), np.uint8)
    for row, image in enumerate(images):
        resized[row] = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return resized


def _train_epoch(
    step: Step, images: tf.Tensor, batch_size: int, seed: int, epoch: int
) -> dict[str, float]:
    """The epoch's mean metrics and its seconds, read from the device once."""
    start = time.perf_counter()
    order = np.random.default_rng((seed, epoch)).permutation(len(images))
    steps = len(order) // batch_size
    totals = tf.zeros(len(METRICS))
    for number, rows in enumerate(np.split(order[: steps * batch_size], steps)):
        totals += step(images, rows, np.int64(epoch * steps + number))
    means = totals.numpy() / steps
    if not np.isfinite(means).all():
        raise UserError(
            f"the GAN's loss is not a finite number after epoch {epoch}: "
            "lower the learning rate, or train fewer epochs"
        )
    values = dict(zip(METRICS, means.tolist(), strict=True))
    return {**values, "gan_seconds": time.perf_counter() - start}


def _compiled_step(generator: keras.Model, plan: Plan, batch_size: int, seed: int) -> Step:
    """One update of the discriminator on real images, one on made ones, one of the generator.

    Two updates and not one on a mixed batch, because the thesis prints the discriminator's
    accuracy on real and on made images apart.
    """
    discriminator = networks.discriminator(plan.size, seed + 1)
    logits = keras.Model(discriminator.input, discriminator.get_layer("logit").output)
    descend_d = _descent(discriminator, plan)
    descend_g = _descent(generator, plan)

    def noise(draw: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal((batch_size, plan.latent), tf.stack([seed, draw]))

    # Not jit_compile: XLA makes these convolutions 3 to 4 times slower on a CPU.
    @tf.function
    def step(images: tf.Tensor, rows: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        real = tf.cast(tf.gather(images, rows), tf.float32) / 127.5 - 1
        made = generator(noise(2 * number), training=True)
        real_loss, on_real = descend_d(lambda: _judge(logits, real, is_real=True))
        made_loss, on_made = descend_d(lambda: _judge(logits, made, is_real=False))
        fresh = noise(2 * number + 1)
        g_loss, _ = descend_g(lambda: _judge(logits, generator(fresh, training=True), is_real=True))
        return tf.stack([g_loss, (real_loss + made_loss) / 2, on_real, on_made])

    return step


def _judge(logits: keras.Model, images: tf.Tensor, is_real: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Binary cross-entropy of calling `images` real (or made), and the share so called."""
    towards = logits(images, training=True) * (1 if is_real else -1)
    share = tf.reduce_mean(tf.cast(towards > 0, tf.float32))
    return tf.reduce_mean(tf.nn.softplus(-towards)), share


def _descent(model: keras.Model, plan: Plan) -> Callable:
    """An Adam of the model's own, as a function: losses() -> (loss, other), one step downhill."""
    optimizer = keras.optimizers.Adam(plan.learning_rate, plan.beta_1)
    optimizer.build(model.trainable_variables)

    def descend(losses: Callable) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, other = losses()
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, other

    return descend


def _latent(n: int, length: int, seed: int) -> np.ndarray:
    """Standard normal vectors (n, length) float32."""
    return np.random.default_rng(seed).standard_normal((n, length), np.float32)


def _paint(generator: keras.Model, latent: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Images (n, S, S, 3) uint8 from latent vectors (n, length)."""
    made = np.empty((len(latent), *generator.output_shape[1:]), np.uint8)
    for start in range(0, len(latent), batch_size):
        batch = slice(start, start + batch_size)
        painted = keras.ops.convert_to_numpy(generator(latent[batch], training=False))
        made[batch] = np.clip(np.rint((painted + 1) * 127.5), 0, 255)
    return made


def _grid(images: np.ndarray) -> np.ndarray:
    """(rows * columns, S, S, 3) side by side as one picture (rows * S, columns * S, 3)."""
    rows, columns = GRID
    side = images.shape[1]
    tiles = images.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    return tiles.reshape(rows * side, columns * side, 3)


def _sample_epochs(epochs: int) -> set[int]:
    """The first epoch, the last, and eight between them at even distances (or all there are)."""
    return set(np.linspace(1, epochs, 10).round().astype(int).tolist())
