"""No subject, and nothing made from one, stands on two sides."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukemia.data.index import Index
from leukemia.errors import UserError
from leukemia.protocol import SIDES, linked_subjects, split


def index_of(rows: list[tuple[str, str, str, str]], source: str = "table") -> Index:
    """rows: label, subject, split, content."""
    frame = pd.DataFrame(rows, columns=["label", "subject", "split", "sha256"])
    frame.insert(0, "path", [f"{row}.bmp" for row in range(len(frame))])
    return Index(frame, Path("cells"), "all", "hem", source, "", None)


def many(per_class: int, cells: int = 6) -> Index:
    rows = [
        (label, f"{label}{subject}", "", f"{label}{subject}-{cell}")
        for label in ("all", "hem")
        for subject in range(per_class)
        for cell in range(cells)
    ]
    return index_of(rows)


def sides_of_groups(index: Index, seed: int) -> dict[str, set]:
    groups = linked_subjects(index.frame)
    return {side: set(groups[rows]) for side, rows in split(index, seed).rows.items()}


@pytest.mark.parametrize("seed", range(8))
def test_subjects_are_kept_apart_and_every_cell_is_used(seed: int) -> None:
    index = many(7)
    rows = split(index, seed).rows
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(index.frame)))
    groups = sides_of_groups(index, seed)
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    for side in SIDES:
        assert set(index.labels[rows[side]]) == {0, 1}


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    index = many(9)
    tests = [tuple(split(index, seed).rows["test"]) for seed in (0, 0, 1, 2, 3)]
    assert tests[0] == tests[1]
    assert len(set(tests)) > 2


def test_subjects_that_share_a_file_stay_on_one_side() -> None:
    rows = [(*many(6).frame.loc[i, ["label", "subject", "split"]], str(i)) for i in range(72)]
    rows[0] = (*rows[0][:3], "shared")
    rows[6] = (*rows[6][:3], "shared")
    index = index_of(rows)
    for seed in range(6):
        sides = split(index, seed).rows
        held = [side for side in SIDES if {0, 6} & set(sides[side].tolist())]
        assert len(held) == 1


def official(extra: list[tuple[str, str, str, str]] = []) -> Index:  # noqa: B006 (never changed)
    rows = [
        (label, f"{label}{fold}{subject}", fold, f"{label}{fold}{subject}")
        for label in ("all", "hem")
        for fold in ("fold_0", "fold_1", "fold_2", "preliminary")
        for subject in range(2)
    ]
    return index_of([*rows, *extra], source="cnmc")


@pytest.mark.parametrize("seed", range(4))
def test_c_nmc_is_split_by_its_folds_and_its_preliminary_set(seed: int) -> None:
    index = official()
    found = split(index, seed)
    fold = index.frame["split"].to_numpy()
    assert found.name == "official"
    assert set(fold[found.rows["test"]]) == {"preliminary"}
    assert set(fold[found.rows["validation"]]) == {f"fold_{seed % 3}"}
    assert len(found.rows["train"]) == 8


def test_a_validation_subject_that_shares_a_file_with_training_trains() -> None:
    index = official(
        [("all", "allfold_00", "fold_0", "same"), ("all", "allfold_11", "fold_1", "same")]
    )
    found = split(index, 0)
    assert "2 cells of fold_0 whose subject shares a file" in found.text
    groups = sides_of_groups(index, 0)
    assert not groups["train"] & groups["validation"]


def test_a_training_subject_that_shares_a_file_with_the_test_is_left_out() -> None:
    index = official(
        [("hem", "hemfold_10", "fold_1", "same"), ("hem", "hempreliminary0", "preliminary", "same")]
    )
    groups = sides_of_groups(index, 0)
    assert not (groups["train"] | groups["validation"]) & groups["test"]


def test_a_given_split_with_a_subject_on_two_sides_is_refused() -> None:
    rows = [
        (label, f"{label}{side}", side, f"{label}{side}")
        for label in ("all", "hem")
        for side in SIDES
    ]
    assert split(index_of(rows), 0).rows["test"].tolist() == [2, 5]
    rows.append(("all", "alltrain", "test", "x"))
    with pytest.raises(UserError, match=r"subject alltrain .* is on two sides"):
        split(index_of(rows), 0)


def test_too_few_subjects_of_a_class_are_named() -> None:
    with pytest.raises(UserError, match="class all has 2 separate subject"):
        split(many(2), 0)
