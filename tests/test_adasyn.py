"""ADASYN makes the cells that imbalanced-learn makes, in uint8 and with errors one can mend."""

import numpy as np
import pytest
from imblearn.over_sampling import ADASYN

from leukemia.cells import Cells
from leukemia.contract import TechniqueContext
from leukemia.errors import UserError
from leukemia.techniques.adasyn import (
    MOST_MEMORY,
    Settings,
    adasyn_samples,
    balance,
    needed_memory,
)
from leukemia.techniques.adasyn_in_blocks import between, exact_blocks, shares, squared_distances

IN_BLOCKS, BY_IMBLEARN = 0, 2**40  # bytes that imbalanced-learn may take


def blobs(n: int, size: int, seed: int = 0, rarer: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Smooth images (n, size, size, 3) uint8 whose classes overlap, and labels (n,) int8."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) < round(rarer * n)).astype(np.int8)
    rng.shuffle(labels)
    brightness = rng.normal(120 + 12.0 * labels, 15)
    patches = brightness[:, None, None, None] + rng.normal(0, 8, (n, 7, 7, 3))
    grown = patches.repeat(-(-size // 7), axis=1).repeat(-(-size // 7), axis=2)
    images = grown[:, :size, :size].clip(0, 247).astype(np.uint8)
    images += rng.integers(0, 8, images.shape, np.uint8)
    return images, labels


def cells(images: np.ndarray, labels: np.ndarray) -> Cells:
    names = np.array([f"{row}.bmp" for row in range(len(labels))])
    return Cells(images=images, labels=labels, subjects=names, cell_id=names)


def imblearn_samples(
    images: np.ndarray, labels: np.ndarray, n_neighbors: int, seed: int
) -> np.ndarray:
    """What imbalanced-learn adds to the float32 pixels, as whole pixels."""
    sampler = ADASYN(sampling_strategy="auto", n_neighbors=n_neighbors, random_state=seed)
    pixels = images.reshape(len(images), -1).astype(np.float32)
    made = sampler.fit_resample(pixels, labels)[0][len(images) :]
    return np.clip(np.rint(made), 0, 255).astype(np.uint8).reshape(-1, *images.shape[1:])


@pytest.mark.parametrize("seed", [0, 1234567890, 2**31 - 1])
@pytest.mark.parametrize("n_neighbors", [1, 5, 8])
@pytest.mark.parametrize("n", [40, 257, 900])
def test_makes_the_cells_that_imblearn_makes(n: int, n_neighbors: int, seed: int) -> None:
    images, labels = blobs(n, 9, seed)
    made, _ = adasyn_samples(images, labels, 1, n_neighbors, seed, most_memory=IN_BLOCKS)
    np.testing.assert_array_equal(made, imblearn_samples(images, labels, n_neighbors, seed))


@pytest.mark.slow
def test_makes_the_cells_that_imblearn_makes_at_full_size() -> None:
    images, labels = blobs(1000, 210)  # 132 MB; imblearn takes 2 GB of it, and most of the time
    made, _ = adasyn_samples(images, labels, 1, 5, 42, most_memory=IN_BLOCKS)
    assert len(made) > 300
    np.testing.assert_array_equal(made, imblearn_samples(images, labels, 5, 42))


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("n", [60, 300])
def test_breaks_ties_as_imblearn_does(n: int, levels: int) -> None:
    rng = np.random.default_rng(levels)
    images = rng.integers(0, levels, (n, 3, 3, 3)).astype(np.uint8)  # few values: many ties
    labels = (rng.random(n) < 0.3).astype(np.int8)
    made, _ = adasyn_samples(images, labels, 1, 4, 7, most_memory=IN_BLOCKS)
    np.testing.assert_array_equal(made, imblearn_samples(images, labels, 4, 7))


@pytest.mark.parametrize("copies", [1, 4, 9])
def test_identical_cells_change_nothing(copies: int) -> None:
    images, labels = blobs(120, 8)
    images[1 : 1 + copies] = images[0]
    images[60 : 60 + copies] = images[5]  # of both classes: one of each label at least
    labels[:6], labels[60:63] = 1, [0, 1, 0]
    made, _ = adasyn_samples(images, labels, 1, 5, 3, most_memory=IN_BLOCKS)
    np.testing.assert_array_equal(made, imblearn_samples(images, labels, 5, 3))


SETS = {
    "few": blobs(40, 9),
    "many": blobs(400, 12, seed=3),
    "large": blobs(70, 64, seed=4, rarer=0.4),
    "tall": (blobs(90, 14, seed=5)[0][:, :, :6], blobs(90, 14, seed=5)[1]),
}


@pytest.mark.parametrize("seed", [0, 99])
@pytest.mark.parametrize("images_and_labels", SETS.values(), ids=SETS)
def test_both_sides_of_the_bound_give_the_same_cells_and_parents(
    images_and_labels: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    images, labels = images_and_labels
    bound = needed_memory(images)
    by_imblearn = adasyn_samples(images, labels, 1, 5, seed, most_memory=bound)
    in_blocks = adasyn_samples(images, labels, 1, 5, seed, most_memory=bound - 1)
    np.testing.assert_array_equal(by_imblearn[0], in_blocks[0])
    np.testing.assert_array_equal(by_imblearn[1], in_blocks[1])
    np.testing.assert_array_equal(by_imblearn[0], imblearn_samples(images, labels, 5, seed))


@pytest.mark.parametrize("copies", [1, 4, 9])
def test_of_identical_cells_the_same_is_the_parent_on_both_sides(copies: int) -> None:
    images, labels = blobs(120, 8)
    rarer = np.flatnonzero(labels == 1)
    images[rarer[3 : 3 + copies]] = images[rarer[20]]
    images[np.flatnonzero(labels == 0)[:copies]] = images[rarer[25]]
    (made, parents), (same, same_parents) = (
        adasyn_samples(images, labels, 1, 5, 3, most_memory=most)
        for most in (BY_IMBLEARN, IN_BLOCKS)
    )
    np.testing.assert_array_equal(made, same)
    np.testing.assert_array_equal(parents, same_parents)
    assert not np.isin(rarer[[*range(4, 3 + copies), 20]], parents[:, 1]).any()


@pytest.mark.parametrize("most_memory", [IN_BLOCKS, BY_IMBLEARN])
def test_every_cell_lies_on_the_line_between_its_parents(most_memory: int) -> None:
    images, labels = blobs(200, 16, seed=8)
    made, parents = adasyn_samples(images, labels, 1, 5, 11, most_memory=most_memory)
    assert np.all(labels[parents] == 1)
    first, second = (images[rows].reshape(len(made), -1).astype(float) for rows in parents.T)
    moved, way = made.reshape(len(made), -1) - first, second - first
    assert np.all(moved[way == 0] == 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the steps that round to each pixel
        ends = np.sort([(moved - 0.5001) / way, (moved + 0.5001) / way], axis=0)
    least, most = np.nanmax(ends[0], axis=1), np.nanmin(ends[1], axis=1)
    assert np.all((least <= most) & (least < 1) & (most > 0))


@pytest.mark.parametrize(
    ("count", "side", "by_imblearn"),
    [(400, 48, True), (840, 64, True), (900, 64, False), (20, 210, False), (3000, 210, False)],
)
def test_imblearn_is_given_what_it_has_room_for(count: int, side: int, by_imblearn: bool) -> None:
    images = np.broadcast_to(np.uint8(0), (count, side, side, 3))
    assert (needed_memory(images) <= MOST_MEMORY) == by_imblearn


@pytest.mark.parametrize("contrast", [1, 255])
def test_distances_are_exact(contrast: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256 // contrast + 1, (30, 9001)).clip(0, 255) * contrast
    pixels = pixels.clip(0, 255).astype(np.uint8)
    rows = np.array([3, 0, 17])
    gaps = pixels[rows].astype(np.int64)[:, None] - pixels.astype(np.int64)
    told: list[float] = []
    np.testing.assert_array_equal(
        squared_distances(pixels, rows, told.append), np.square(gaps).sum(axis=2)
    )
    assert told[-1] == 1
    assert len(told) <= 4


def test_blocks_shrink_until_their_sums_are_exact() -> None:
    pixels = np.zeros((400, 1000), np.uint8)
    pixels[0] = 255  # the farthest that a pixel can lie from the others
    widths = [block.shape[1] for block, _, _ in exact_blocks(pixels)]
    assert widths == [256, 256, 256, 232]


def test_made_pixels_stay_within_their_parents_range() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 300), np.uint8)
    starts, ends = rng.integers(0, 50, (2, 200))
    steps = rng.random(200)
    steps[:2] = 0, np.nextafter(1, 0)
    made = between(pixels, starts, ends, steps)
    assert np.all(made >= np.minimum(pixels[starts], pixels[ends]))
    assert np.all(made <= np.maximum(pixels[starts], pixels[ends]))
    np.testing.assert_array_equal(made[0], pixels[starts[0]])
    np.testing.assert_array_equal(made[1], pixels[ends[1]])


def test_the_rarer_class_may_be_either() -> None:
    images, labels = blobs(200, 8)
    labels = (1 - labels).astype(np.int8)
    balanced = balance(
        cells(images, labels), Settings(), TechniqueContext(rng=np.random.default_rng(0))
    )
    seed = int(np.random.default_rng(0).integers(2**31))
    expected = imblearn_samples(images, labels, 5, seed)
    np.testing.assert_array_equal(balanced.cells.images[200:], expected)
    assert np.all(balanced.cells.labels[200:] == 0)


def test_made_cells_follow_untouched_training_cells() -> None:
    images, labels = blobs(200, 8)
    train = cells(images, labels)
    before, told = train.digest(), []
    context = TechniqueContext(
        rng=np.random.default_rng(1), report=lambda step, values: told.append(values)
    )
    balanced = balance(train, Settings(n_neighbors=3), context)
    made = len(balanced.cells) - 200
    assert train.digest() == before == balanced.cells.take(np.arange(200)).digest()
    assert abs(made - train.shortage()) < 20
    assert balanced.synthetic.tolist() == [False] * 200 + [True] * made
    assert set(balanced.cells.cell_id[200:]) == {"synthetic:adasyn"}
    assert told[-1] == {"adasyn_done": 1.0}
    assert len(told) <= 6


def test_same_generator_gives_same_cells() -> None:
    train = cells(*blobs(150, 8))
    first, again, other = (
        balance(train, Settings(), TechniqueContext(rng=np.random.default_rng(seed))).cells.digest()
        for seed in (5, 5, 6)
    )
    assert first == again != other


def test_balanced_cells_come_back_unchanged() -> None:
    train = cells(*blobs(40, 8, rarer=0.5))
    balanced = balance(train, Settings(), TechniqueContext(rng=np.random.default_rng(0)))
    assert balanced.cells is train
    assert not balanced.synthetic.any()


@pytest.mark.parametrize("n_neighbors", [0, -2])
def test_needs_a_neighbour(n_neighbors: int) -> None:
    train = cells(*blobs(40, 8))
    with pytest.raises(UserError, match=f"n_neighbors is {n_neighbors}, at least 1"):
        balance(
            train, Settings(n_neighbors=n_neighbors), TechniqueContext(rng=np.random.default_rng(0))
        )


def test_needs_more_cells_than_neighbours() -> None:
    train = cells(*blobs(50, 8, rarer=0.1))
    message = (
        "the rarer class has 5 training cells, n_neighbors=5 needs at least 6; lower n_neighbors"
    )
    with pytest.raises(UserError, match=message):
        balance(train, Settings(n_neighbors=5), TechniqueContext(rng=np.random.default_rng(0)))
    assert (
        len(
            balance(
                train, Settings(n_neighbors=4), TechniqueContext(rng=np.random.default_rng(0))
            ).cells
        )
        > 50
    )


@pytest.mark.parametrize("most_memory", [IN_BLOCKS, BY_IMBLEARN])
def test_needs_cells_near_the_other_class(most_memory: int) -> None:
    images, labels = blobs(60, 8)
    images[labels == 1] //= 64
    images[labels == 0] |= 192
    with pytest.raises(UserError, match=r"among its nearest.* raise n_neighbors or take another"):
        adasyn_samples(images, labels, 1, 5, 0, most_memory=most_memory)


@pytest.mark.parametrize("most_memory", [IN_BLOCKS, BY_IMBLEARN])
def test_needs_more_missing_cells_than_rounding_takes(most_memory: int) -> None:
    images, labels = blobs(80, 8, rarer=0.475)
    with pytest.raises(UserError, match=r"4 missing cells, shared by \d+ .* round to none each"):
        adasyn_samples(images, labels, 1, 5, 0, most_memory=most_memory)


def test_needs_a_share_that_does_not_round_to_none() -> None:
    with pytest.raises(UserError, match=r"2 missing cells, shared by 40 .* round to none"):
        shares(np.full(40, 0.6), 2)
