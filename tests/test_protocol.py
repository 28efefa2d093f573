"""No subject, and no cell made of its cells, is in two splits."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from leukemia.cells import Classes
from leukemia.data.index import Index
from leukemia.data.near_duplicates import Pair, joined_subjects
from leukemia.data.trees import FolderTree
from leukemia.errors import UserError
from leukemia.splits import OF_THESIS, PROTOCOLS, THESIS_PRELIMINARY
from leukemia.splits.protocol import SPLITS, Split, over_folds, splits_of_synthetic
from leukemia.splits.protocol import split as split_subjects


def split(index: Index, seed: int = 0, protocol: str = "subject", fold: int = 0, folds: int = 5):
    return split_subjects(index, subjects(index), protocol, seed, fold, folds)


def subjects(index: Index) -> np.ndarray:
    frame = index.frame
    return joined_subjects(frame["subject"].to_numpy(str), frame["sha256"].to_numpy(str), ())


def index_of(rows: list[tuple[str, str, str, str]], source: str = "table") -> Index:
    """rows: label, subject, split, content."""
    frame = pd.DataFrame(rows, columns=["label", "subject", "split", "sha256"])
    frame.insert(0, "path", [f"{row}.bmp" for row in range(len(frame))])
    return Index(
        frame=frame,
        tree=FolderTree(Path("cells")),
        classes=Classes(names=("hem", "all"), positive=1),
        source=source,
        simulated="",
        size=None,
    )


def many(per_class: int, cells: int = 6) -> Index:
    rows = [
        (label, f"{label}{subject}", "", f"{label}{subject}-{cell}")
        for label in ("all", "hem")
        for subject in range(per_class)
        for cell in range(cells)
    ]
    return index_of(rows)


def subjects_by_split(index: Index, found: Split) -> dict[str, set]:
    names = subjects(index)
    return {name: set(names[rows]) for name, rows in found.rows.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fold", range(5))
def test_subjects_are_kept_apart_and_every_cell_is_used(seed: int, fold: int) -> None:
    index = many(7)
    found = split(index, seed, fold=fold)
    assert sorted(np.concatenate(list(found.rows.values()))) == list(range(len(index.frame)))
    splits = subjects_by_split(index, found)
    assert not splits["train"] & splits["test"]
    assert not splits["train"] & splits["validation"]
    assert not splits["validation"] & splits["test"]
    assert found.shared == 0
    assert "no subject in two splits" in found.line
    for name in SPLITS:
        assert set(index.labels[found.rows[name]]) == {0, 1}


@pytest.mark.parametrize("protocol", ["subject", "image", "thesis"])
def test_over_all_folds_a_line_names_none_of_them(protocol: str) -> None:
    lines = {over_folds(split(many(6), 0, protocol, fold).text) for fold in range(5)}
    assert len(lines) == 1
    assert "each tests in turn, " in lines.pop()


@pytest.mark.parametrize("protocol", ["subject", "image", "thesis"])
@pytest.mark.parametrize("seed", range(3))
def test_the_folds_of_a_seed_test_every_cell_once(protocol: str, seed: int) -> None:
    index = many(6)
    tests = [split(index, seed, protocol, fold).rows["test"] for fold in range(5)]
    assert sorted(np.concatenate(tests)) == list(range(len(index.frame)))


def test_the_folds_of_a_seed_validate_every_cell_once() -> None:
    index = many(6)
    held = [split(index, 1, fold=fold).rows["validation"] for fold in range(5)]
    assert sorted(np.concatenate(held)) == list(range(len(index.frame)))


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    index = many(9)
    tests = [tuple(split(index, seed).rows["test"]) for seed in (0, 0, 1, 2, 3)]
    assert tests[0] == tests[1]
    assert len(set(tests)) > 2


def unequal() -> Index:
    """47 subjects of one class and 26 of the other, as unequal as C-NMC's."""
    sizes = np.random.default_rng(0).lognormal(3, 0.9, 73).astype(int) + 1
    rows = [
        ("all" if subject < 47 else "hem", f"S{subject}", "", f"{subject}-{cell}")
        for subject, size in enumerate(sizes)
        for cell in range(size)
    ]
    return index_of(rows)


