"""Turned, shifted, sheared, zoomed and mirrored copies of the rarer class's cells.

Source: the thesis, section 4.7, and the transforms of the legacy Keras ImageDataGenerator
that it used (same ranges, same order of matrices, nearest-edge filling; a "shear of 0.2" is
0.2 degrees there). The thesis asked that generator for one batch of (majority - minority)
images, which never gives more images than the class has; here there are as many as balance
needs. Wrong when the copies bring nothing new: the same subjects, seen again.
"""

from dataclasses import dataclass

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import (
    Schedule,
    Stage,
    TechniqueContext,
    TrainingSet,
    setting,
    with_synthetic,
)

THESIS = Schedule(
    transfer=Stage(learning_rate=1e-6, epochs=5), fine_tune=Stage(learning_rate=1e-4, epochs=8)
)
BATCH = 64  # cells transformed at once: bounds the float copy to 34 MB at 210 px


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The ranges from which each copy's transform is drawn, uniformly."""

    rotation: float = setting(10.0, "largest turn either way, degrees (thesis 4.7: 10)")
    shift: float = setting(0.1, "largest shift, fraction of width and height (thesis 4.7: 0.1)")
    shear: float = setting(0.2, "largest shear, degrees (thesis 4.7: 0.2)")
    zoom: float = setting(0.2, "largest change of scale on each axis (thesis 4.7: 0.2)")
    flip: bool = setting(True, "mirror every other copy left to right (thesis 4.7: yes)")


def balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet:
    """The training cells and as many transformed copies of the rarer class as balance needs."""
    sources = np.flatnonzero(train.labels == train.minority())
    rows = in_turn(sources, train.shortage(), context.rng)
    matrices = random_matrices(len(rows), train.images.shape[1], settings, context.rng)
    flips = (context.rng.random(len(rows)) < 0.5) & settings.flip
    synthetic = np.empty((len(rows), *train.images.shape[1:]), np.uint8)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        synthetic[part] = transform(train.images[rows[part]], matrices[part], flips[part])
        context.report(0, {"augmentation_done": min(start + BATCH, len(rows)) / len(rows)})
    return with_synthetic(train, synthetic, "augmentation", rows[:, None])


def in_turn(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) of `rows`, shuffled anew each time all have been used: no cell is favoured."""
    turns = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(turns)] or [rows])[:count]


def random_matrices(
    count: int, size: int, settings: Settings, rng: np.random.Generator
) -> np.ndarray:
    """(count, 3, 3) float64: output (row, column, 1) to input, about the image's centre."""
    turn = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation, count))
    shifts = rng.uniform(-settings.shift, settings.shift, (count, 2)) * size
    shear = np.deg2rad(rng.uniform(-settings.shear, settings.shear, count))
    zooms = rng.uniform(1 - settings.zoom, 1 + settings.zoom, (count, 2))
    rotation = _stack(np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0)
    shift = _stack(1, 0, shifts[:, 0], 0, 1, shifts[:, 1])
    shearing = _stack(1, -np.sin(shear), 0, 0, np.cos(shear), 0)
    zoom = _stack(zooms[:, 0], 0, 0, 0, zooms[:, 1], 0)
    centre = size / 2 - 0.5
    there, back = _stack(1, 0, centre, 0, 1, centre), _stack(1, 0, -centre, 0, 1, -centre)
    product: np.ndarray = there @ rotation @ shift @ shearing @ zoom @ back
    return product


def transform(images: np.ndarray, matrices: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """(n, S, S, 3) uint8 after the affine maps (bilinear, nearest edge) and the mirrorings."""
    import keras

    # Keras wants (x, y), the matrices are in (row, column): both axes change places.
    rows = matrices[:, [1, 1, 1, 0, 0, 0], [1, 0, 2, 1, 0, 2]]
    vectors = np.concatenate([rows, np.zeros((len(rows), 2))], axis=1).astype(np.float32)
    turned = keras.ops.image.affine_transform(
        images.astype(np.float32), vectors, interpolation="bilinear", fill_mode="nearest"
    )
    turned = np.rint(keras.ops.convert_to_numpy(turned)).clip(0, 255).astype(np.uint8)
    flipped: np.ndarray = np.where(flips[:, None, None, None], turned[:, :, ::-1], turned)
    return flipped


def _stack(*entries: np.ndarray | float) -> np.ndarray:
    """(n, 3, 3) matrices from their first two rows, the third being 0 0 1."""
    values = np.broadcast_arrays(*entries, 0, 0, 1)
    flat = np.stack([np.atleast_1d(value) for value in values], axis=-1)
    return flat.reshape(-1, 3, 3).astype(np.float64)
