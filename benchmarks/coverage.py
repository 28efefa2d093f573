"""How often the 95 % intervals hold the truth, and how often the tests cry wolf.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --replications 4000 --only cnmc

Scores are drawn from a model whose true figures are known in closed form: a cell's score is the
normal probability of its class's mean, its network's luck, its subject and itself. Numbers of
cells a subject are as unequal as in C-NMC 2019. Coverage is of bal_acc, wf1 and auroc, of
percentiles of a bootstrap over subjects (`boot`, for comparison only), of the paired difference
of bal_acc between equal arms (`same`; the rest is the share of its p < .05) and between arms .05
apart (`apart`). The last two columns are shares of p < .05 between equal arms. 1,000 replications
take 8 minutes on one core; the Monte-Carlo error of a share of .95 is then .007.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from leukemia.evaluation.comparison import delong, difference, mcnemar
from leukemia.evaluation.intervals import Interval, interval
from leukemia.evaluation.jackknife import Repeats, SubjectCounts, subject_counts
from leukemia.evaluation.metrics import METRICS as ENTRIES
from leukemia.evaluation.metrics import of_rates
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.variance_components import TAIL

METRICS = ("bal_acc", "wf1", "auroc")
COLUMNS = (*METRICS, "boot", "same", "apart", "mcnemar", "delong")
GAP = 0.05  # of balanced accuracy, between the arms that are apart
LUCK = 0.15  # standard deviation of a network's quality, and of its threshold, on the probit scale
SHARED = 0.6  # of what is a subject's or a cell's: the same for both arms
RESAMPLES = 1000


@dataclass(frozen=True)
class Design:
    """What is tested: subjects by class (equal where each has cells of both), and how.

    accuracy: the true balanced accuracy. likeness: the intraclass correlation on the probit
    scale. seeds: one: the truth is of that very network; several: of all networks.
    """

    name: str
    positive: int
    negative: int
    mixed: bool
    accuracy: float
    likeness: float
    seeds: int

    @property
    def luck(self) -> float:
        """Standard deviation between seeds; one seed's luck is no error of its interval."""
        return LUCK if self.seeds > 1 else 0.0

    def middle(self, accuracy: float) -> float:
        """The mean on the probit scale that gives the accuracy over all networks."""
        return float(ndtri(accuracy) * np.sqrt(1 + 2 * self.luck**2))

    def __str__(self) -> str:
        who = f"{self.positive} both" if self.mixed else f"{self.positive}+{self.negative}"
        return f"{self.name:<6} {who:>8} {self.accuracy:8.2f} {self.likeness:8.2f} {self.seeds:5d}"


def designs() -> Iterator[Design]:
    """The small, the preliminary and the training set of C-NMC by size, and smears like BCCD's."""
    groups = [
        ("small", 6, 6, False),
        ("cnmc", 14, 14, False),
        ("cnmc", 47, 26, False),
        ("smears", 28, 28, True),
    ]
    for group, accuracy, likeness in itertools.product(groups, (0.75, 0.9, 0.97), (0.05, 0.3)):
        yield Design(*group, accuracy, likeness, 1)
    for group, accuracy in itertools.product(groups, (0.75, 0.9)):
        yield Design(*group, accuracy, 0.1, 3)


@dataclass(frozen=True)
class Cases:
    """Cells of drawn subjects: places (n,) of the subjects, labels (n,), names (n,)."""

    places: np.ndarray
    labels: np.ndarray
    names: np.ndarray

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return int(self.places.max()) + 1


def draw_cases(design: Design, rng: np.random.Generator) -> Cases:
    """Subjects with lognormal numbers of cells (coefficient of variation .9)."""
    classes = (1, 0)
    counts = [
        np.clip(rng.lognormal(np.log(30), 0.77, number).round(), 3, 400).astype(int)
        for number in (design.positive, design.negative)
    ]
    first = [0, 0 if design.mixed else design.positive]
    places = np.concatenate(
        [
            start + np.repeat(np.arange(len(each)), each)
            for start, each in zip(first, counts, strict=True)
        ]
    )
    labels = np.repeat(np.array(classes, np.int8), [each.sum() for each in counts])
    return Cases(places, labels, np.char.mod("s%03d", places))


