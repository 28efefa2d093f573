"""How often KID's 95 % interval holds the truth where cells come in clusters.

    python -m benchmarks.kid
    python -m benchmarks.kid --replications 2000 --only steep

Features of two kinds of cells are drawn from one law, so that their true distance is 0: a cell is
its subject and itself, `icc` of the variance the subject's, whose number of cells is lognormal
(coefficient of variation .9, 2 to 60). `spectrum` says how the variance is spread over 64 features:
flat, falling (as 1 / the place: most of real features), or all but two of them silent.

- `subjects`: both kinds are of as many subjects, as for cells that a technique makes of cells.
- `own`: the second kind are 100 cells, each independent, as a generator's draws are.
- `apart`: the second kind's first feature is moved by a standard deviation; the truth is then the
  distance of 5,000 independent cells.
- `pairs`: as `subjects`, but each cell counts as a subject of its own: what an interval that knows
  of no clusters would hold; of every tenth draw.

1,000 replications take 15 minutes on one core; the Monte-Carlo error of a share of .95 is .007.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leukemia.synthetic.kid import Kid, kid

DIMENSIONS = 64
SPECTRA = {
    "flat": np.ones(DIMENSIONS),
    "steep": 3 / np.arange(1, DIMENSIONS + 1),
    "two": np.r_[3.0, 3.0, np.full(DIMENSIONS - 2, 0.05)],
}
GENERATED = 100  # cells of a generator
MOVED = 1.0  # standard deviations, where the two kinds differ
OF_TRUTH = 5_000
COLUMNS = ("subjects", "own", "apart", "pairs")


@dataclass(frozen=True, kw_only=True)
class Design:
    """subjects: a side. icc: the share of variance that is a subject's. spectrum: of SPECTRA."""

    subjects: int
    icc: float
    spectrum: str

    def __str__(self) -> str:
        return f"{self.spectrum:<8} {self.subjects:8d} {self.icc:5.1f}"


def designs() -> Iterator[Design]:
    """12 to 60 subjects, icc 0 to .5."""
    for spectrum, subjects, icc in itertools.product(SPECTRA, (12, 24, 60), (0.0, 0.1, 0.3, 0.5)):
        yield Design(subjects=subjects, icc=icc, spectrum=spectrum)


def clustered(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, 64) features and (n,) subjects of a drawn kind."""
    counts = np.clip(rng.lognormal(np.log(12), 0.77, design.subjects).round(), 2, 60).astype(int)
    of = np.repeat(np.arange(design.subjects), counts)
    subjects = rng.normal(size=(design.subjects, DIMENSIONS))[of]
    cells = rng.normal(size=(len(of), DIMENSIONS))
    drawn = np.sqrt(design.icc) * subjects + np.sqrt(1 - design.icc) * cells
    return drawn * SPECTRA[design.spectrum], of


def independent(design: Design, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 64) features of independent cells of the same law."""
    drawn: np.ndarray = rng.normal(size=(count, DIMENSIONS)) * SPECTRA[design.spectrum]
    return drawn


def moved(design: Design, features: np.ndarray) -> np.ndarray:
    """The features with the first of them moved."""
    place = np.zeros(DIMENSIONS)
    place[0] = MOVED * SPECTRA[design.spectrum][0]
    return features + place


def truth(design: Design) -> float:
    """The distance of the two laws that are apart."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(OF_TRUTH // 500):
        real, made = (independent(design, 500, rng) for _ in range(2))
        parts.append(kid(real, moved(design, made), np.arange(500)).value)
    return float(np.mean(parts))


def replicate(
    design: Design, apart: float, rng: np.random.Generator, pairs: bool = True
) -> np.ndarray:
    """(4,) one draw of COLUMNS: whether the interval holds the truth; NaN for `pairs` if it is not
    asked for, since it takes as long as the others together."""
    real, of = clustered(design, rng)
    made, made_of = clustered(design, rng)
    return np.array(
        [
            holds(kid(real, made, of, made_of), 0.0),
            holds(kid(real, independent(design, GENERATED, rng), of), 0.0),
            holds(kid(real, moved(design, made), of, made_of), apart),
            holds(kid(real, made, np.arange(len(of))), 0.0) if pairs else np.nan,
        ]
    )


def holds(found: Kid, true: float) -> bool:
    """Whether the interval has the truth in it."""
    return found.low <= true <= found.high


def coverage(design: Design, replications: int, seed: int) -> np.ndarray:
    """(4,) shares of the draws in which the interval of each of COLUMNS holds the truth."""
    rng, apart = np.random.default_rng(seed), truth(design)
    drawn = [
        replicate(design, apart, rng, pairs=number % 10 == 0) for number in range(replications)
    ]
    shares: np.ndarray = np.nanmean(drawn, 0)
    return shares


def main() -> None:
    """Print a line a design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replications", type=int, default=1000, help="draws of each design")
    parser.add_argument("--only", default="", help=f"a spectrum: {', '.join(SPECTRA)}")
    parser.add_argument("--subjects", type=int, help="designs of so many a side, all if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    options = parser.parse_args()
    print("spectrum subjects   icc " + " ".join(f"{name:>8}" for name in COLUMNS))
    for number, design in enumerate(designs()):
        if options.only in design.spectrum and options.subjects in (None, design.subjects):
            shares = coverage(design, options.replications, options.seed + number)
            print(design, " ".join(f"{share:8.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
