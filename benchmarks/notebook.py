"""One technique as the thesis did it: a notebook's cells, run from top to bottom for each seed.

    python -m benchmarks.notebook adasyn --data sample --image-size 96 --seeds 0,1,2

The peer of `benchmarks.study`. Images are read with load_img into float arrays, balanced with the
libraries that the thesis names, and a Keras ResNet-50 is fitted in two stages in float32. What is
shared with this project is only what must be the same to compare: the split, the epochs and
learning rates, and the two networks of the GAN.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from leukemia.data.index import open_index
from leukemia.gan import networks
from leukemia.gan.config import THESIS as GAN
from leukemia.model.schedule import QUICK
from leukemia.splits.protocol import split

GAN_SIZE, GAN_EPOCHS, GAN_BATCH, GAN_RATE = 32, 150, 32, 2e-4  # of `dcgan` under budget quick
CROP, BATCH = 210, 32


def main() -> None:
    """Run the notebook and print its balanced accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("technique")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--weights", default="none")
    options = parser.parse_args()
    index = open_index(options.data)
    images = np.stack([load(path, options.image_size) for path in index.paths]) / np.float32(255)
    labels = index.labels
    subjects = index.frame["subject"].to_numpy(str)
    for seed in map(int, options.seeds.split(",")):
        keras.utils.set_random_seed(seed)
        rows = split(index, subjects, "subject", seed, 0, 3).rows
        x, y = images[rows["train"]], labels[rows["train"]]
        x, y, class_weight = balance(options.technique, x, y, seed)
        model = fit(x, y, class_weight, images[rows["validation"]], labels[rows["validation"]],
                    options)  # fmt: skip
        called = model.predict(images[rows["test"]], batch_size=BATCH, verbose=0)[:, 0] >= 0.5
        right = called == labels[rows["test"]]
        of_class = [right[labels[rows["test"]] == label].mean() for label in (0, 1)]
        told = {side: len(rows[side]) for side in ("train", "test")}
        print(json.dumps({"seed": seed, **told, "bal_acc": float(np.mean(of_class))}), flush=True)


def load(path: Path, size: int) -> np.ndarray:
    """(size, size, 3) float32, 0 to 255."""
    image = keras.utils.load_img(path)
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    image = image.crop((left, top, left + CROP, top + CROP)).resize((size, size))
    return keras.utils.img_to_array(image)


def balance(
    technique: str, x: np.ndarray, y: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[int, float] | None]:
    """The training cells with what the technique adds, and class weights."""
    counts = np.bincount(y)
    rarer, missing = int(counts.argmin()), int(abs(counts[0] - counts[1]))
    if technique == "weighted":
        return x, y, {label: len(y) / (2 * count) for label, count in enumerate(counts)}
    if technique == "adasyn":
        from imblearn.over_sampling import ADASYN

        made, labels = ADASYN(random_state=seed).fit_resample(x.reshape(len(x), -1), y)
        return made.reshape(-1, *x.shape[1:]), labels, None
    if technique == "augmentation":
        flow = tf.keras.preprocessing.image.ImageDataGenerator(
            rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, shear_range=0.2,
            zoom_range=0.2, horizontal_flip=True,
        ).flow(x[y == rarer], batch_size=BATCH, seed=seed)  # fmt: skip
        made = [next(flow) for _ in range(-(-missing // BATCH) + 1)]
    elif technique == "dcgan":
        made = [gan(x[y == rarer], missing, seed)]
    else:
        return x, y, None
    new = np.concatenate(made)[:missing]
    return np.concatenate([x, new]), np.concatenate([y, np.full(len(new), rarer)]), None


def gan(x: np.ndarray, missing: int, seed: int) -> np.ndarray:
    """The usual loop: predict, three train_on_batch."""
    real = np.asarray(tf.image.resize(x, (GAN_SIZE, GAN_SIZE))) * 2 - 1
    plan = GAN.__class__(**{**vars(GAN), "size": GAN_SIZE})
    generator, logits = networks.generator(plan, seed), networks.discriminator(plan, seed + 1)
    chance = keras.layers.Activation("sigmoid")(logits.output)
    discriminator = keras.Model(logits.input, chance)
    discriminator.compile(keras.optimizers.Adam(GAN_RATE, 0.5), "binary_crossentropy")
    discriminator.trainable = False
    stacked = keras.Model(generator.input, discriminator(generator.output))
    stacked.compile(keras.optimizers.Adam(GAN_RATE, 0.5), "binary_crossentropy")
    rng = np.random.default_rng(seed)
    batch = min(GAN_BATCH, len(real))
    ones, zeros = np.ones((batch, 1)), np.zeros((batch, 1))
    for _ in range(GAN_EPOCHS):
        for _ in range(len(real) // batch):
            discriminator.trainable = True
            discriminator.train_on_batch(real[rng.integers(len(real), size=batch)], ones)
            latent = rng.standard_normal((batch, plan.latent), np.float32)
            discriminator.train_on_batch(generator.predict(latent, verbose=0), zeros)
            discriminator.trainable = False
            stacked.train_on_batch(latent, ones)
    latent = rng.standard_normal((missing, plan.latent), np.float32)
    made = generator.predict(latent, verbose=0) / 2 + 0.5
    return np.asarray(tf.image.resize(made, x.shape[1:3]))


def fit(
    x: np.ndarray,
    y: np.ndarray,
    class_weight: dict[int, float] | None,
    x_val: np.ndarray,
    y_val: np.ndarray,
    options: argparse.Namespace,
) -> keras.Model:
    """Two stages of transfer learning."""
    shape = (options.image_size, options.image_size, 3)
    weights = None if options.weights == "none" else options.weights
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=shape)
    if weights:
        backbone.load_weights(weights)
    pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
    model = keras.Model(backbone.input, keras.layers.Dense(1, activation="sigmoid")(pooled))
    for stage, trainable in ((QUICK.transfer, False), (QUICK.fine_tune, True)):
        backbone.trainable = trainable
        model.compile(
            keras.optimizers.Adam(stage.learning_rate), "binary_crossentropy", metrics=["accuracy"]
        )
        model.fit(
            x, y, BATCH, stage.epochs, verbose=0, validation_data=(x_val, y_val),
            class_weight=class_weight,
        )  # fmt: skip
    return model


if __name__ == "__main__":
    main()
