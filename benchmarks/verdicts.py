"""How often a study's verdicts are right: false ones, true ones missed, its winner's worth.

    python -m benchmarks.verdicts
    python -m benchmarks.verdicts --studies 1000 --truths 300 --only trained --metric bal_acc
    python -m benchmarks.verdicts --planned

Six arms of the very same law, or one of them better by a known amount, under two laws:

trained: linear classifiers that are trained on the cells of drawn subjects, each network without a
    share of the features at random (its luck); every seed draws its own split into folds.
scores: normal scores with an effect of the subject, an effect of the subject in that arm (in every
    seed alike), and a network's luck.

`false` is the share of studies with equal arms in which any comparison is called different; +.03,
+.05 and +.10 the share in which the better arm is called different from the baseline, and behind
the stroke what a test of that pair alone finds, named beforehand and uncorrected. `gain` is the
mean printed gain of the chosen arm where the truth is 0, `sure` how often the registry's gate would
be sure of it; `value` and the last `gain` are the shares of studies whose 95 % interval of the
winner's metric, and of its gain, holds the truth. No cell is looked at, no image network trained.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from leukemia.evaluation.metrics import confusion, from_confusion, metric_of
from leukemia.evaluation.predictions import Predictions
from leukemia.ranking.networks import Block, Network
from leukemia.ranking.power import LEVEL
from leukemia.ranking.rank import CHOICE, Ranking, rank

Rng = np.random.Generator
ARMS = ("baseline", "better", "c", "d", "e", "f")
PLANNED = ("better", "baseline")
FEATURES = 20
GAPS = (0.03, 0.05, 0.10)
HIGHEST = 0.995  # a better arm is not asked for beyond
CALIBRATION = 200  # studies from which a law's true metric is read


@dataclass(frozen=True)
class Design:
    """A study to be drawn. positive, negative: subjects. likeness: the intraclass correlation.

    sizes: of subjects in cells: `even`, `wide` (9 to 757) or `giant` (one has half of its class).
    luck: the share of features that a network lacks, or the deviation of its quality and its
    threshold on the probit scale. own: the share of a subject's effect that is the arm's. ease:
    the distance of the classes.
    """

    name: str
    law: str
    positive: int
    negative: int
    seeds: int
    folds: int
    sizes: str = "even"
    likeness: float = 0.3
    luck: float = 0.3
    own: float = 0.4
    ease: float = 1.4


DESIGNS = (
    Design("24 + 12", "trained", 24, 12, 3, 3),
    Design("47 + 26", "trained", 47, 26, 3, 3),
    Design("little luck", "trained", 47, 26, 3, 3, luck=0.1),
    Design("more networks", "trained", 47, 26, 3, 5),
    Design("9 to 757 cells", "trained", 47, 26, 3, 5, sizes="wide"),
    Design("one giant", "trained", 47, 26, 3, 5, sizes="giant"),
    Design("alike little", "trained", 47, 26, 3, 3, likeness=0.1),
    Design("alike much", "trained", 47, 26, 3, 3, likeness=0.6),
    Design("near perfect", "trained", 47, 26, 3, 3, likeness=0.1, ease=6.0),
    Design("24 + 12", "scores", 24, 12, 3, 3, luck=0.15, ease=1.04),
    Design("correlated", "scores", 47, 26, 3, 5, luck=0.15, ease=1.04),
    Design("independent", "scores", 47, 26, 3, 5, luck=0.15, own=1.0, ease=1.04),
    Design("9 to 757 cells", "scores", 47, 26, 3, 5, sizes="wide", luck=0.15, ease=1.04),
    Design("alike much", "scores", 47, 26, 3, 3, likeness=0.6, luck=0.15, ease=1.04),
)


@dataclass(frozen=True)
class Cases:
    """Cells of drawn subjects: places (n,) of the subjects, labels (n,); of_subject (m,) labels."""

    places: np.ndarray
    labels: np.ndarray
    of_subject: np.ndarray

    @property
    def sign(self) -> np.ndarray:
        """(n,) float64, 1 for positive cells and -1 for others."""
        return 2.0 * self.labels - 1


def cases(design: Design, rng: Rng) -> Cases:
    """Subjects of both classes with numbers of cells as the design has them."""
    counts = np.concatenate([_sizes(design, n, rng) for n in (design.positive, design.negative)])
    of_subject = np.repeat([1, 0], [design.positive, design.negative]).astype(np.int8)
    places = np.repeat(np.arange(len(counts)), counts)
    return Cases(places, of_subject[places], of_subject)


def _sizes(design: Design, subjects: int, rng: Rng) -> np.ndarray:
    middle, spread, least, most = {"wide": (90, 1.0, 9, 757), "giant": (20, 0.5, 3, 400)}.get(
        design.sizes, (30, 0.77, 3, 400)
    )
    counts = rng.lognormal(np.log(middle), spread, subjects).round().clip(least, most)
    if design.sizes == "giant":
        counts[0] = counts[1:].sum()
    return counts.astype(int)


def parts(drawn: Cases, folds: int, rng: Rng) -> np.ndarray:
    """(m,) int: the fold of each subject, at random within its class."""
    part = np.empty(len(drawn.of_subject), int)
    for label in (0, 1):
        order = rng.permutation(np.flatnonzero(drawn.of_subject == label))
        part[order] = (np.arange(len(order)) + rng.integers(folds)) % folds
    return part


class Trained:
    """Margins (n,) of linear classifiers that lack features at random."""

    def __init__(self, design: Design, drawn: Cases, rng: Rng):
        self._design, self._drawn, self._rng = design, drawn, rng
        of_subject = rng.normal(size=(len(drawn.of_subject), FEATURES))[drawn.places]
        of_cell = rng.normal(size=(len(drawn.places), FEATURES))
        self._cells = np.column_stack(
            [
                drawn.sign[:, None] * design.ease / np.sqrt(FEATURES)
                + np.sqrt(design.likeness) * of_subject
                + np.sqrt(1 - design.likeness) * of_cell,
                np.ones(len(drawn.places)),
            ]
        )
        ends = np.flatnonzero(np.diff(drawn.places, prepend=-1))
        self._squares = np.stack([each.T @ each for each in np.split(self._cells, ends[1:])])
        self._sums = np.add.reduceat(self._cells * drawn.sign[:, None], ends)

    def __call__(self, arm: int, learned: np.ndarray) -> np.ndarray:
        """Of a network that learned from the subjects where `learned` (m,) is true."""
        counts = np.bincount(self._drawn.places)
        weights = np.zeros(len(counts))
        for label in (0, 1):
            of_class = learned & (self._drawn.of_subject == label)
            weights[of_class] = 0.5 / counts[of_class].sum()
        kept = np.append(self._rng.random(FEATURES) >= self._design.luck, True)
        squares = np.tensordot(weights, self._squares, 1)[np.ix_(kept, kept)]
        found = np.linalg.solve(squares + 1e-3 * np.eye(len(squares)), (weights @ self._sums)[kept])
        scores = self._cells[:, kept] @ found
        return np.asarray(scores / scores.std())


class Scores:
    """Margins (n,) from effects of subject, of subject in an arm, of network and cell."""

    def __init__(self, design: Design, drawn: Cases, rng: Rng):
        self._design, self._drawn, self._rng = design, drawn, rng
        common = self._effects()
        self._steady = [
            np.sqrt(1 - design.own) * common + np.sqrt(design.own) * self._effects() for _ in ARMS
        ]

    def __call__(self, arm: int, learned: np.ndarray) -> np.ndarray:
        """Of a network of an arm, whatever it learned from."""
        quality, threshold = self._design.luck * self._rng.normal(size=2)
        noise = np.sqrt(0.8) * self._steady[arm] + np.sqrt(0.2) * self._effects()
        return np.asarray(self._drawn.sign * (self._design.ease + quality) + threshold + noise)

    def _effects(self) -> np.ndarray:
        shade, difficulty = self._rng.normal(size=(2, len(self._drawn.of_subject)))
        of_subject = np.sqrt(0.5) * (shade + (2.0 * self._drawn.of_subject - 1) * difficulty)
        of_cell = self._rng.normal(size=len(self._drawn.places))
        likeness = self._design.likeness
        return np.asarray(
            np.sqrt(likeness) * of_subject[self._drawn.places] + np.sqrt(1 - likeness) * of_cell
        )


LAWS: dict[str, type[Trained] | type[Scores]] = {"trained": Trained, "scores": Scores}


def study(
    design: Design, shift: float, rng: Rng, arms: Sequence[str] = ARMS
) -> dict[str, dict[Block, Network]]:
    """Every network of a study, where the margins of arm `better` are moved to the right side."""
    drawn = cases(design, rng)
    law = LAWS[design.law](design, drawn, rng)
    names = np.char.mod("s%04d", drawn.places)
    cell_id = np.char.mod("%06d", np.arange(len(names)))
    runs: dict[str, dict[Block, Network]] = {arm: {} for arm in arms}
    for seed in range(design.seeds):
        part = parts(drawn, design.folds, rng)
        for fold in range(design.folds):
            sides = [part == (fold + 1) % design.folds, part == fold]
            learned = ~(sides[0] | sides[1])
            for number, arm in enumerate(arms):
                margins = law(number, learned) + shift * (arm == "better") * drawn.sign
                scores = expit(2 * margins)
                validation, test = (
                    Predictions(
                        labels=drawn.labels[kept],
                        scores=scores[kept],
                        subjects=names[kept],
                        cell_id=cell_id[kept],
                    )
                    for kept in (side[drawn.places] for side in sides)
                )
                runs[arm][str(seed), fold] = Network(validation=validation, test=test)
    return runs


@dataclass(frozen=True)
class Truth:
    """A law's true metric, and the shifts that raise it by each of GAPS (None beyond HIGHEST)."""

    metric: float
    shifts: tuple[float | None, ...]