def part_of(index: Index, seed: int) -> dict[str, int]:
    """The fold that tests each subject."""
    return {
        name: fold
        for fold in range(5)
        for name in subjects_by_split(index, split(index, seed, fold=fold))["test"]
    }


def test_the_folds_of_two_split_seeds_agree_by_chance_alone() -> None:
    index = unequal()
    parts = [list(dict(sorted(part_of(index, seed).items())).values()) for seed in range(6)]
    assert abs(np.mean([adjusted_rand_score(a, b) for a, b in combinations(parts, 2)])) < 0.05


def test_the_order_of_the_cells_does_not_move_a_subject() -> None:
    index = unequal()
    mixed = replace(index, frame=index.frame.sample(frac=1, random_state=1).reset_index(drop=True))
    assert part_of(index, 3) == part_of(mixed, 3)


def test_few_subjects_make_fewer_folds_and_the_text_says_so() -> None:
    found = split(many(4))
    assert found.folds == 4
    assert "subjects in 4 parts" in found.text
    with pytest.raises(UserError, match="there is no fold 4: protocol subject has 4 here, 0 to 3"):
        split(many(4), fold=4)


def test_subjects_that_share_a_file_stay_in_one_split() -> None:
    rows = [(*many(6).frame.loc[i, ["label", "subject", "split"]], str(i)) for i in range(72)]
    rows[0] = (*rows[0][:3], "shared")
    rows[6] = (*rows[6][:3], "shared")
    index = index_of(rows)
    for seed in range(6):
        splits = split(index, seed).rows
        held = [name for name in SPLITS if {0, 6} & set(splits[name].tolist())]
        assert len(held) == 1


def test_a_random_split_says_that_test_subjects_train() -> None:
    index = many(6)
    found = split(index, protocol="image")
    assert found.shared == len(set(subjects(index)[found.rows["test"]])) > 5
    assert f"{found.shared} TEST SUBJECTS ALSO TRAIN, the figures flatter" in found.line


def test_the_thesis_tests_the_same_cells_as_the_random_split_and_balances_first() -> None:
    image, thesis = (split(many(6), protocol=name) for name in ("image", "thesis"))
    for name in SPLITS:
        assert image.rows[name].tolist() == thesis.rows[name].tolist()
    assert not image.balances_first
    assert thesis.balances_first
    assert "balanced first, then split" in thesis.line


def test_the_thesis_trains_on_56_percent_and_puts_synthetic_cells_in_every_split() -> None:
    """8,176 of the 14,600 real and synthetic cells were trained on: .8 x .7."""
    found = split(many(50, cells=20), protocol="thesis")
    assert len(found.rows["train"]) == pytest.approx(0.56 * 2000, abs=2)
    splits, counts = np.unique(splits_of_synthetic(1000, found, 0), return_counts=True)
    assert dict(zip(splits.tolist(), counts.tolist(), strict=True)) == {
        "test": 200, "train": 560, "validation": 240,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in OF_THESIS])
def test_synthetic_cells_train_where_the_split_comes_first(protocol: str) -> None:
    found = Split(rows={}, name=protocol, fold=0, folds=5, text="", shared=0)
    assert set(splits_of_synthetic(50, found, 0)) == {"train"}


def official(extra: list[tuple[str, str, str, str]] = []) -> Index:  # noqa: B006 (never changed)
    rows = [
        (label, f"{label}{fold}{subject}", fold, f"{label}{fold}{subject}")
        for label in ("all", "hem")
        for fold in ("fold_0", "fold_1", "fold_2", "preliminary")
        for subject in range(2)
    ]
    return index_of([*rows, *extra], source="cnmc")


