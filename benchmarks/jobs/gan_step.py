"""One step of the GAN at 128 px, batch 128, against the loop that tutorials show.

The peer is the usual Keras loop: the discriminator's train_on_batch on real images and on
generator.predict's, then the stacked model's with the discriminator frozen. Same networks, same
losses, same two updates of the discriminator and one of the generator. The share of the ceiling
is of the multiplications that its convolutions and dense layers need.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run
from leukemia.gan.config import MODERN, THESIS, GanConfig

IMAGES, SIZE, BATCH = 512, 128, 128
PLAN = replace(THESIS, size=SIZE, batch_size=BATCH)
HALF = replace(PLAN, precision="bfloat16")
SHARED = replace(HALF, shared=True)
BY_NOW = replace(MODERN, size=SIZE, batch_size=BATCH, precision="bfloat16")


def tutorial(folder: Path) -> Run:
    """A step as tutorials write it, on the same networks."""
    import keras

    from leukemia.gan import networks

    config, images, rng = PLAN, _images(), np.random.default_rng(0)
    generator, logits = networks.generator(config, 0), networks.discriminator(config, 1)
    chance = keras.layers.Activation("sigmoid")(logits.output)
    discriminator = keras.Model(logits.input, chance)
    adam = keras.optimizers.Adam(config.learning_rate, config.beta_1)
    discriminator.compile(adam, "binary_crossentropy", metrics=["accuracy"])
    discriminator.trainable = False
    stacked = keras.Model(generator.input, discriminator(generator.output))
    stacked.compile(
        keras.optimizers.Adam(config.learning_rate, config.beta_1), "binary_crossentropy"
    )
    ones, zeros = np.ones((config.batch_size, 1)), np.zeros((config.batch_size, 1))

    def step() -> None:
        real = images[rng.integers(len(images), size=config.batch_size)] / np.float32(127.5) - 1
        discriminator.trainable = True
        discriminator.train_on_batch(real, ones)
        made = generator.predict(latent(), verbose=0)
        discriminator.train_on_batch(made, zeros)
        discriminator.trainable = False
        stacked.train_on_batch(latent(), ones)

    def latent() -> np.ndarray:
        return rng.standard_normal((config.batch_size, config.latent), np.float32)

    step()
    return step


def thesis(folder: Path) -> Run:
    """The thesis' step as one graph."""
    return _ours(PLAN)


def thesis_bfloat16(folder: Path) -> Run:
    """The same in bfloat16."""
    return _ours(HALF)


def thesis_shared(folder: Path) -> Run:
    """The same, both networks learning from one pass over the made images."""
    return _ours(SHARED)


def modern(folder: Path) -> Run:
    """The modern recipe's step."""
    return _ours(BY_NOW)


def _ours(config: GanConfig) -> Run:
    """The compiled step, its losses read back each time."""
    from leukemia.gan.step import compiled, players

    step = compiled(players(config, 0), config, config.batch_size, 0)
    images, rng = _images(), np.random.default_rng(0)
    second = np.zeros(config.batch_size, bool)

    def run() -> None:
        real = images[rng.integers(IMAGES, size=config.batch_size)]
        assert np.isfinite(step(real, second, np.int64(1)).numpy()).all()

    run()
    return run


def _images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)


def operations(config: GanConfig) -> float:
    """Multiplications and additions of one step's convolutions and dense layers.

    Forward once, and backward as much again for the gradient of the weights and of the inputs,
    where these are needed: a discriminator's step needs none of the images.
    """
    from leukemia.gan import networks

    made, judged = (
        forward(networks.generator(config, 0)),
        forward(networks.discriminator(config, 0)),
    )
    first = judged[0]
    learning = 3 * sum(judged) - first  # on one batch, weights updated
    # For the generator: forward, and back to the images; or back a layer further in a shared pass.
    judging = first if config.shared else 2 * sum(judged)
    generating = 1 if config.merged or config.shared else 2  # forward
    of_generator = (generating + 2) * sum(made) - made[0]
    return (2 * learning + judging + of_generator) * config.batch_size


def forward(model: Any) -> list[float]:
    """Multiplications and additions of each layer of a Keras model for one image."""
    import keras

    found = []
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        size = float(np.prod(layer.kernel.shape))
        shape = layer.output.shape
        if isinstance(layer, keras.layers.Conv2DTranspose):
            shape = layer.input.shape  # every input pixel meets the whole kernel
        found.append(2 * size * float(np.prod(shape[1:3] if len(shape) == 4 else 1)))
    return found


def work() -> dict[str, float]:
    """Of each contender's step."""
    same = operations(PLAN)
    return {
        PEER: same,
        "one step, thesis": same,
        "one step, thesis, bfloat16": same,
        "one step, thesis, bfloat16, shared pass": operations(SHARED),
        "one step, modern, bfloat16": operations(BY_NOW),
    }


PEER = "tutorial loop"
JOB = Job(
    f"GAN step, {SIZE} px, batch {BATCH}",
    {
        PEER: Contender("tutorial"),
        "one step, thesis": Contender("thesis"),
        "one step, thesis, bfloat16": Contender("thesis_bfloat16"),
        "one step, thesis, bfloat16, shared pass": Contender("thesis_shared"),
        "one step, modern, bfloat16": Contender("modern"),
    },
    (Goal("one step, thesis, bfloat16, shared pass", PEER, 2.2),),
    5,
    lambda folder: "same networks, losses and updates; gradients are checked in tests",
    work,
    {
        PEER: "float32",
        "one step, thesis": "float32",
        "one step, thesis, bfloat16": "bfloat16",
        "one step, thesis, bfloat16, shared pass": "bfloat16",
        "one step, modern, bfloat16": "bfloat16",
    },
)
