"""DeLong's and McNemar's tests are printed where they were seen to hold, and nowhere else."""

import pytest

from leukemia.evaluation.applicable import FOR_DELONG, FOR_MCNEMAR, not_delong, not_mcnemar
from leukemia.evaluation.predictions import Predictions
from tests.test_intervals import predictions, take


def of(subjects_of_a_class: int) -> Predictions:
    return predictions(2 * subjects_of_a_class, cells=2)


@pytest.mark.parametrize(("why", "needed"), [(not_delong, FOR_DELONG), (not_mcnemar, FOR_MCNEMAR)])
def test_one_network_and_enough_subjects_of_both_classes(why, needed: int) -> None:
    assert why([[of(needed)]]) == ""
    assert why([[of(needed - 1)]]) == f"{needed - 1} subjects of a class, {needed} are needed"
    cells = of(needed)
    assert why([[take(cells, cells.labels == 1)]]) == f"0 subjects of a class, {needed} are needed"
    assert why([[cells], [cells]]).startswith("2 seeds")


def test_folds_are_of_several_networks_whose_areas_have_no_common_variance() -> None:
    cells = of(FOR_DELONG)
    half = cells.subjects < "s060"
    folds = [[take(cells, half), take(cells, ~half)]]
    assert not_delong(folds) == "2 folds: each is of another network"
    assert not_mcnemar(folds) == ""


def test_a_subject_counts_once_however_many_cells_and_folds_it_has() -> None:
    cells = of(4)
    assert not_mcnemar([[cells, cells]]) == f"4 subjects of a class, {FOR_MCNEMAR} are needed"