def draw_arms(
    design: Design, cases: Cases, accuracies: tuple[float, ...], rng: np.random.Generator
) -> list[Repeats]:
    """An arm for each true balanced accuracy, tested on the same cells.

    Half of a subject's effect is a shade (all its scores are higher), half a difficulty (both
    its classes are further from right); a fifth of it differs between networks.
    """
    sign = 2.0 * cases.labels - 1
    cell_id = np.char.mod("%05d", np.arange(len(sign)))
    common = _effects(design, cases, rng)
    arms: list[Repeats] = []
    for accuracy in accuracies:
        own = _effects(design, cases, rng)
        steady = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own
        runs: list[list[Predictions]] = []
        for _ in range(design.seeds):
            quality, threshold = design.luck * rng.normal(size=2)
            noise = np.sqrt(0.8) * steady + np.sqrt(0.2) * _effects(design, cases, rng)
            latent = sign * (design.middle(accuracy) + quality) + threshold + noise
            runs.append(
                [
                    Predictions(
                        labels=cases.labels,
                        scores=ndtr(latent),
                        subjects=cases.names,
                        cell_id=cell_id,
                    )
                ]
            )
        arms.append(runs)
    return arms


def _effects(design: Design, cases: Cases, rng: np.random.Generator) -> np.ndarray:
    """(n,) of variance 1, `likeness` of it the subject's."""
    shade, difficulty = rng.normal(size=(2, cases.subjects))[:, cases.places]
    of_subject = np.sqrt(0.5) * (shade + (2.0 * cases.labels - 1) * difficulty)
    of_cell = rng.normal(size=len(cases.places))
    effects: np.ndarray = (
        np.sqrt(design.likeness) * of_subject + np.sqrt(1 - design.likeness) * of_cell
    )
    return effects


def truth(design: Design) -> dict[str, float]:
    """The true figures of METRICS for cells of new subjects, over all networks."""
    grid, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    quality, threshold = np.meshgrid(design.luck * grid, design.luck * grid, indexing="ij")
    middle = design.middle(design.accuracy) + quality
    sens, spec = ndtr(middle + threshold), ndtr(middle - threshold)
    share = np.array(design.positive / (design.positive + design.negative))
    counts, figures = of_rates(sens, spec, share), {}
    for metric in ("bal_acc", "wf1"):
        of_counts = ENTRIES[metric].of_counts
        assert of_counts
        figures[metric] = float(np.sum(weights * of_counts(counts)))
    return {
        **figures,
        "auroc": float(np.sum(weights * ndtr(np.sqrt(2) * middle))),
    }


def replicate(design: Design, true: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """(8,) float64, one draw of COLUMNS: 1 where the interval holds the truth, or p < .05."""
    cases = draw_cases(design, rng)
    lower = design.accuracy - GAP
    a, same, apart = draw_arms(design, cases, (design.accuracy, design.accuracy, lower), rng)
    equal, unequal = difference(a, same), difference(a, apart)
    return np.array(
        [
            *(holds(interval(a, metric), true[metric]) for metric in METRICS),
            holds(bootstrap(subject_counts(a), rng), design.accuracy),
            equal.low <= 0 <= equal.high,
            unequal.low <= GAP <= unequal.high,
            mcnemar(a, same).p < 0.05,
            delong(a, same).p < 0.05,
        ],
        np.float64,
    )


def holds(found: Interval, true: float) -> bool:
    """Whether the interval has the truth in it; one of NaN has not."""
    return found.low <= true <= found.high


def bootstrap(summed: SubjectCounts, rng: np.random.Generator) -> Interval:
    """Percentiles of balanced accuracy over resampled subjects (of each kind), for comparison."""
    cells, right = summed.cells.sum(axis=0), summed.right.sum(axis=0)
    draws = np.zeros((RESAMPLES, len(cells)))
    for kind in np.unique(summed.kinds):
        of_kind = summed.kinds == kind
        count = int(of_kind.sum())
        draws[:, of_kind] = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    values = ((draws @ right) / (draws @ cells)).mean(axis=1)
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    return Interval(
        value=float(values.mean()),
        low=float(low),
        high=float(high),
        subjects=len(cells),
        method="bootstrap",
    )


def main() -> None:
    """Print a line a design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=1000, help="draws of each design")
    parser.add_argument("--only", default="", help="designs by name: small, cnmc or smears")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse_args()
    print("design subjects accuracy likeness seeds " + " ".join(f"{name:>7}" for name in COLUMNS))
    for number, design in enumerate(designs()):
        if options.only in design.name:
            rng = np.random.default_rng([options.seed, number])
            true = truth(design)
            drawn = [replicate(design, true, rng) for _ in range(options.replications)]
            print(design, " ".join(f"{share:7.3f}" for share in np.mean(drawn, axis=0)), flush=True)


if __name__ == "__main__":
    main()
