"""One compiled step of both players, and all the state that it changes."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from leukemia.gan import networks
from leukemia.gan.augment import augmented
from leukemia.gan.config import GanConfig

METRICS = ("gan_g_loss", "gan_d_loss", "gan_d_real", "gan_d_fake")

STEEPEST = 30.0  # where the discriminator is surer than exp(-30), the generator is told less

# step(images, rows, number) -> (4,) float32, in the order of METRICS
Step = Callable[[np.ndarray, np.ndarray, np.int64], tf.Tensor]


@dataclass(frozen=True, kw_only=True)
class Players:
    """Both networks with their optimizers, and the running mean of the generator.

    mean: the generator itself where the config asks for no running mean.
    """

    generator: keras.Model
    discriminator: keras.Model
    mean: keras.Model
    of_generator: keras.Optimizer
    of_discriminator: keras.Optimizer

    def variables(self) -> list[keras.Variable]:
        """Every variable that a step reads or changes, random states included, always in the
        same order: what a checkpoint must hold."""
        variables = [
            *self.generator.variables,
            *self.discriminator.variables,
            *self.of_generator.variables,
            *self.of_discriminator.variables,
        ]
        return variables if self.mean is self.generator else [*variables, *self.mean.variables]


def players(config: GanConfig, seed: int) -> Players:
    """New networks: the same for the same seed."""
    generator = networks.generator(config, seed, config.precision)
    discriminator = networks.discriminator(config, seed + 1, config.precision)
    mean = networks.generator(config, seed, config.precision) if config.ema else generator
    rate = config.learning_rate
    return Players(
        generator=generator,
        discriminator=discriminator,
        mean=mean,
        of_generator=_adam(generator, rate, config),
        of_discriminator=_adam(discriminator, rate * config.discriminator_rate, config),
    )


def compiled(of: Players, config: GanConfig, batch_size: int, seed: int) -> Step:
    """The step as one graph: every draw in it is a function of `seed` and the step's number.

    It is given images (batch_size, size, size, 3) uint8, which of them are of the second kind
    (batch_size,) bool (to a config that is not conditional: nothing), and its number.
    """
    turn = _shared if config.shared else _together if config.merged else _apart
    loss = _Loss(config)

    def step(images: tf.Tensor, second: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        draw = _Draws(config, batch_size, seed, number, tf.cast(second, tf.int32))
        real = tf.cast(images, tf.float32) / 127.5 - 1
        values = turn(of, loss, real, draw)
        if config.ema:
            _follow(of, config.ema, number)
        return tf.stack(values)

    # Not jit_compile: XLA makes these convolutions 3 to 4 times slower on a CPU.
    graph: Step = tf.function(step)
    return graph


class _Draws:
    """The random draws of one step, each with a place of its own in the seed's sequence.

    kinds: (batch_size,) int32, of the real images and of those that are made beside them.
    """

    def __init__(
        self, config: GanConfig, batch_size: int, seed: int, number: tf.Tensor, kinds: tf.Tensor
    ):
        self.plan, self.batch_size, self.kinds = config, batch_size, kinds
        self._seed, self._number, self._draws = seed, number, 0

    def _next(self) -> tf.Tensor:
        self._draws += 1
        return tf.stack([tf.constant(self._seed, tf.int64), 8 * self._number + self._draws])

    def latent(self) -> tf.Tensor:
        """Standard normal vectors, each with its kind where there are several."""
        vectors = tf.random.stateless_normal((self.batch_size, self.plan.latent), self._next())
        if not self.plan.kinds:
            return vectors
        return tf.concat([vectors, tf.one_hot(self.kinds, self.plan.kinds)], 1)

    def seen(self, images: tf.Tensor) -> tf.Tensor:
        """What the discriminator is shown of these images."""
        return augmented(images, self._next(), self.plan.augment)


class _Loss:
    """The config's losses of logits (n, 1)."""

    def __init__(self, config: GanConfig):
        self._kind, self._smoothing = config.loss, config.smoothing

    def on_real(self, logits: tf.Tensor) -> tf.Tensor:
        """Of the discriminator, on real images."""
        if self._kind == "hinge":
            return tf.reduce_mean(tf.nn.relu(1 - self._smoothing - logits))
        return self._entropy(logits, 1 - self._smoothing)

    def on_made(self, logits: tf.Tensor) -> tf.Tensor:
        """Of the discriminator, on made images."""
        if self._kind == "hinge":
            return tf.reduce_mean(tf.nn.relu(1 + logits))
        return self._entropy(logits, 0.0)

    def of_generator(self, logits: tf.Tensor) -> tf.Tensor:
        """Of the generator, on the images that it made."""
        return -tf.reduce_mean(logits) if self._kind == "hinge" else self._entropy(logits, 1.0)

    def _entropy(self, logits: tf.Tensor, target: float) -> tf.Tensor:
        targets = tf.fill(tf.shape(logits), target)
        if self._kind == "categorical":
            # As Keras computes it: outputs are first divided by their sum over the classes. Over
            # the one output that the thesis' discriminator has, that is 1, and its logarithm 0.
            chances = tf.sigmoid(logits)
            shares = chances / tf.reduce_sum(chances, -1, keepdims=True)
            return -tf.reduce_mean(tf.reduce_sum(targets * tf.math.log(shares), -1))
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))


