"""How often calibration's intervals hold the truth, what a threshold gains, where DeLong holds.

    python -m benchmarks.calibration
    python -m benchmarks.calibration --only intervals --replications 4000

A cell's evidence is normal about its class's mean, part of it its subject's (`likeness`: the
intraclass correlation); the log-odds that would come true are then linear in it, so a network that
says (log-odds - intercept) / slope has the calibration slope and intercept of that name. Numbers of
cells a subject are as unequal as in C-NMC 2019 (`coverage.draw_cases`). 1,000 replications take
half an hour on one core, most of it for the intervals; the Monte-Carlo error of a share of .95 or
of .05 is then .007.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri

from benchmarks.coverage import SHARED, Cases, Design, draw_arms, draw_cases
from leukemia.evaluation.calibration import BINS
from leukemia.evaluation.comparison import delong, difference, mcnemar
from leukemia.evaluation.intervals import interval
from leukemia.evaluation.jackknife import Repeats
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.recalibration import (
    STATISTICS,
    Estimate,
    difference_of,
    interval_of,
    measure,
)
from leukemia.evaluation.thresholds import at_best

GROUPS = ((6, 6), (14, 14), (47, 26))  # subjects by class
LUCK = 0.3  # standard deviation of a network's intercept
OTHER = 0.8, 0.2  # slope and intercept of the network that another one is compared with
NAMES = tuple(STATISTICS)


@dataclass(frozen=True)
class Law:
    """What is drawn: subjects by class, the true area under the ROC curve, the intraclass
    correlation, number of seeds, and the slope and intercept that would mend the scores."""

    positive: int
    negative: int
    area: float
    likeness: float
    seeds: int = 1
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def distance(self) -> float:
        """Of the classes' means, in standard deviations of a cell."""
        return float(np.sqrt(2) * ndtri(self.area))

    @property
    def share(self) -> float:
        """Of positive cells."""
        return self.positive / (self.positive + self.negative)

    @property
    def design(self) -> Design:
        """The same for `draw_cases`."""
        return Design(
            "law", self.positive, self.negative, False, self.area, self.likeness, self.seeds
        )

    def scores(self, evidence: np.ndarray, luck: float = 0.0) -> np.ndarray:
        """What the network says of cells."""
        odds = logit(self.share) + self.distance * evidence
        said: np.ndarray = expit((odds - self.intercept - luck) / self.slope)
        return said

    def __str__(self) -> str:
        who = f"{self.positive}+{self.negative}"
        return (
            f"{who:>8} {self.area:5.2f} {self.likeness:8.2f} {self.seeds:5d} {self.slope:5.2f} "
            f"{self.intercept:9.2f}"
        )


def laws() -> Iterator[Law]:
    """Networks that are calibrated, and ones that are too sure after a re-weighting."""
    for positive, negative in GROUPS:
        yield Law(positive, negative, 0.9, 0.1)
        yield Law(positive, negative, 0.9, 0.3, 1, 0.5, 0.7)
    yield Law(47, 26, 0.98, 0.1, 1, 0.5, 0.7)
    yield Law(47, 26, 0.98, 0.3)
    for positive, negative in GROUPS[1:]:
        yield Law(positive, negative, 0.9, 0.1, 3, 0.5, 0.7)


def draw(laws: tuple[Law, ...], cases: Cases, rng: np.random.Generator) -> list[Repeats]:
    """An arm a law, tested on the same cells; the laws differ in slope and intercept alone.

    Of what is in a cell, SHARED is the same for all arms, and four fifths for all seeds of an arm.
    """
    common = _noise(laws[0], cases, rng)
    arms: list[Repeats] = []
    for law in laws:
        steady = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * _noise(law, cases, rng)
        runs = []
        for _ in range(law.seeds):
            noise = np.sqrt(0.8) * steady + np.sqrt(0.2) * _noise(law, cases, rng)
            evidence = (2.0 * cases.labels - 1) * law.distance / 2 + noise
            luck = LUCK * rng.normal() if law.seeds > 1 else 0.0
            cells = Predictions(
                labels=cases.labels,
                scores=law.scores(evidence, luck),
                subjects=cases.names,
                cell_id=cases.names,
            )
            runs.append([_numbered(cells, cases)])
        arms.append(runs)
    return arms