def truth(design: Design, metric: str, rng: Rng, studies: int = CALIBRATION) -> Truth:
    """From the test cells of many studies of one arm; shifts are found on the metric's own mean."""
    drawn = [
        network.test
        for _ in range(studies)
        for network in study(design, 0.0, rng, ARMS[:1])["baseline"].values()
    ]

    def at(shift: float) -> float:
        return float(np.mean([value_of(moved(cells, shift), metric) for cells in drawn]))

    base = at(0.0)
    return Truth(
        base,
        tuple(_solved(at, base + gap) if base + gap < HIGHEST else None for gap in GAPS),
    )


def _solved(at: Callable[[float], float], wanted: float) -> float:
    """The shift at which the metric is as wanted."""
    return float(brentq(lambda shift: at(shift) - wanted, 0.0, 20.0, xtol=1e-3))


def moved(cells: Predictions, shift: float) -> Predictions:
    """The cells with their margins moved to the right side."""
    sign = 2.0 * cells.labels - 1
    return replace(cells, scores=expit(logit(cells.scores) + 2 * shift * sign))


def value_of(cells: Predictions, metric: str) -> float:
    """The metric of one network's cells."""
    entry = metric_of(metric)
    if entry.of_scores:
        return entry.of_scores(cells.labels, cells.scores)
    return from_confusion(confusion(cells.labels, cells.scores))[metric]


