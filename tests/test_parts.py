"""Subjects fall into parts by chance, and the parts are as even as the largest subjects allow."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.splits import as_before, measured, of_chance, of_manifest
from leukemia.splits.parts import draw, imbalance

RAND = 0.15  # the most that two splits may agree beyond chance, on average
A_TENTH = 1.1  # the most that parts may be less even than scikit-learn's


@pytest.fixture(scope="module", params=["C-NMC", "drawn"])
def cells(request: pytest.FixtureRequest) -> np.ndarray:
    """Cells of each class by subject: C-NMC's training subjects, and drawn ones as unequal."""
    if request.param == "drawn":
        return of_chance([47, 26])
    shared: Path = request.getfixturevalue("shared")
    return of_manifest(shared / "data/cnmc2019_manifest.csv")


def test_the_manifest_has_the_subjects_of_c_nmc_those_that_share_files_as_one(shared: Path) -> None:
    cells = of_manifest(shared / "data/cnmc2019_manifest.csv")
    assert (cells > 0).sum(axis=0).tolist() == [47 - 3, 26 - 4]
    assert cells.sum(axis=0).tolist() == [7272, 3389]
    assert (cells > 0).sum(axis=1).max() == 1


@pytest.mark.parametrize("parts", [3, 5, 10])
def test_splits_agree_by_chance_alone_and_are_as_even_as_scikit_learn_s(
    cells: np.ndarray, parts: int
) -> None:
    (by_subject, by_cell, *uneven), _ = measured(cells, parts, draw)
    (theirs, _, *uneven_before), _ = measured(cells, parts, as_before, seeds=6)
    assert abs(by_subject) < RAND / 3
    assert by_cell < (RAND if parts < 10 else 2 * RAND)  # of ten parts dice agree to .22
    assert theirs > 0.5  # why subjects are not dealt as before
    assert np.all(np.array(uneven) <= A_TENTH * np.array(uneven_before))


def weird(number: int) -> tuple[np.ndarray, int]:
    """Few subjects of unequal sizes, some of them with cells of both classes, and a number of
    parts that each class has enough subjects for."""
    rng = np.random.default_rng(number)
    subjects = rng.integers(3, 12, 2)
    only = np.eye(2, dtype=int).repeat(subjects, axis=0)
    both = np.ones((rng.choice([0, 0, 1, 4]), 2), int)
    cells = np.concatenate([only, both])
    cells = cells * rng.lognormal(2, rng.choice([0.1, 1, 2]), cells.shape).astype(int).clip(1)
    if rng.random() < 0.3:
        cells[0] *= 1000  # a giant
    return cells, int(rng.integers(3, 1 + (cells > 0).sum(axis=0).min()))


@pytest.mark.parametrize("number", range(60))
def test_every_part_has_every_class_and_is_as_even_as_can_be(number: int) -> None:
    cells, parts = weird(number)
    before = as_before(cells, parts, 0)
    for seed in range(3):
        part = draw(cells, parts, seed)
        assert all((cells[part == each].sum(axis=0) > 0).all() for each in range(parts))
        assert part.tolist() == draw(cells, parts, seed).tolist()
        if all((cells[before == each].sum(axis=0) > 0).all() for each in range(parts)):
            assert imbalance(cells, part, parts) <= A_TENTH * imbalance(cells, before, parts)


def test_equal_subjects_fall_into_equal_parts() -> None:
    cells = np.eye(2, dtype=int).repeat(15, axis=0) * 40
    for seed in range(5):
        part = draw(cells, 5, seed)
        assert imbalance(cells, part, 5) == 0
        assert np.bincount(part[:15]).tolist() == [3] * 5


def test_three_subjects_of_a_class_are_matched_in_every_way() -> None:
    cells = np.array([[5, 0], [60, 0], [700, 0], [0, 9], [0, 90], [0, 900]])
    matches = {
        tuple(np.argsort(part[:3])[part[3:]]) for part in (draw(cells, 3, s) for s in range(60))
    }
    assert len(matches) == 6


def test_a_giant_has_a_part_to_itself_as_far_as_its_class_goes() -> None:
    cells = np.array([[5000, 0], *[[10, 0]] * 12, *[[0, 10]] * 12])
    part = draw(cells, 4, 1)
    assert (part[1:13] == part[0]).sum() == 0
    assert np.bincount(part[13:]).tolist() == [3] * 4


def test_imbalance_is_the_parts_relative_spread() -> None:
    cells, part = np.array([[30, 0], [10, 0], [0, 7], [0, 7]]), np.array([0, 1, 0, 1])
    assert imbalance(cells, part, 2) == pytest.approx(np.sqrt((0.5**2 + 0.5**2) / 4))
    assert imbalance(cells[2:, 1:], part[2:], 2) == 0


def test_many_subjects_take_seconds() -> None:
    cells = of_chance([6000, 4000])
    assert imbalance(cells, draw(cells, 5, 0), 5) <= 0.001