def _numbered(cells: Predictions, cases: Cases) -> Predictions:
    """The same cells with numbers for names, which sort faster."""
    numbers: np.ndarray = np.arange(len(cells))
    return replace(cells, subjects=cases.places, cell_id=numbers)


def _noise(law: Law, cases: Cases, rng: np.random.Generator) -> np.ndarray:
    of_subject = rng.normal(size=cases.subjects)[cases.places]
    of_cell = rng.normal(size=len(cases.places))
    noise: np.ndarray = np.sqrt(law.likeness) * of_subject + np.sqrt(1 - law.likeness) * of_cell
    return noise


def truth(law: Law) -> dict[str, float]:
    """The true value of each of STATISTICS over new subjects and networks."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    lucks = LUCK * nodes if law.seeds > 1 else np.zeros(1)
    weights = weights / weights.sum() if law.seeds > 1 else np.ones(1)
    by_luck = [(_shift(law, luck), _error(law, luck)) for luck in lucks]
    shift, error = (float(weights @ np.array(each)) for each in zip(*by_luck, strict=True))
    return {"ece": error, "slope": law.slope, "intercept": law.intercept, "citl": shift}


def _grid(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """(m,) evidence and (m, 2) probabilities of a cell there being negative, and positive."""
    evidence = np.linspace(-9, 9, 20_001)
    density = np.stack(
        [
            share * np.exp(-((evidence - side * law.distance / 2) ** 2) / 2)
            for share, side in ((1 - law.share, -1), (law.share, 1))
        ],
        axis=1,
    )
    return evidence, density / density.sum()


def _shift(law: Law, luck: float) -> float:
    evidence, mass = _grid(law)
    said, of_cell = logit(law.scores(evidence, luck).clip(1e-12, 1 - 1e-12)), mass.sum(axis=1)
    return float(brentq(lambda by: of_cell @ expit(said + by) - law.share, -30, 30))


def _error(law: Law, luck: float) -> float:
    evidence, mass = _grid(law)
    scores = law.scores(evidence, luck)
    of_bin = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], scores)
    apart = mass.sum(axis=1) * scores - mass[:, 1]
    return float(np.abs(np.bincount(of_bin, apart)).sum())


def intervals(replications: int, seed: int) -> None:
    """Coverage of each statistic, of its difference from an equal network, and from another."""
    heads = [*NAMES, *(f"{name}=" for name in NAMES), *(f"{name}-" for name in NAMES)]
    print("subjects  area likeness seeds slope intercept " + " ".join(f"{h:>10}" for h in heads))
    for number, law in enumerate(laws()):
        rng, (slope, intercept) = np.random.default_rng([seed, number]), OTHER
        drawn = law, law, replace(law, slope=slope, intercept=intercept)
        true, other = truth(law), truth(drawn[2])
        gaps = dict.fromkeys(NAMES, 0.0), {name: true[name] - other[name] for name in NAMES}
        held = []
        for _ in range(replications):
            arms = draw(drawn, draw_cases(law.design, rng), rng)
            a, *others = ({name: measure(arm, name) for name in NAMES} for arm in arms)
            row = [_holds(interval_of(a[name], name), true[name]) for name in NAMES]
            for b, gap in zip(others, gaps, strict=True):
                row += [_holds(difference_of(a[n], b[n], n), gap[n]) for n in NAMES]
            held.append(row)
        print(law, " ".join(f"{share:10.3f}" for share in np.nanmean(held, axis=0)), flush=True)


def _holds(found: Estimate, true: float) -> float:
    """1 or 0, whether the interval has the truth in it; NaN where there is none."""
    return float("nan") if found.reason else float(found.low <= true <= found.high)


def thresholds(replications: int, seed: int) -> None:
    """True balanced accuracy from the threshold that so many validation subjects choose."""
    print("subjects  area likeness seeds slope intercept     most    at .5     best  best sd")
    for number, (group, area, likeness, shift) in enumerate(
        itertools.product(GROUPS, (0.9, 0.98), (0.1, 0.3), (0.0, 0.7))
    ):
        law = Law(*group, area, likeness, 1, 0.5, shift)
        rng, reached = np.random.default_rng([seed, number]), []
        for _ in range(replications):
            (((cells,),),) = draw((law,), draw_cases(law.design, rng), rng)
            reached.append(_accuracy(law, at_best(cells, cells).threshold))
        row = ndtr(law.distance / 2), _accuracy(law, 0.5), np.mean(reached), np.std(reached)
        print(law, " ".join(f"{value:8.3f}" for value in row), flush=True)


def _accuracy(law: Law, threshold: float) -> float:
    """The true balanced accuracy from a threshold on."""
    odds = law.slope * logit(threshold) + law.intercept
    evidence = (odds - logit(law.share)) / law.distance
    sens, spec = ndtr(law.distance / 2 - evidence), ndtr(law.distance / 2 + evidence)
    return float(sens + spec) / 2


def specificity(replications: int, seed: int) -> None:
    """Coverage of `spec95s` and `sens90s`, and of the difference of two equal networks' spec95s."""
    print("subjects  area likeness seeds slope intercept  spec95s  sens90s spec95s=")
    for number, (group, area, likeness) in enumerate(
        itertools.product(GROUPS[1:], (0.9, 0.98), (0.1, 0.3))
    ):
        positive, negative = group
        law = Law(positive, negative, area, likeness)
        spec, sens = (float(ndtr(law.distance - ndtri(share))) for share in (0.95, 0.9))
        rng, held = np.random.default_rng([seed, number]), []
        for _ in range(replications):
            a, b = draw((law, law), draw_cases(law.design, rng), rng)
            at_spec, at_sens = interval(a, "spec95s"), interval(a, "sens90s")
            gap = difference(a, b, "spec95s")
            pairs = (at_spec.low, at_spec.high), (at_sens.low, at_sens.high), (gap.low, gap.high)
            ends = zip(pairs, (spec, sens, 0.0), strict=True)
            held.append([low <= true <= high for (low, high), true in ends])
        print(law, " ".join(f"{share:8.3f}" for share in np.mean(held, axis=0)), flush=True)


