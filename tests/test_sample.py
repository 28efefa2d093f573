"""The drawn sample looks on disk as C-NMC 2019 does, and has the traps of the genuine set."""

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)

from leukemia.cells import Cells
from leukemia.data import sample
from leukemia.data.index import open_index
from leukemia.errors import UserError

CELLS = 144
NAME = re.compile(r"UID_(?P<subject>H?\d+)_(?P<image>\d+)_(?P<cell>\d+)_(?P<suffix>all|hem)\.bmp")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample.draw_sample(tmp_path_factory.mktemp("sample"), seed=3, cells=CELLS)


def training_files(tree: Path) -> list[Path]:
    return sorted((tree / "training_data").glob("fold_[012]/*/*"))


def label_rows(tree: Path) -> list[dict[str, str]]:
    path = tree / "validation_data" / "C-NMC_test_prelim_phase_data_labels.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def subject_of(name: str) -> str:
    match = NAME.fullmatch(name)
    assert match, name
    assert (match["suffix"] == "hem") == match["subject"].startswith("H")
    return match["subject"]


def digests(tree: Path) -> dict[str, bytes]:
    return {str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*") if p.is_file()}


def test_training_cells_are_named_and_placed_as_in_c_nmc(tree: Path) -> None:
    files = training_files(tree)
    assert len(files) == CELLS - 38
    for path in files:
        match = NAME.fullmatch(path.name)
        assert match, path.name
        assert path.parent.name == match["suffix"]
    counts = Counter(path.parent.name for path in files)
    assert counts["all"] == pytest.approx(2 * counts["hem"], abs=2)


def test_no_subject_is_in_two_folds_and_each_fold_has_four_a_class(tree: Path) -> None:
    folds = {(subject_of(p.name), p.parts[-3]) for p in training_files(tree)}
    assert len(folds) == len({subject for subject, _ in folds}) == 24
    a_fold_and_class = Counter((fold, subject[0] == "H") for subject, fold in folds)
    assert set(a_fold_and_class.values()) == {4}


def test_preliminary_cells_are_numbered_and_labelled_in_a_csv(tree: Path) -> None:
    rows = label_rows(tree)
    images = tree / "validation_data" / "C-NMC_test_prelim_phase_data"
    assert [row["new_names"] for row in rows] == [f"{n}.bmp" for n in range(1, 39)]
    assert {p.name for p in images.iterdir()} == {row["new_names"] for row in rows}
    for row in rows:
        assert (row["labels"] == "1") == row["Patient_ID"].endswith("_all.bmp")
    assert Counter(row["labels"] for row in rows) == {"1": 25, "0": 13}
    text = (tree / "validation_data/C-NMC_test_prelim_phase_data_labels.csv").read_bytes()
    assert text.startswith(b"Patient_ID,new_names,labels\r\nUID_")


def test_preliminary_subjects_are_no_training_subjects(tree: Path) -> None:
    training = {subject_of(path.name) for path in training_files(tree)}
    preliminary = {subject_of(row["Patient_ID"]) for row in label_rows(tree)}
    assert len(preliminary) == 12
    assert not training & preliminary


def test_a_file_is_a_bitmap_of_the_genuine_size(tree: Path) -> None:
    for path in training_files(tree)[:3]:
        assert path.stat().st_size == 608_454
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("BMP", "RGB", (450, 450))


def test_every_cell_lies_in_the_centre_of_a_black_image(tree: Path) -> None:
    for path in training_files(tree)[::5]:
        with Image.open(path) as image:
            covered = np.asarray(np.asarray(image).any(axis=2))
        assert covered[200:250, 200:250].all()
        assert 0.04 < covered.mean() < 0.4
        assert not covered[:65].any()
        assert not covered[-65:].any()
        assert not covered[:, :65].any()
        assert not covered[:, -65:].any()


def test_no_two_cells_are_identical(tree: Path) -> None:
    bitmaps = [path.read_bytes() for path in tree.rglob("*.bmp")]
    assert len(set(bitmaps)) == len(bitmaps) == CELLS


def test_the_marker_says_that_the_cells_are_drawn(tree: Path) -> None:
    assert json.loads((tree / "SIMULATED.json").read_text(encoding="utf-8")) == {
        "kind": "drawn cells",
        "seed": 3,
        "cells": CELLS,
        "subjects": 36,
        "generator_version": 1,
        "note": "Drawn by a program from a seed; no patient. "
        "Figures measured on them say nothing about leukemia.",
    }


def test_same_seed_same_bytes(tree: Path, tmp_path: Path) -> None:
    again = sample.draw_sample(tmp_path / "new folder", seed=3, cells=CELLS)
    assert again == tmp_path / "new folder" / "C-NMC_Leukemia"
    assert digests(again) == digests(tree)


def test_another_seed_draws_other_cells() -> None:
    assert sample.draw_cells(6, seed=1).digest() != sample.draw_cells(6, seed=2).digest()


def test_drawing_again_touches_nothing(tree: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in tree.rglob("*")}
    calls: list[tuple[int, int]] = []
    again = sample.draw_sample(tree.parent, 3, CELLS, progress=lambda *call: calls.append(call))
    assert again == tree
    assert calls == []
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*")} == before


def test_another_sample_is_refused_and_kept(tree: Path) -> None:
    before = digests(tree)
    with pytest.raises(UserError, match=r"holds .* 144 cells of 36 subjects \(seed 3.*seed 4"):
        sample.draw_sample(tree.parent, seed=4, cells=CELLS)
    assert digests(tree) == before


@pytest.mark.parametrize("marker", [None, "", "[]", "\ufffe"])
def test_what_may_be_genuine_cells_is_refused_and_kept(tmp_path: Path, marker: str | None) -> None:
    genuine = tmp_path / "C-NMC_Leukemia"
    genuine.mkdir()
    (genuine / "UID_1_1_1_all.bmp").write_bytes(b"genuine")
    if marker is not None:
        (genuine / "SIMULATED.json").write_text(marker, encoding="utf-16")
    before = digests(genuine)
    with pytest.raises(UserError, match=r"without a readable SIMULATED\.json") as error:
        sample.draw_sample(tmp_path, cells=CELLS)
    assert "\n" not in str(error.value)
    assert digests(genuine) == before


def test_a_tree_with_the_marker_of_earlier_samples_is_known(tree: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "C-NMC_Leukemia"
    shutil.copytree(tree, earlier)
    (earlier / "SIMULATED.json").rename(earlier / "SYNTHETIC.json")
    assert open_index(tmp_path).simulated == open_index(earlier).simulated == "drawn cells, seed 3"
    assert sample.draw_sample(tmp_path, seed=3, cells=CELLS) == earlier
    assert not (earlier / "SIMULATED.json").exists()


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.draw_sample(tmp_path, cells=CELLS, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_cell(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    sample.draw_sample(tmp_path, cells=72, progress=lambda *call: calls.append(call))
    assert calls == [(done, 72) for done in range(1, 73)]


def test_too_few_cells_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ask for at least 72 cells"):
        sample.draw_sample(tmp_path, cells=71)


def test_the_smallest_sample_has_every_subject(tmp_path: Path) -> None:
    tree = sample.draw_sample(tmp_path, cells=72)
    assert len({subject_of(path.name) for path in training_files(tree)}) == 24
    assert len({subject_of(row["Patient_ID"]) for row in label_rows(tree)}) == 12


def test_more_subjects_share_the_folds_evenly(tmp_path: Path) -> None:
    tree = sample.draw_sample(tmp_path, cells=180, subjects=90)
    folds = {(path.parent.name, subject_of(path.name)): path for path in training_files(tree)}
    train = {name for _, name in folds}
    later = {subject_of(row["Patient_ID"]) for row in label_rows(tree)}
    assert (len(train), len(later)) == (60, 30)
    assert not train & later
    per_fold = Counter((p.parent.parent.name, label) for (label, _), p in folds.items())
    assert per_fold == dict.fromkeys(product(("fold_0", "fold_1", "fold_2"), ("all", "hem")), 10)


@pytest.mark.parametrize("subjects", [0, 17, 37])
def test_subjects_that_do_not_fill_the_folds_are_refused(tmp_path: Path, subjects: int) -> None:
    with pytest.raises(UserError, match=rf"sample of {subjects} subjects.*a multiple of 18"):
        sample.draw_sample(tmp_path, subjects=subjects)
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_size_is_the_central_part_of_the_same_cells() -> None:
    whole, part = sample.draw_cells(9, size=450), sample.draw_cells(9, size=210)
    np.testing.assert_array_equal(part.images, whole.images[:, 120:330, 120:330])
    np.testing.assert_array_equal(part.cell_id, whole.cell_id)


def test_cells_in_memory_are_cells() -> None:
    cells = sample.draw_cells(90, size=64, subjects=12)
    assert cells.images.shape == (90, 64, 64, 3)
    assert cells.images.dtype == np.uint8
    assert cells.labels.dtype == np.int8
    assert cells.counts() == (30, 60)
    assert len(set(cells.subjects)) == 12
    sizes = Counter(cells.subjects.tolist())
    assert max(sizes.values()) >= 2 * min(sizes.values())
    np.testing.assert_array_equal(
        cells.labels, [not s.startswith("H") for s in cells.subjects.tolist()]
    )


def simple_features(cells: Cells) -> np.ndarray:
    """Mean and deviation of each channel in the cell, and its area: (n, 7) float64."""
    rows = []
    for image in cells.images:
        inside = image[image.any(axis=2)].astype(np.float64)
        rows.append([*inside.mean(axis=0), *inside.std(axis=0), len(inside)])
    return np.array(rows)


def test_a_split_that_mixes_subjects_flatters() -> None:
    cells = sample.draw_cells(400, seed=7)
    features = simple_features(cells)
    forest = RandomForestClassifier(40, class_weight="balanced", min_samples_leaf=2, random_state=0)

    def score(splits: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        predicted = cross_val_predict(forest, features, cells.labels, cv=splits)
        return float(balanced_accuracy_score(cells.labels, predicted))

    apart = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    mixed = StratifiedKFold(5, shuffle=True, random_state=0)
    honest = score(apart.split(features, cells.labels, cells.subjects))
    flattering = score(mixed.split(features, cells.labels))
    assert 0.6 < honest < 0.9  # something is there to learn, and it is not easy
    assert flattering > honest + 0.03
