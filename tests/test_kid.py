"""KID against its definition, and its interval where cells come in clusters."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from benchmarks.kid import COLUMNS, Design, clustered, coverage
from leukemia.errors import UserError
from leukemia.synthetic.kid import kid


def normal(n: int, d: int = 6, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, (n, d)).astype(np.float32)


def each(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def line(*places: float) -> np.ndarray:
    return np.array(places, np.float32)[:, None]


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    product: np.ndarray = polynomial_kernel(x.astype(float), y.astype(float), 3, 1 / x.shape[1], 1)
    return product


def by_definition(real: np.ndarray, made: np.ndarray) -> float:
    own, other, n, m = kernel(real, real), kernel(made, made), len(real), len(made)
    return float(
        (own.sum() - np.trace(own)) / (n * (n - 1))
        + (other.sum() - np.trace(other)) / (m * (m - 1))
        - 2 * kernel(real, made).mean()
    )


def over_pairs_of_subjects(
    x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray
) -> float:
    """The mean over pairs of different subjects of the mean kernel of their cells."""
    means = [
        kernel(x[of_x == a], y[of_y == b]).mean()
        for a in np.unique(of_x)
        for b in np.unique(of_y)
        if x is not y or a != b
    ]
    return float(np.mean(means))


def test_of_independent_cells_it_is_the_unbiased_estimate_under_scikit_learns_kernel() -> None:
    real, made = normal(23), normal(17, seed=1, mean=0.3)
    assert kid(real, made, each(23)).value == pytest.approx(by_definition(real, made), rel=1e-9)


def test_of_two_points_each_by_hand() -> None:
    """Kernels of 0 and 1 in one dimension: k(0, 0) = k(0, 1) = 1, k(1, 1) = 8."""
    measured = kid(line(0, 1), line(1, 1), each(2)).value
    assert measured == pytest.approx(1 + 8 - 2 * (1 + 8) / 2)


def test_pairs_within_a_subject_are_left_out_and_every_subject_counts_alike() -> None:
    real, made = normal(30), normal(20, seed=1, mean=0.5)
    of_real, of_made = np.repeat(list("abcd"), [1, 3, 6, 20]), np.repeat(list("stuv"), 5)
    expected = (
        over_pairs_of_subjects(real, real, of_real, of_real)
        + over_pairs_of_subjects(made, made, of_made, of_made)
        - 2 * over_pairs_of_subjects(real, made, of_real, of_made)
    )
    assert kid(real, made, of_real, of_made).value == pytest.approx(expected, rel=1e-9)


def test_a_blend_of_two_subjects_is_no_pair_with_the_cells_of_either() -> None:
    """A blend of a and b stands for half a cell of each, and meets those of c and d alone."""
    real, made = normal(12), normal(9, seed=1)
    of_made = np.array([["a", "b"]] + [["c", "c"]] * 4 + [["d", "d"]] * 4)
    measured = kid(real, made, each(12), of_made).value
    near, far = kernel(made[:1], made[1:]), kernel(made[1:5], made[5:])
    # a and b have the same blend, so no pair of theirs: the mean of the known stands for it.
    known = [near[:, :4].mean(), near[:, 4:].mean()] * 2 + [far.mean()]
    across = [kernel(made[part], real).mean() for part in
              (slice(1), slice(1), slice(1, 5), slice(5, 9))]  # fmt: skip
    own = kernel(real, real)
    expected = (own.sum() - np.trace(own)) / (12 * 11) + np.mean(known) - 2 * np.mean(across)
    assert measured == pytest.approx(expected, rel=1e-9)


def test_it_is_zero_on_average_for_clustered_cells_of_one_law() -> None:
    rng, values = np.random.default_rng(0), []
    design = Design(subjects=12, icc=0.5, spectrum="steep")
    for _ in range(200):
        (x, of_x), (y, of_y) = clustered(design, rng), clustered(design, rng)
        values.append(kid(x, y, of_x, of_y).value)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("spectrum", ["flat", "steep"])
@pytest.mark.parametrize("icc", [0.0, 0.5])
def test_the_interval_holds_the_truth_as_often_as_it_says(icc: float, spectrum: str) -> None:
    """Of 100 draws: the bound is 3 standard errors of a share of .95 away. Whole: see
    benchmarks/kid.py."""
    shares = dict(
        zip(COLUMNS, coverage(Design(subjects=12, icc=icc, spectrum=spectrum), 100, 1), strict=True)
    )
    for name in ("subjects", "own", "apart"):
        assert shares[name] >= 0.9, (name, shares)
    if icc:
        assert shares["pairs"] < 0.8  # what is wrong with taking cells for independent


def test_fewer_than_four_subjects_have_a_value_and_no_interval() -> None:
    for count in (1, 2, 3):
        measured = kid(normal(12), normal(9, seed=1), np.arange(12) % count)
        assert np.isfinite(measured.value)
        assert np.isnan([measured.low, measured.high]).all()
        assert measured.subjects == count


def test_images_that_all_share_subjects_have_no_distance() -> None:
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    names = np.array([f"s{number // 2}" for number in range(10)])
    found = kid(x, x[:2] + 1, names, np.array([["a", "b"], ["a", "c"]]))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_another_law_is_told_apart() -> None:
    measured = kid(normal(60), normal(60, seed=1, mean=1), np.arange(60) // 5)
    assert 0 < measured.low < measured.value < measured.high


def test_one_image_is_too_few() -> None:
    with pytest.raises(UserError, match="1 real and 5 made images"):
        kid(normal(1), normal(5), each(1))
