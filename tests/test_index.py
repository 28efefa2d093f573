"""Cells from three sources, one index."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia.cells import Classes
from leukemia.data.files import digests
from leukemia.data.index import open_index
from leukemia.data.options import DataOptions
from leukemia.errors import UserError


def touch(tree: Path, *paths: str) -> None:
    for path in paths:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(path.encode())


def small_tree(tree: Path, top: str = "C-NMC_Leukemia/training_data") -> Path:
    touch(
        tree,
        f"{top}/fold_0/all/UID_1_1_1_all.bmp",
        f"{top}/fold_1/all/UID_2_1_1_all.bmp",
        f"{top}/fold_2/hem/UID_H1_1_1_hem.bmp",
        f"{top}/fold_2/hem/UID_h3_1_1_hem.bmp",
    )
    return tree


def preliminary(tree: Path, labels: str, images: tuple[str, ...] = ("1.bmp", "2.bmp")) -> Path:
    folder = "C-NMC_Leukemia/validation_data"
    touch(tree, *(f"{folder}/C-NMC_test_prelim_phase_data/{name}" for name in images))
    csv = tree / folder / "C-NMC_test_prelim_phase_data_labels.csv"
    csv.write_bytes(f"Patient_ID,new_names,labels\r\n{labels}".encode())
    return tree


def test_manifest_of_c_nmc_gives_the_known_counts(shared: Path, tmp_path: Path) -> None:
    manifest = pd.read_csv(shared / "data/cnmc2019_manifest.csv")
    for path in manifest["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    labels = "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data_labels.csv"
    (tmp_path / labels).write_bytes((shared / "data/cnmc" / labels).read_bytes())
    index = open_index(tmp_path)
    counts: dict[Any, int] = index.frame.groupby(["split", "label"]).size().to_dict()
    assert counts == {
        ("fold_0", "all"): 2397, ("fold_0", "hem"): 1130,
        ("fold_1", "all"): 2418, ("fold_1", "hem"): 1163,
        ("fold_2", "all"): 2457, ("fold_2", "hem"): 1096,
        ("preliminary", "all"): 1219, ("preliminary", "hem"): 648,
    }  # fmt: skip
    assert sum(n for (split, label), n in counts.items() if label == "all") == 7272 + 1219
    training = index.frame[index.frame["split"] != "preliminary"]
    assert training.groupby("label")["subject"].nunique().to_dict() == {"all": 47, "hem": 26}
    assert index.frame[index.frame["split"] == "preliminary"]["subject"].nunique() == 28
    assert "2586 files are left out, of the final set, which has no labels" in index.notes[0]


def test_genuine_cells_are_indexed(shared: Path) -> None:
    index = open_index(shared / "data/cnmc")
    assert index.frame["label"].value_counts().to_dict() == {"all": 19, "hem": 18}
    assert (index.positive, index.source, index.simulated) == ("all", "cnmc", "")


@pytest.mark.parametrize(
    "top",
    ["C-NMC_Leukemia/training_data", "C-NMC_training_data", "training_data/x"],
    ids=["kaggle", "archive", "deeper"],
)
def test_every_layout_of_c_nmc_gives_the_same_cells(tmp_path: Path, top: str) -> None:
    index = open_index(small_tree(tmp_path, top))
    assert list(index.frame["subject"]) == ["1", "2", "H1", "H3"]
    assert list(index.frame["split"]) == ["fold_0", "fold_1", "fold_2", "fold_2"]


def test_a_repeated_level_is_read_through(tmp_path: Path) -> None:
    touch(tmp_path, "fold_0/fold_0/all/UID_1_1_1_all.bmp", "fold_1/fold_1/hem/UID_H2_1_1_hem.bmp")
    assert list(open_index(tmp_path).frame["split"]) == ["fold_0", "fold_1"]


def test_the_same_cell_in_two_places_is_refused(tmp_path: Path) -> None:
    small_tree(tmp_path)
    touch(tmp_path, "C-NMC_Leukemia/training_data/fold_0/fold_0/all/UID_1_1_1_all.bmp")
    with pytest.raises(UserError, match=r"the same cell lies at .*UID_1_1_1_all.bmp and"):
        open_index(tmp_path)


@pytest.mark.parametrize(("all_code", "hem_code"), ["10", "01"])
def test_preliminary_labels_are_read_in_either_encoding(
    tmp_path: Path, all_code: str, hem_code: str
) -> None:
    rows = f"UID_57_1_1_all.bmp,1.bmp,{all_code}\r\nUID_H30_1_1_hem.bmp,2.bmp,{hem_code}\r\n"
    index = open_index(preliminary(small_tree(tmp_path), rows))
    found = index.frame[index.frame["split"] == "preliminary"]
    assert list(found["label"]) == ["all", "hem"]
    assert list(found["subject"]) == ["57", "H30"]


@pytest.mark.parametrize(
    ("rows", "images", "message"),
    [
        (
            "UID_57_1_1_all.bmp,1.bmp,1\r\nUID_57_1_1_all.bmp,1.bmp,0\r\n",
            ("1.bmp",),
            "image 1 has two labels",
        ),
        (
            "UID_5_1_1_all.bmp,1.bmp,1\r\nUID_5_1_2_all.bmp,2.bmp,1\r\nUID_5_1_3_all.bmp,3.bmp,0\r\n",
            ("1.bmp", "2.bmp", "3.bmp"),
            "label 0 for a cell named all",
        ),
    ],
)
def test_preliminary_labels_that_contradict_are_refused(
    tmp_path: Path, rows: str, images: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        open_index(preliminary(small_tree(tmp_path), rows, images))


def test_a_name_against_its_folder_is_refused(tmp_path: Path) -> None:
    touch(small_tree(tmp_path), "training_data/fold_0/all/UID_H9_1_1_hem.bmp")
    with pytest.raises(UserError, match="the name says hem, the folder all"):
        open_index(tmp_path)


def test_a_table_gives_the_same_index(table: Path) -> None:
    index = open_index(table, DataOptions(positive="blast"))
    assert (index.positive, index.negative, index.source) == ("blast", "normal", "table")
    assert index.frame["label"].value_counts().to_dict() == {"blast": 60, "normal": 30}
    assert list(index.frame.columns) == ["path", "label", "subject", "split", "sha256"]
    assert open_index(table / "index.csv", DataOptions(positive="blast")).digest == index.digest


def test_labels_are_class_indices(table: Path) -> None:
    index = open_index(table, DataOptions(positive="blast"))
    assert index.classes == Classes(names=("normal", "blast"), positive=1)
    assert [index.classes.name(label) for label in index.labels] == index.frame["label"].tolist()
    assert open_index(table, DataOptions(positive="normal")).classes.names == ("blast", "normal")


def test_classes_may_be_more_than_two() -> None:
    classes = Classes(names=("basophil", "blast", "eosinophil"), positive=1)
    assert (classes.positive_name, classes.negative_name) == ("blast", "basophil or eosinophil")
    assert classes.labels(np.array(["eosinophil", "blast", "blast"])).tolist() == [2, 1, 1]


def test_a_third_class_is_refused(table: Path) -> None:
    csv = table / "index.csv"
    csv.write_text(csv.read_text().replace("normal", "basophil", 1))
    with pytest.raises(UserError, match=r"3 class\(es\) \(basophil, blast, normal\) where two"):
        open_index(table, DataOptions(positive="blast"))


def test_the_digest_follows_content_and_not_place(table: Path, tmp_path: Path) -> None:
    before = open_index(table, DataOptions(positive="blast")).digest
    moved = table.rename(tmp_path / "elsewhere")
    assert open_index(moved, DataOptions(positive="blast")).digest == before
    Image.new("RGB", (32, 32)).save(moved / "cell_000.png")
    assert open_index(moved, DataOptions(positive="blast")).digest != before


def test_remembered_digests_are_renewed_when_a_file_changes(table: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = open_index(table, DataOptions(positive="blast"), cache)
    assert open_index(table, DataOptions(positive="blast"), cache).digest == before.digest
    Image.new("RGB", (32, 32)).save(table / "cell_000.png")
    after = open_index(table, DataOptions(positive="blast"), cache)
    assert (before.frame["sha256"] != after.frame["sha256"]).sum() == 1


def test_a_file_that_keeps_size_and_time_is_read_anew(tmp_path: Path) -> None:
    file, cache = tmp_path / "cell.bmp", tmp_path / "cache"
    found = []
    for content in (b"one", b"two"):
        other = tmp_path / "other"
        other.write_bytes(content)
        os.utime(other, (1, 1))
        other.replace(file)
        found += digests([file], cache, lambda done, total: None)
    assert found == [sha256(b"one").hexdigest(), sha256(b"two").hexdigest()]


def test_a_folder_whose_name_is_not_utf_8_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(UserError, match=r"caf\\udce9: the folder's name is not UTF-8; rename it"):
        open_index(folder, DataOptions(positive="blast"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("path,", "file,", 1), "no column 'path' among file"),
        (lambda text: text.replace("blast", "", 1), r"line \d+ \(cell_\d+.png\) has no label"),
        (lambda text: text + text.splitlines()[1] + "\n", "is listed 2 times"),
        (lambda text: text + "gone.png,blast,S\n", r"gone.png is not a file \(1 of 91 missing\)"),
        (lambda text: text.replace("blast", "normal"), r"1 class\(es\) \(normal\)"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
    ],
)
def test_a_faulty_table_is_refused_in_one_line(table: Path, edit, message: str) -> None:
    csv = table / "index.csv"
    csv.write_text(edit(csv.read_text()))
    with pytest.raises(UserError, match=message) as caught:
        open_index(table, DataOptions(positive="blast"))
    assert "\n" not in str(caught.value)


def test_the_positive_class_must_be_named_and_known(table: Path) -> None:
    with pytest.raises(UserError, match="give positive=blast or positive=normal"):
        open_index(table)
    with pytest.raises(UserError, match="there is no class 'cancer'"):
        open_index(table, DataOptions(positive="cancer"))


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        open_index(tmp_path / "nowhere")
    with pytest.raises(
        UserError, match=r"no labelled cells are here \(0 files\); expected an index.csv"
    ):
        open_index(tmp_path)
