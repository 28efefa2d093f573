"""The measures of made images, against closed forms, SciPy and counting by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from leukemia.errors import UserError
from leukemia.synthetic.measures import density_coverage, fid, measure, precision_recall


def normal(n: int, d: int = 6, seed: int = 0, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, (n, d)).astype(np.float32)


def each(n: int) -> np.ndarray:
    return np.arange(n).astype(str)


def line(*places: float) -> np.ndarray:
    return np.array(places, np.float32)[:, None]


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30)])
def test_fid_is_that_of_scipys_matrix_root(n, d):
    real, made = normal(n, d), normal(n + 3, d, 1, 0.5, 2.0)
    first, second = np.cov(real.T.astype(float)), np.cov(made.T.astype(float))
    root = sqrtm(first @ second + 1e-10 * np.eye(d)).real
    apart = np.sum((real.mean(0, dtype=float) - made.mean(0, dtype=float)) ** 2)
    expected = apart + np.trace(first + second - 2 * root)
    assert fid(real, made) == pytest.approx(expected, rel=1e-3)


def test_fid_of_gaussians_in_closed_form():
    """Means 0 and 3, deviations 1 and 2 in each of two directions: 2 (9 + 1)."""
    corners = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)]) * np.sqrt(3 / 4)
    assert fid(corners, 2 * corners + 3) == pytest.approx(2 * (9 + 1))
    assert fid(corners, corners) == pytest.approx(0, abs=1e-12)


def test_precision_and_recall_by_counting_on_a_line():
    """Reaches (k = 1): real 0, 1, 10 reach 1, 1, 9; made 0.5, 30 reach 29.5 each."""
    precision, recall = precision_recall(line(0, 1, 10), line(0.5, 30), k=1)
    assert precision == 0.5
    assert recall == 1


def test_density_and_coverage_by_counting_on_a_line():
    """Made 0.5 lies in the reach of 0 and 1 but not of 10, 30 in none: 2 of 2 made, 2 of 3 real."""
    density, coverage = density_coverage(line(0, 1, 3), line(0.5, 30), k=1)
    assert density == pytest.approx((2 + 0) / 2)
    assert coverage == pytest.approx(2 / 3)


def test_one_image_again_and_again_has_precision_but_neither_recall_nor_coverage():
    real = normal(100)
    made = np.repeat(real[np.argmin((real**2).sum(1))][None], 100, 0)
    found = measure(real, made, each(100))
    assert found["precision"] == 1
    assert found["recall"] <= 0.01
    assert found["coverage"] < 0.3


def test_noise_lacks_precision():
    found = measure(normal(100), normal(100, seed=1, scale=6), each(100))
    assert found["precision"] < 0.1
    assert found["density"] < 0.1


def test_equal_distributions_measure_well_and_kid_tells_others_apart():
    same = measure(normal(150), normal(150, seed=2), each(150))
    other = measure(normal(150), normal(150, seed=1, mean=1), each(150))
    assert same["kid_lo"] <= 0 <= same["kid_hi"]
    assert 0.8 < same["density"] < 1.2
    assert same["coverage"] > 0.9
    assert other["kid_lo"] > 0
    assert other["fid"] > same["fid"]


def test_fewer_images_than_neighbours_are_measured_all_the_same():
    found = measure(normal(3), normal(2, seed=1), each(3))
    assert {name for name, value in found.items() if np.isnan(value)} == {"kid_lo", "kid_hi"}


def test_one_image_is_too_few():
    with pytest.raises(UserError, match="1 real and 5 made images"):
        measure(normal(1), normal(5), each(1))