def _apart(of: Players, loss: _Loss, real: tf.Tensor, draw: _Draws) -> list[tf.Tensor]:
    """A step of the discriminator on real images, one on made ones, one of the generator on
    new ones; the METRICS."""
    made = _made(of.generator, draw)
    real_loss, on_real = _teach_real(of, draw, real, loss)
    made_loss, on_made = _teach(of, draw, made, loss.on_made)
    with tf.GradientTape() as tape:
        g_loss = loss.of_generator(_judged(of, draw.seen(_made(of.generator, draw)), draw))
    _descend(of.of_generator, of.generator, tape, g_loss)
    return [g_loss, (real_loss + made_loss) / 2, _share(on_real > 0), _share(on_made < 0)]


def _teach_real(
    of: Players, draw: _Draws, real: tf.Tensor, loss: _Loss
) -> tuple[tf.Tensor, tf.Tensor]:
    return _teach(of, draw, real, lambda logits: loss.on_real(logits) + _roughness(of, real, draw))


def _teach(
    of: Players, draw: _Draws, images: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """A step of the discriminator on images of one kind: its loss and its logits."""
    with tf.GradientTape() as tape:
        logits = _judged(of, draw.seen(images), draw)
        value = loss(logits)
    _descend(of.of_discriminator, of.discriminator, tape, value)
    return value, logits


def _together(of: Players, loss: _Loss, real: tf.Tensor, draw: _Draws) -> list[tf.Tensor]:
    """A step of the discriminator on real and made images, one of the generator on the same
    made ones; the METRICS."""
    with tf.GradientTape() as tape:
        made = _made(of.generator, draw)
        with tape.stop_recording():
            d_loss, on_real, on_made = _teach_both(of, loss, real, made, draw)
        g_loss = loss.of_generator(_judged(of, draw.seen(made), draw))
    _descend(of.of_generator, of.generator, tape, g_loss)
    return [g_loss, d_loss, _share(on_real > 0), _share(on_made < 0)]


def _shared(of: Players, loss: _Loss, real: tf.Tensor, draw: _Draws) -> list[tf.Tensor]:
    """As the two others, but the pass over made images that teaches the discriminator also gives
    the generator its gradient; the METRICS."""
    with tf.GradientTape() as painting:
        made = _made(of.generator, draw)
    if not draw.plan.merged:
        real_loss, on_real = _teach_real(of, draw, real, loss)
    with tf.GradientTape() as judging:
        judging.watch(made)
        seen = tf.concat([real, made], 0) if draw.plan.merged else made
        logits = _judged(of, draw.seen(seen), draw)
        on_made = logits[-draw.batch_size :]
        made_loss = value = loss.on_made(on_made)
        if draw.plan.merged:
            on_real = logits[: draw.batch_size]
            real_loss = loss.on_real(on_real)
            value = (real_loss + made_loss) / 2 + _roughness(of, real, draw)
    learned, to_made = judging.gradient(value, [of.discriminator.trainable_variables, made])
    of.of_discriminator.apply(learned, of.discriminator.trainable_variables)
    to_made *= _turned(on_made) * (2 if draw.plan.merged else 1)
    painted = painting.gradient(made, of.generator.trainable_variables, to_made)
    of.of_generator.apply(painted, of.generator.trainable_variables)
    d_loss = (real_loss + made_loss) / 2
    return [loss.of_generator(on_made), d_loss, _share(on_real > 0), _share(on_made < 0)]


def _turned(logits: tf.Tensor) -> tf.Tensor:
    """(n, 1, 1, 1) what turns the gradient of the discriminator's binary loss at made images into
    that of the generator's.

    Images do not meet in the discriminator, so the gradient at each is that of its own logit l
    times the loss's derivative: sigmoid(l) for the one and -sigmoid(-l) for the other.
    """
    return -tf.exp(tf.minimum(-logits, STEEPEST))[:, :, None, None]


def _teach_both(
    of: Players, loss: _Loss, real: tf.Tensor, made: tf.Tensor, draw: _Draws
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        logits = _judged(of, draw.seen(tf.concat([real, made], 0)), draw)
        on_real, on_made = tf.split(logits, 2)
        d_loss = (loss.on_real(on_real) + loss.on_made(on_made)) / 2
        value = d_loss + _roughness(of, real, draw)
    _descend(of.of_discriminator, of.discriminator, tape, value)
    return d_loss, on_real, on_made


def _made(generator: keras.Model, draw: _Draws) -> tf.Tensor:
    """Images from latent vectors, and 8 bits deep where the config says so."""
    images = generator(draw.latent(), training=True)
    if not draw.plan.eight_bit:
        return images
    rounded = tf.round((images + 1) * 127.5) / 127.5 - 1
    return images + tf.stop_gradient(rounded - images)


def _judged(of: Players, images: tf.Tensor, draw: _Draws) -> tf.Tensor:
    """(n, 1): the logits of one batch, or of real and made images one after the other; each in
    the column of its kind."""
    logits = of.discriminator(images, training=True)
    if not draw.plan.kinds:
        return logits
    kinds = tf.tile(draw.kinds, [tf.shape(images)[0] // draw.batch_size])
    return tf.gather(logits, kinds, axis=1, batch_dims=1)[:, None]


def _roughness(of: Players, real: tf.Tensor, draw: _Draws) -> tf.Tensor:
    """The gradient penalty R1 at real images."""
    weight = draw.plan.r1
    if not weight:
        return tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(real)
        total = tf.reduce_sum(_judged(of, draw.seen(real), draw))
    squares = tf.reduce_sum(tape.gradient(total, real) ** 2, axis=(1, 2, 3))
    return weight / 2 * tf.reduce_mean(squares)


def _follow(of: Players, share: float, number: tf.Tensor) -> None:
    """The running mean goes after the generator; in the first steps it goes faster."""
    done = tf.cast(number, tf.float32)
    kept = tf.minimum(share, (1 + done) / (10 + done))
    for mean, now in zip(of.mean.variables, of.generator.variables, strict=True):
        mean.assign(kept * mean + (1 - kept) * now)


def _descend(
    optimizer: keras.Optimizer, model: keras.Model, tape: tf.GradientTape, loss: tf.Tensor
) -> None:
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    optimizer.apply(gradients, variables)


def _adam(model: keras.Model, rate: float, config: GanConfig) -> keras.Optimizer:
    optimizer = keras.optimizers.Adam(rate, config.beta_1)
    optimizer.build(model.trainable_variables)
    return optimizer


def _share(right: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(right, tf.float32))