def ranked(
    runs: dict[str, dict[Block, Network]], metric: str, planned: tuple[str, str] | None = None
) -> Ranking:
    """The ranking of a study's networks, by the project's own `rank`."""
    rows, cells = [], {}
    for arm, blocks in runs.items():
        for (seed, fold), network in blocks.items():
            run_id = f"{arm} {seed} {fold}"
            cells[run_id] = network
            rows.append(
                {
                    "run_id": run_id, "arm": arm, "seed": int(seed), "fold": fold,
                    f"val_{metric}": value_of(network.validation, metric),
                    "balance_s": 0.0, "train_s": 1.0, "synthetic": 0.0,
                }
            )  # fmt: skip
    return rank(pd.DataFrame(rows), cells, metric, planned)


@dataclass(frozen=True)
class Verdicts:
    """What a study said: any comparison different; the better arm from the baseline; the same by
    a test of that pair alone; the chosen arm's printed gain; whether the intervals of its metric
    and gain hold the truth; whether its gain is called sure."""

    different: bool
    better: bool
    named: bool
    gain: float
    metric_held: bool
    gain_held: bool
    sure: bool


def judged(
    design: Design, gap: float, shift: float, base: float, metric: str, rng: Rng,
    planned: tuple[str, str] | None = None,
) -> Verdicts:  # fmt: skip
    """One drawn study, ranked. base: the true metric of the other arms."""
    runs = study(design, shift, rng)
    found = ranked(runs, metric, planned)
    compared = found.comparisons
    of_pair = (compared["arm"] == "better") & (compared["against"] == "baseline")
    pair = compared[of_pair].iloc[0]
    assert found.worth
    assert found.worth.gain
    value, gain = found.worth.value, found.worth.gain
    true = gap * found.worth.chosen.get("better", 0.0)
    return Verdicts(
        different=bool((found.comparisons["adjusted"] < LEVEL).any()),
        better=bool(pair["adjusted"] < LEVEL),
        named=bool(pair["p"] < LEVEL),
        gain=gain.value,
        metric_held=value.low <= base + true <= value.high,
        gain_held=gain.low <= true <= gain.high,
        sure=gain.low > 0,
    )


