"""What synthetic cells are worth: their quality, their shortcuts, and whether they are copies.

A library: images in, figures and pictures out. It knows nothing of techniques, so that the cells of
all of them are measured alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leukemia.evaluation.intervals import Interval
from leukemia.evaluation.plots import png
from leukemia.images import Images
from leukemia.synthetic import copies, copies_plot, measures, membership, shortcut, shortcut_plot
from leukemia.synthetic.copies import Copies
from leukemia.synthetic.shortcut import Shortcut

MOST = 500  # cells of a kind that are measured: more cost time and add little
Features = Callable[[Images], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Cells of one kind: real ones, or synthetic ones.

    images: (n, S, S, 3) uint8, unread until they are needed.
    subjects: (n,) or (n, k) str, whom each is of, or was made of; None: each is independent.
    """

    images: Images
    subjects: np.ndarray | None

    def drawn(self, count: int, rng: np.random.Generator) -> "Kind":
        """`count` of them by lot, all where there are fewer, in memory."""
        rows = np.sort(rng.permutation(len(self.images))[:count])
        subjects = None if self.subjects is None else self.subjects[rows]
        return Kind(images=np.asarray(self.images[rows]), subjects=subjects)

    @property
    def named(self) -> np.ndarray:
        """(n,) str: one subject each, the first of several."""
        if self.subjects is None:
            return np.arange(len(self.images)).astype(str)
        return self.subjects.reshape(len(self.subjects), -1)[:, 0].astype(str)


@dataclass(frozen=True, kw_only=True)
class Review:
    """What was measured of synthetic cells.

    copies: (m,) bool, of all of them. metrics: by name: synth_* of the synthetic cells, floor_* of
    as many training cells in their place. text: the findings in words. refusal: why the run is
    refused, "" where it is not. files: pictures and texts, by path.
    """

    copies: np.ndarray
    metrics: dict[str, float]
    text: str
    refusal: str
    files: dict[str, bytes]


def review(
    made: Kind,
    training: Kind,
    unseen: Kind | None,
    features: Features,
    network: str,
    most_copies: float | None,
    about: str,
    seed: int,
) -> Review:
    """Measure synthetic cells against real ones of their class.

    Distances, coverage, probe and membership are of at most MOST cells of each kind, drawn by lot,
    and of as many training as synthetic ones; copies are looked for among all.

    Args:
        training: the cells that the synthetic ones were made from or learned from.
        unseen: real cells of other subjects; None: there are none, and training cells serve.
        features: (n, S, S, 3) uint8 to (n, d) float32; network: what they are of.
        most_copies: the share of copies that is allowed; None: any.
        about: what else the figures were measured on, for texts and pictures.
    """
    rng = np.random.default_rng(seed)
    count = min(len(made.images), len(training.images), MOST)
    some, learned = made.drawn(count, rng), training.drawn(count, rng)
    others = unseen and unseen.drawn(MOST, rng)
    genuine = unseen.images if unseen else None
    copied = copies.examine(made.images, training.images, training.named, genuine)
    probe = _probe(some, learned, seed)
    told = _membership(some, training, others, rng)
    texts = [
        copied.text,
        probe.text if probe else "Too few cells for a probe.",
        f"{count} synthetic cells and as many training cells are measured against "
        f"{_whom(others)}; distances in {network}.",
    ]
    return Review(
        copies=copied.copies,
        metrics={
            **_quality(some, learned, others, features),
            "synth_measured": float(count),
            **copies.metrics(copied),
            **(membership.metrics("distance", told) if told else {}),
            **(shortcut.metrics(probe) if probe else {}),
        },
        text=" ".join(texts),
        refusal=copied.refusal(most_copies),
        files=_files(copied, probe, made, training, (some, learned), [*texts, about]),
    )


def _quality(
    made: Kind, learned: Kind, unseen: Kind | None, features: Features
) -> dict[str, float]:
    """Distances of synthetic cells to real ones, and what as many training cells in their place
    measure: independent where these are, clustered by subject where these come from subjects. Of a
    single cell there is none."""
    if len(made.images) < 2:
        return {}
    real = unseen or learned
    of_real = features(real.images)
    of_learned = features(learned.images)
    figures = measures.measure(of_real, features(made.images), real.named, made.subjects)
    told = {f"synth_{name}": value for name, value in figures.items()}
    if unseen:
        clusters = None if made.subjects is None else learned.named
        floor = measures.measure(of_real, of_learned, real.named, clusters)
        told |= {f"floor_{name}": value for name, value in floor.items()}
    return told


def _membership(
    made: Kind, training: Kind, unseen: Kind | None, rng: np.random.Generator
) -> Interval | None:
    """How well nearness to synthetic cells tells training cells from unseen ones."""
    if unseen is None:
        return None
    members = training.drawn(MOST, rng)
    near = [membership.nearness(each.images, made.images) for each in (members, unseen)]
    return membership.attack(near[0], near[1], members.named, unseen.named)


def _probe(made: Kind, learned: Kind, seed: int) -> Shortcut | None:
    """The probe; None where there are too few images for one."""
    if len(made.images) < shortcut.FEWEST:
        return None
    comes_from = None if made.subjects is None else made.named
    images = np.asarray(learned.images), np.asarray(made.images)
    return shortcut.probe(*images, learned.named, comes_from, seed)


def _whom(unseen: Kind | None) -> str:
    if unseen is None:
        return "the very training cells, because there are no others"
    count = len(set(unseen.named.tolist()))
    return f"{len(unseen.images)} validation cells of {count} subjects that no technique has seen"


def _files(
    copied: Copies,
    probe: Shortcut | None,
    made: Kind,
    training: Kind,
    measured: tuple[Kind, Kind],
    lines: list[str],
) -> dict[str, bytes]:
    pairs = copies_plot.figure(copied, made.images, training.images, lines[-1])
    files = {
        "review/copies.png": png(pairs),
        "review/review.txt": "".join(f"{line}\n" for line in lines).encode(),
    }
    if probe:
        some, learned = measured
        drawn = shortcut_plot.figure(
            probe, np.asarray(learned.images), np.asarray(some.images), lines[-1]
        )
        files["review/shortcut.png"] = png(drawn)
    return files