@pytest.mark.parametrize("number", range(3))
def test_c_nmc_is_split_by_its_folds_and_its_preliminary_set(number: int) -> None:
    index = official()
    found = split(index, protocol="official", fold=number)
    fold = index.frame["split"].to_numpy()
    assert (found.name, found.folds) == ("official", 3)
    assert set(fold[found.rows["test"]]) == {"preliminary"}
    assert set(fold[found.rows["validation"]]) == {f"fold_{number}"}
    assert len(found.rows["train"]) == 8


def test_a_validation_subject_that_shares_a_file_with_training_trains() -> None:
    index = official(
        [("all", "allfold_00", "fold_0", "same"), ("all", "allfold_11", "fold_1", "same")]
    )
    found = split(index, protocol="official")
    assert "2 cells of fold_0 whose subject shares cells" in found.text
    splits = subjects_by_split(index, found)
    assert not splits["train"] & splits["validation"]


def test_a_training_subject_that_shares_a_file_with_the_test_is_left_out() -> None:
    index = official(
        [("hem", "hemfold_10", "fold_1", "same"), ("hem", "hempreliminary0", "preliminary", "same")]
    )
    splits = subjects_by_split(index, split(index, protocol="official"))
    assert not (splits["train"] | splits["validation"]) & splits["test"]


def test_a_tables_own_split_is_the_official_one_and_its_leak_is_printed() -> None:
    rows = [
        (label, f"{label}{name}", name, f"{label}{name}")
        for label in ("all", "hem")
        for name in SPLITS
    ]
    assert split(index_of(rows), protocol="official").rows["test"].tolist() == [2, 5]
    rows.append(("all", "alltrain", "test", "x"))
    assert "1 TEST SUBJECTS ALSO TRAIN" in split(index_of(rows), protocol="official").line


def test_the_thesis_own_test_set_is_the_preliminary_set_and_the_rest_is_cut_at_random() -> None:
    index = official()
    found = split(index, protocol=THESIS_PRELIMINARY)
    fold = index.frame["split"].to_numpy()
    assert (found.name, found.fold, found.folds) == (THESIS_PRELIMINARY, 0, 1)
    assert found.balances_first
    assert found.shown == ("train", "validation")
    assert set(fold[found.rows["test"]]) == {"preliminary"}
    assert sorted(np.concatenate(list(found.rows.values()))) == list(range(len(index.frame)))
    for label in (0, 1):  # 30 % of 6 cells that are not tested
        assert [(index.labels[found.rows[name]] == label).sum() for name in SPLITS] == [4, 2, 2]
    other = split(index, 1, THESIS_PRELIMINARY)
    assert other.rows["test"].tolist() == found.rows["test"].tolist()
    assert other.rows["train"].tolist() != found.rows["train"].tolist()


def test_under_the_thesis_own_test_set_no_synthetic_cell_is_tested() -> None:
    found = split(official(), protocol=THESIS_PRELIMINARY)
    splits, counts = np.unique(splits_of_synthetic(1000, found, 0), return_counts=True)
    assert dict(zip(splits.tolist(), counts.tolist(), strict=True)) == {
        "train": 700, "validation": 300,
    }  # fmt: skip


def test_the_line_of_the_thesis_own_test_set_says_which_figures_flatter() -> None:
    line = split(official(), protocol=THESIS_PRELIMINARY).line
    assert "no test subject trains, but VALIDATION SUBJECTS DO, whose figures flatter" in line
    assert "balanced first, then split; test: preliminary set; 30% of the rest" in line
    linked = official(
        [("hem", "hemfold_10", "fold_1", "same"), ("hem", "hempreliminary0", "preliminary", "same")]
    )
    shared = split(linked, protocol=THESIS_PRELIMINARY).line
    assert "1 TEST SUBJECTS ALSO TRAIN, the figures flatter" in shared