def tests(replications: int, seed: int) -> None:
    """Shares of p < .05 between two networks that are equally good, by subjects of each class."""
    print("a class accuracy likeness  delong mcnemar")
    for number, (subjects, accuracy, likeness) in enumerate(
        itertools.product((6, 15, 30, 60), (0.75, 0.9, 0.97), (0.1, 0.3))
    ):
        design = Design("tests", subjects, subjects, False, accuracy, likeness, 1)
        rng, alarms = np.random.default_rng([seed, number]), []
        for _ in range(replications):
            cases = draw_cases(design, rng)
            a, b = (
                [[_numbered(cells, cases)]]
                for ((cells,),) in draw_arms(design, cases, (accuracy, accuracy), rng)
            )
            alarms.append([delong(a, b).p < 0.05, mcnemar(a, b).p < 0.05])
        shares = " ".join(f"{share:7.3f}" for share in np.mean(alarms, axis=0))
        print(f"{subjects:7d} {accuracy:8.2f} {likeness:8.2f} {shares}", flush=True)


PARTS: dict[str, Callable[[int, int], None]] = {
    "intervals": intervals, "thresholds": thresholds, "specificity": specificity,
    "tests": tests,
}  # fmt: skip


def main() -> None:
    """Print a table a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=1000, help="draws of each row")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(options.replications, options.seed)


if __name__ == "__main__":
    main()