def line(
    design: Design, studies: int, truths: int, metric: str, seed: int,
    planned: tuple[str, str] | None = None,
) -> str:  # fmt: skip
    """A design's row of the table."""
    rng = np.random.default_rng([seed, DESIGNS.index(design)])
    start, true = time.perf_counter(), truth(design, metric, rng)
    null = [judged(design, 0.0, 0.0, true.metric, metric, rng, planned) for _ in range(studies)]
    parts, held = [], [null]
    for gap, shift in zip(GAPS, true.shifts, strict=True):
        if shift is None:
            parts.append(f"{'-':>11}")
            continue
        some = [
            judged(design, gap, shift, true.metric, metric, rng, planned) for _ in range(truths)
        ]
        held.append(some)
        parts.append(f"{_share(some, 'better'):5.3f}/{_share(some, 'named'):5.3f}")
    every = [each for some in held for each in some]
    return (
        f"{design.law:<8}{design.name:<15}{true.metric:6.3f} {_share(null, 'different'):6.3f} "
        f"{' '.join(parts)} {_share(null, 'gain'):+7.4f} "
        f"{_share(null, 'sure'):6.3f} {_share(every, 'metric_held'):6.3f} "
        f"{_share(every, 'gain_held'):6.3f} {(time.perf_counter() - start) / 60:5.1f}"
    )


def _share(some: list[Verdicts], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in some]))


def main() -> None:
    """Print a line a design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="of equal arms, a design")
    parser.add_argument("--truths", type=int, default=300, help="with a better arm, each gap")
    parser.add_argument("--only", default="", help="designs whose law and name hold this text")
    parser.add_argument("--metric", default=CHOICE, help="that the studies are ranked by")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--planned", action="store_true", help="better against baseline, in each")
    options = parser.parse_args()
    print(f"{options.studies} studies of equal arms a design, {options.truths} of each better one, "
          f"by {options.metric}, seed {options.seed}{', planned' * options.planned}")  # fmt: skip
    print("law     design        metric  false      +.03        +.05        +.10      "
          "gain   sure  value   gain   min")  # fmt: skip
    for design in DESIGNS:
        if options.only in f"{design.law} {design.name}":
            planned = PLANNED if options.planned else None
            row = line(
                design, options.studies, options.truths, options.metric, options.seed, planned
            )
            print(row, flush=True)


if __name__ == "__main__":
    main()
