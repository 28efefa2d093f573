"""Images a second of one step of the GAN, against the loop that tutorials show.

    python -m benchmarks.gan_step --size 128 --batch 128 --rounds 5

The peer is the usual Keras loop: the discriminator's train_on_batch on real images and on
generator.predict's, then the stacked model's with the discriminator frozen. Same networks, same
losses, same two updates of the discriminator and one of the generator. All take their steps in
turn, so that whatever else the machine does falls on each alike; a matrix product is timed
beside them, and the share of its rate that a step reaches is of the multiplications that its
convolutions and dense layers need.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import keras
import numpy as np
import tensorflow as tf

from leukemia.gan import networks
from leukemia.gan.plan import MODERN, THESIS, Plan
from leukemia.gan.step import compiled, players
from leukemia.precision import rate

IMAGES = 512
PRODUCT = 4096  # side of the matrices whose product is timed


def main() -> None:
    """Time them all in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=128, help="images in a step")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, options.size, options.size, 3), np.uint8)
    plan = replace(THESIS, size=options.size, batch_size=options.batch)
    modern = replace(MODERN, size=options.size, batch_size=options.batch, precision="bfloat16")
    contenders = {
        "tutorial loop": (tutorial(plan, images, rng), plan, "float32"),
        "one step, thesis": (ours(plan, images, rng), plan, "float32"),
        "one step, thesis, bfloat16": (
            ours(replace(plan, precision="bfloat16"), images, rng), plan, "bfloat16",
        ),
        "one step, thesis, shared pass, bfloat16": (
            ours(replace(plan, precision="bfloat16", shared=True), images, rng),
            replace(plan, shared=True), "bfloat16",
        ),
        "one step, modern, bfloat16": (
            ours(modern, images, rng), modern, "bfloat16",
        ),
    }  # fmt: skip
    for step, _, _ in contenders.values():
        step()  # builds its graphs
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    rates: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(options.rounds):
        for precision, found in rates.items():
            found.append(rate(precision, PRODUCT, tries=1))
        for name, (step, _, _) in contenders.items():
            start = time.perf_counter()
            step()
            spent[name].append(time.perf_counter() - start)
    show(options, contenders, spent, rates)


def tutorial(plan: Plan, images: np.ndarray, rng: np.random.Generator) -> Callable[[], None]:
    """A step as tutorials write it, on the same networks."""
    generator, logits = networks.generator(plan, 0), networks.discriminator(plan, 1)
    chance = keras.layers.Activation("sigmoid")(logits.output)
    discriminator = keras.Model(logits.input, chance)
    adam = keras.optimizers.Adam(plan.learning_rate, plan.beta_1)
    discriminator.compile(adam, "binary_crossentropy", metrics=["accuracy"])
    discriminator.trainable = False
    stacked = keras.Model(generator.input, discriminator(generator.output))
    stacked.compile(keras.optimizers.Adam(plan.learning_rate, plan.beta_1), "binary_crossentropy")
    ones, zeros = np.ones((plan.batch_size, 1)), np.zeros((plan.batch_size, 1))

    def step() -> None:
        real = images[rng.integers(len(images), size=plan.batch_size)] / np.float32(127.5) - 1
        discriminator.trainable = True
        discriminator.train_on_batch(real, ones)
        made = generator.predict(latent(), verbose=0)
        discriminator.train_on_batch(made, zeros)
        discriminator.trainable = False
        stacked.train_on_batch(latent(), ones)

    def latent() -> np.ndarray:
        return rng.standard_normal((plan.batch_size, plan.latent), np.float32)

    return step


def ours(plan: Plan, images: np.ndarray, rng: np.random.Generator) -> Callable[[], None]:
    """The compiled step, its losses read back each time."""
    step = compiled(players(plan, 0), plan, plan.batch_size, 0)
    on_device = tf.constant(images)

    def one() -> None:
        rows = rng.integers(len(images), size=plan.batch_size)
        assert np.isfinite(step(on_device, rows, np.int64(1)).numpy()).all()

    return one


def operations(plan: Plan) -> float:
    """Multiplications and additions of one step's convolutions and dense layers.

    Forward once, and backward as much again for the gradient of the weights and of the inputs,
    where these are needed: a discriminator's step needs none of the images.
    """
    made, judged = forward(networks.generator(plan, 0)), forward(networks.discriminator(plan, 0))
    first = judged[0]
    learning = 3 * sum(judged) - first  # on one batch, weights updated
    # For the generator: forward, and back to the images; or back a layer further in a shared pass.
    judging = first if plan.shared else 2 * sum(judged)
    generating = 1 if plan.merged or plan.shared else 2  # forward
    of_generator = (generating + 2) * sum(made) - made[0]
    return (2 * learning + judging + of_generator) * plan.batch_size


def forward(model: keras.Model) -> list[float]:
    """Multiplications and additions of each layer for one image."""
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


def show(options: argparse.Namespace, contenders: dict, spent: dict, rates: dict) -> None:
    """A Markdown table and the same as JSON."""
    medians = {name: statistics.median(found) for name, found in rates.items()}
    slowest = statistics.median(spent["tutorial loop"])
    versions = f"tensorflow {version('tensorflow')}, keras {version('keras')}"
    print(f"{options.size} px, batch {options.batch}, {options.rounds} steps each in turn, "
          f"{os.cpu_count()} cores, {versions}; matrix product "
          + ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in medians.items()))  # fmt: skip
    print("| step | median s | least to most | images/s | times as fast | share of the product |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name, (_, plan, precision) in contenders.items():
        times = spent[name]
        median = statistics.median(times)
        share = operations(plan) / median / medians[precision]
        rows.append({"step": name, "seconds": times, "share": share})
        print(
            f"| {name} | {median:.2f} | {min(times):.2f} to {max(times):.2f} | "
            f"{options.batch / median:.1f} | {slowest / median:.2f} | {share:.0%} |"
        )
    print(json.dumps({"options": vars(options), "rows": rows, "product": rates}))


if __name__ == "__main__":
    main()