def test_data_without_a_preliminary_set_are_refused_in_a_line() -> None:
    for index in (many(6), index_of([*official().frame[["label", "subject", "split", "sha256"]]
                                     .query("split != 'preliminary'")
                                     .itertuples(index=False, name=None)], "cnmc")):  # fmt: skip
        with pytest.raises(UserError, match=r"no preliminary set here .*; use protocol=thesis$"):
            split(index, protocol=THESIS_PRELIMINARY)
    with pytest.raises(UserError, match="there is no fold 1: protocol thesis_preliminary has 1"):
        split(official(), protocol=THESIS_PRELIMINARY, fold=1)


def test_data_without_a_split_of_their_own_have_no_official_protocol() -> None:
    with pytest.raises(UserError, match=r"there is no official split here .* protocol=subject"):
        split(many(6), protocol="official")


def test_too_few_subjects_of_a_class_are_named() -> None:
    with pytest.raises(UserError, match=r"class all has 2 separate subject\(s\)"):
        split(many(2))


def test_a_class_that_an_official_split_leaves_out_is_no_lack_of_subjects() -> None:
    rows = [
        (label, f"{label}{n}", "train", f"{label}{n}") for label in ("all", "hem") for n in "123"
    ]
    rows += [("all", "a", "validation", "a"), ("all", "b", "test", "b"), ("hem", "c", "test", "c")]
    with pytest.raises(UserError, match="no hem cells are left for validation: the split that the"):
        split(index_of(rows), protocol="official")


@pytest.mark.parametrize("protocol", ["image", "thesis"])
def test_too_few_cells_for_the_folds_are_named(protocol: str) -> None:
    with pytest.raises(
        UserError, match=r"class \w+ has 4 cell\(s\); add cells, or give fewer folds"
    ):
        split(many(4, cells=1), protocol=protocol)


def test_patients_of_both_classes_are_parted_wherever_that_can_be_done() -> None:
    """Three subjects of each class suffice, whoever has cells of both; with fewer nothing does."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        has = rng.random((rng.integers(3, 9), 2)) < 0.5
        rows = [
            (label, f"S{subject}", "", f"{label}{subject}-{cell}")
            for subject, classes in enumerate(has)
            for label, there in zip(("all", "hem"), classes, strict=True)
            for cell in range(there * rng.integers(1, 20))
        ]
        fewest = has.sum(axis=0).min()
        if fewest >= 3:
            folds = split(index_of(rows)).folds
            assert folds == min(5, fewest)
            for fold in range(folds):
                split(index_of(rows), fold=fold)
        elif fewest:
            with pytest.raises(UserError, match=f"has {fewest} separate"):
                split(index_of(rows))


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(UserError, match="no protocol 'random': choose from subject, official"):
        split(many(6), protocol="random")


def test_unknown_subjects_are_said_and_near_identical_images_stay_together() -> None:
    known = many(10, cells=1)
    unknown = replace(known, subjects_known=False)
    pairs = (Pair(first=0, second=1, turn="as is", difference=0.0),)
    names = joined_subjects(
        unknown.frame["path"].to_numpy(str), unknown.frame["sha256"].to_numpy(str), pairs
    )
    for seed in range(20):
        drawn = split_subjects(unknown, names, "subject", seed, 0, 5)
        assert drawn.name == "image"
        assert drawn.line.startswith("Protocol image: SUBJECTS UNKNOWN: figures may flatter")
        assert "images, near-identical ones together, in 5 parts" in drawn.line
        assert any({0, 1} <= set(rows.tolist()) for rows in drawn.rows.values())
        asked = split_subjects(unknown, names, "image", seed, 0, 5)
        assert {name: rows.tolist() for name, rows in asked.rows.items()} == {
            name: rows.tolist() for name, rows in drawn.rows.items()
        }
    thesis = split_subjects(unknown, names, "thesis", 0, 0, 5)
    assert "SUBJECTS UNKNOWN" in thesis.line
