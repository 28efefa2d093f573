"""What a generator is worth: its quality, its shortcuts, and whether it hands out copies."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from leukemia.evaluation.intervals import Interval
from leukemia.gan import measures, pictures, privacy, privacy_plot, shortcut, shortcut_plot
from leukemia.gan.privacy import Privacy
from leukemia.gan.shortcut import Shortcut
from leukemia.gan.training import SampleScorer
from leukemia.model.inference import predict

SEEN = 256  # images that the discriminator is shown at once
MOST_JUDGED = 500  # images that are measured at a look: more cost time and add little


@dataclass(frozen=True, kw_only=True)
class Images:
    """images: (n, S, S, 3) uint8. groups: (n,) str, whom each is of: they differ less within."""

    images: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Review:
    """Measures of synthetic images.

    copies: (m,) bool. metrics: metrics by name: synth_* of the made images, floor_* of what
    perfect ones would measure. refusal: why the generator is refused, "" where it is not.
    files: pictures and texts, by path.
    """

    copies: np.ndarray
    metrics: dict[str, float]
    refusal: str
    files: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Reviewer:
    """Looks at made images against the real ones.

    training: those that the generator learns from. unseen: others of the same kind, of other
    subjects if possible; None where there are none, and the training images serve instead.
    features: (n, S, S, 3) uint8 -> (n, d) float32. limit: the share of copies that is allowed.
    about: what the figures were measured on, for the pictures.
    """

    training: Images
    unseen: Images | None
    features: Callable[[np.ndarray], np.ndarray]
    limit: float
    about: str

    @property
    def real(self) -> Images:
        """The real images that made ones are measured against."""
        return self.unseen or self.training

    def scorer(self) -> SampleScorer:
        """Measures samples while the generator is trained, against the same real images."""
        real = self._real_features
        side = self.training.images.shape[1:3]

        def measure(made: np.ndarray) -> dict[str, float]:
            features = self.features(pictures.taken_off(made, side))
            measured = measures.measure(real, features, self.real.groups)
            return {f"gan_{name}": value for name, value in measured.items()}

        return SampleScorer(count=min(MOST_JUDGED, max(len(real), 50)), measure=measure)

    @cached_property
    def floor(self) -> dict[str, float]:
        """What perfect images would measure: the training images against the unseen ones."""
        if self.unseen is None:
            return {}
        learned = self.features(self.training.images)
        measured = measures.measure(self._real_features, learned, self.unseen.groups)
        return {f"floor_{name}": value for name, value in measured.items()}

    def review(self, made: np.ndarray, discriminator: keras.Model | None, seed: int) -> Review:
        """Everything that is to be known of the made images (m, S, S, 3) uint8; of a single one
        there is no distance."""
        quality = {}
        if len(made) > 1:
            quality = measures.measure(self._real_features, self.features(made), self.real.groups)
        copied = privacy.examine(
            made, self.training.images, self.features, self._membership(made, discriminator)
        )
        probe = self._probe(made, seed)
        return Review(
            copies=copied.copies,
            metrics={
                **{f"synth_{name}": value for name, value in quality.items()},
                **self.floor,
                **privacy.metrics(copied),
                **(shortcut.metrics(probe) if probe else {}),
            },
            refusal="" if copied.acceptable(self.limit) else copied.text,
            files=self._files(copied, probe, made),
        )

    @cached_property
    def _real_features(self) -> np.ndarray:
        return self.features(self.real.images)

    def _membership(
        self, made: np.ndarray, discriminator: keras.Model | None
    ) -> dict[str, Interval]:
        """Both attacks, where there are images that the generator was not trained on."""
        if self.unseen is None:
            return {}
        both = self.training, self.unseen
        members, others = self.training.groups, self.unseen.groups
        near = [privacy.nearness(each.images, made) for each in both]
        attacks = {"distance": privacy.attack(near[0], near[1], members, others)}
        if discriminator is not None:
            taken = [_logits(discriminator, each.images) for each in both]
            attacks["discriminator"] = privacy.attack(taken[0], taken[1], members, others)
        return attacks

    def _probe(self, made: np.ndarray, seed: int) -> Shortcut | None:
        """The probe; None where there are too few images for one."""
        if min(len(made), len(self.training.images)) < shortcut.FEWEST:
            return None
        return shortcut.probe(self.training.images, made, self.training.groups, seed)

    def _files(self, copied: Privacy, probe: Shortcut | None, made: np.ndarray) -> dict[str, bytes]:
        real = self.training.images
        pairs = privacy_plot.figure(copied, made, real, self.about)
        lines = [copied.text, probe.text if probe else "Too few cells for a probe.", self.about]
        files = {
            "gan/copies.png": pictures.png(pairs),
            "gan/review.txt": "".join(f"{line}\n" for line in lines).encode(),
        }
        if probe:
            drawn = shortcut_plot.figure(probe, real, made, self.about)
            files["gan/shortcut.png"] = pictures.png(drawn)
        return files


def _logits(discriminator: keras.Model, images: np.ndarray) -> np.ndarray:
    """(n,) float32: how real the discriminator takes images (n, S, S, 3) uint8 to be."""
    side, told = discriminator.input_shape[1], []
    for start in range(0, len(images), SEEN):
        seen = pictures.put_on(images[start : start + SEEN], side).astype(np.float32) / 127.5 - 1
        told.append(predict(discriminator, seen)[:, 0])
    return np.concatenate(told)


def pixels(images: np.ndarray) -> np.ndarray:
    """Features without a network: (n, S, S, 3) uint8 at 16 px, (n, 768) float32 in [0, 1]."""
    return pictures.resize(images, 16).reshape(len(images), -1).astype(np.float32) / 255
