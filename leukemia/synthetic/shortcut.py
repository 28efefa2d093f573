"""Can a classifier tell made images from real ones by a shortcut?

If resolution, range, colour or background give made images away, a classifier that is trained on
them can learn "is made" in place of "is of the rarer class". A small network tries: on the images
as they are, on their broad shades alone, and on their fine structure alone. Where it succeeds
says what gives them away; `traces` are what a person would check by eye.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from scipy.ndimage import gaussian_filter

from leukemia.errors import UserError
from leukemia.evaluation.intervals import Interval, interval
from leukemia.evaluation.predictions import Predictions

VIEWS = ("raw", "low", "high")
WINDOW = 64  # px, the central part that is looked at: never resampled, that would hide traces
BROAD = 1 / 16  # of the side, standard deviation of the low pass
EPOCHS, BATCH, RATE = 20, 16, 2e-3
FEWEST = 8  # images of each kind
SEEN = 256  # images that are transformed at once
FINE = 2 / 3  # of the highest spatial frequency: beyond it is fine structure
TOLD = 0.5  # a view tells if its interval lies above


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """How well made images can be told from real ones.

    accuracy: view -> balanced accuracy with its interval over subjects, those that made images come
    from among them. traces: what differs, by name.
    """

    accuracy: dict[str, Interval]
    traces: dict[str, float]

    @property
    def text(self) -> str:
        """The finding in plain words.

        Fine structure is named where the high-passed view tells by more than the low-passed one,
        broad shades the other way round.
        """
        accuracies = ", ".join(
            f"{each.value:.2f} [{each.low:.2f}, {each.high:.2f}] {view}"
            for view, each in self.accuracy.items()
        )
        return (
            f"A small network tells made from real cells with a balanced accuracy of {accuracies} "
            f"(0.5: not at all); {self._why()}."
        )

    def _why(self) -> str:
        low, high = (self.accuracy[view] for view in ("low", "high"))
        if all(not each.low > TOLD for each in self.accuracy.values()):
            return "nothing gives the made cells away"
        power = self.traces["power"]
        if high.value > low.value:
            return f"fine structure gives them away, with {power:.2f} times the real cells' power"
        return "colour, shape or brightness give them away"


def probe(
    real: np.ndarray,
    made: np.ndarray,
    real_of: np.ndarray,
    made_of: np.ndarray | None,
    seed: int,
) -> Shortcut:
    """Train the small network on one half, test it on the other, and the other way round.

    As many images of each kind, (n, S, S, 3) uint8, drawn by lot. No subject is in both halves,
    where there are two, and what was made of a subject's cells is in its half: else the network
    would tell people, or know a made image by its parent.

    Args:
        real_of: (n,) str, whom each real image is of.
        made_of: (m,) str, whom each made image comes from; None: each is independent.

    Raises:
        UserError: fewer than eight images of a kind.
    """
    count = min(len(real), len(made))
    if count < FEWEST:
        raise UserError(f"{count} images of a kind cannot be told from others: give {FEWEST}")
    rng = np.random.default_rng(seed)
    rows, others = (np.sort(rng.permutation(len(each))[:count]) for each in (real, made))
    real, made = real[rows], made[others]
    images = np.concatenate([central(real), central(made)])
    subjects, half = _placed(real_of[rows], None if made_of is None else made_of[others], rng)
    labels = np.repeat(np.array([0, 1], np.int8), count)
    views = {"raw": images, "low": low_passed(images), "high": high_passed(images)}
    accuracy, network = {}, _Network(images.shape[1:], seed)
    for view, seen in views.items():
        scores = network.cross(seen, labels, half)
        predictions = Predictions(
            labels=labels,
            scores=scores,
            subjects=subjects,
            cell_id=np.arange(len(labels)).astype(str),
        )
        accuracy[view] = interval([[predictions]])
    return Shortcut(accuracy=accuracy, traces=traces(real, made))


def low_passed(images: np.ndarray) -> np.ndarray:
    """The broad shades of images (n, S, S, 3) uint8: float32 grey levels."""
    width = BROAD * images.shape[1]
    blurred = np.empty(images.shape, np.float32)
    for row, image in enumerate(images):
        gaussian_filter(
            image.astype(np.float32), (width, width, 0), mode="nearest", output=blurred[row]
        )
    return blurred


def high_passed(images: np.ndarray) -> np.ndarray:
    """What the low pass takes away, on mid-grey: float32; both sum to the image and 128."""
    rest: np.ndarray = images - low_passed(images) + 128
    return rest


def central(images: np.ndarray) -> np.ndarray:
    """The central window of images that are larger."""
    start = max(0, (images.shape[1] - WINDOW) // 2)
    return images[:, start : start + WINDOW, start : start + WINDOW]


def traces(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """What a person would check: of both kinds the shares of exactly black and of saturated
    pixels, mean and standard deviation of each channel; and `power`, the made images' power in
    fine structure as a multiple of the real ones'."""
    values = {}
    for kind, images in (("real", real), ("made", made)):
        values[f"{kind}_black"] = float((images == 0).all(-1).mean())
        values[f"{kind}_saturated"] = float((images == 255).any(-1).mean())
        for channel, name in enumerate("rgb"):
            values[f"{kind}_mean_{name}"] = float(images[..., channel].mean())
            values[f"{kind}_sd_{name}"] = float(images[..., channel].std())
    fine_real, fine_made = (_fine(power_spectrum(each)) for each in (real, made))
    values["power"] = fine_made / fine_real if fine_real else float("nan")
    return values


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """(S // 2,) mean power of the grey images by radial frequency, from the lowest on."""
    side = images.shape[1]
    window = np.hanning(side).astype(np.float32)
    power = np.zeros((side, side))
    for start in range(0, len(images), SEEN):
        grey = images[start : start + SEEN].mean(-1, dtype=np.float32)
        power += np.sum(np.abs(np.fft.fft2(grey * window * window[:, None])) ** 2, axis=0)
    power /= len(images)
    waves = np.fft.fftfreq(side) * side
    radius = np.rint(np.hypot(waves[:, None], waves)).astype(int)
    count = np.maximum(np.bincount(radius.ravel()), 1)
    return (np.bincount(radius.ravel(), power.ravel()) / count)[: side // 2]


def metrics(shortcut: Shortcut) -> dict[str, float]:
    """The figures by metric name."""
    return {
        **{f"synth_probe_{view}": each.value for view, each in shortcut.accuracy.items()},
        **{f"synth_probe_{view}_lo": each.low for view, each in shortcut.accuracy.items()},
        **{f"synth_probe_{view}_hi": each.high for view, each in shortcut.accuracy.items()},
        "synth_trace_power": shortcut.traces["power"],
        "synth_trace_black_real": shortcut.traces["real_black"],
        "synth_trace_black_made": shortcut.traces["made_black"],
    }


def _fine(spectrum: np.ndarray) -> float:
    return float(spectrum[int(FINE * len(spectrum)) :].sum())


def _placed(
    real_of: np.ndarray, made_of: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(2 n,) str and (2 n,) 0 or 1: subject and half of the real images, then of the made ones."""
    count, names = len(real_of), real_of.astype(str)
    if made_of is None:
        made_names = np.char.add("made ", np.arange(count).astype(str))
        halves = [_halves(names, rng), rng.permutation(count) % 2]
        return np.concatenate([names, made_names]), np.concatenate(halves)
    both = np.concatenate([names, made_of.astype(str)])
    return both, _halves(both, rng)


def _halves(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) 0 or 1: whole groups, the largest first, each into the half that has fewer so far;
    images one by one where there is only one group."""
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return rng.permutation(len(groups)) % 2
    half, filled = np.zeros(len(names), int), [0, 0]
    for group in np.argsort(-sizes, kind="stable"):
        half[group] = int(filled[1] < filled[0])
        filled[half[group]] += sizes[group]
    return half[number]


class _Network:
    """Three small convolutions, built once and begun anew for every training."""

    def __init__(self, shape: tuple[int, ...], seed: int):
        seeds = iter(np.random.default_rng(seed).integers(2**31, size=4).tolist())
        # All have names of their own: Keras counts those that it gives, and a classifier that is
        # built after this would differ from one that is not in the last bit.
        inputs = x = keras.Input(shape, name="probed")
        for width in (8, 16, 32):
            start = keras.initializers.HeUniform(seed=next(seeds))
            convolution = layers.Conv2D(
                width, 3, 2, padding="same", activation="relu", kernel_initializer=start,
                name=f"probe_{width}",
            )  # fmt: skip
            x = convolution(x)
        x = layers.GlobalAveragePooling2D(name="probe_mean")(x)
        start = keras.initializers.GlorotUniform(seed=next(seeds))
        head = layers.Dense(1, activation="sigmoid", kernel_initializer=start, name="probe_head")
        self._model, self._seed = keras.Model(inputs, head(x), name="probe"), seed
        optimizer = keras.optimizers.Adam(RATE, name="probe_adam")
        optimizer.build(self._model.trainable_variables)
        self._model.compile(optimizer, "binary_crossentropy")
        self._variables = [*self._model.variables, *optimizer.variables]
        self._fresh = [keras.ops.convert_to_numpy(each) for each in self._variables]

    def cross(self, images: np.ndarray, labels: np.ndarray, half: np.ndarray) -> np.ndarray:
        """(n,) float32: the probability of being made, after a training on the other half."""
        images = (images.astype(np.float32) - 128) / 64
        scores = np.zeros(len(images), np.float32)
        for test in (0, 1):
            self._train(images, labels, np.flatnonzero(half != test))
            unseen = np.flatnonzero(half == test)
            for start in range(0, len(unseen), 64):
                some = unseen[start : start + 64]
                scores[some] = np.asarray(self._model(images[some], training=False))[:, 0]
        return scores

    def _train(self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> None:
        for variable, value in zip(self._variables, self._fresh, strict=True):
            variable.assign(value)
        for epoch in range(EPOCHS):
            order = np.random.default_rng((self._seed, epoch)).permutation(rows)
            for start in range(0, len(order), BATCH):
                some = order[start : start + BATCH]
                self._model.train_on_batch(images[some], labels[some][:, None])
