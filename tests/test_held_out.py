"""Which training cells a GAN is spared."""

import numpy as np
import pytest

from leukemia.gan.held_out import held_out


def subjects(*sizes: int) -> np.ndarray:
    return np.repeat([f"s{n:02d}" for n in range(len(sizes))], sizes)


def test_a_fifth_of_the_subjects_is_held_out_with_all_their_cells() -> None:
    names = subjects(*[5] * 20)
    held = held_out(names, 3)
    assert len(set(names[held])) == 4
    assert not set(names[held]) & set(names[~held])
    assert held.sum() == 20


def test_another_seed_holds_out_others_and_the_same_seed_the_same() -> None:
    names = subjects(*[5] * 20)
    assert np.array_equal(held_out(names, 0), held_out(names, 0))
    assert len({held_out(names, seed).tobytes() for seed in range(10)}) > 5


@pytest.mark.parametrize("seed", range(20))
def test_a_subject_of_most_cells_is_never_held_out(seed: int) -> None:
    names = subjects(757, *[9] * 11)
    held = held_out(names, seed)
    assert len(set(names[held])) == 2
    assert not held[names == "s00"].any()


def test_where_there_are_few_subjects_or_two_do_not_fit_nobody_is() -> None:
    assert not held_out(subjects(*[9] * 7), 0).any()
    assert held_out(subjects(*[9] * 8), 0).any()
