"""Cells from any lab's files: folders, tables, arrays, archives, public sets; nothing left out
without a word."""

import io
import json
import os
import tarfile
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia.data.geometry import Geometry
from leukemia.data.index import OF_FILES, OF_TREES, Index, open_index
from leukemia.data.options import AUTO, PUBLIC, SOURCES, DataOptions
from leukemia.data.sources import presets
from leukemia.data.store import load_cells
from leukemia.errors import UserError
from tests import fuzz_images, fuzz_tables
from tests.test_index import preliminary, small_tree, touch


def read(data: Path, **asked: str) -> Index:
    return open_index(data, DataOptions(**asked))  # type: ignore[arg-type]


def counts(index: Index) -> dict[str, int]:
    return {str(label): int(n) for label, n in index.frame["label"].value_counts().items()}


def notes(index: Index) -> str:
    return "\n".join(index.notes)


# --- class folders


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Class folders with the patient in a folder below and in the name."""
    touch(
        tmp_path,
        *(f"cells/{kind}/P{p}/s{p}_{n}.png" for kind in ("ALL", "healthy") for p in (1, 2)
          for n in (1, 2)),
    )  # fmt: skip
    return tmp_path / "cells"


@pytest.mark.parametrize("pattern", ["2", r"s(\d+)_", r"/P(?P<subject>\d+)/", r"P\d+"])
def test_subjects_come_from_a_folder_or_a_pattern(clinic: Path, pattern: str) -> None:
    index = read(clinic, positive="ALL", subject=pattern)
    assert counts(index) == {"ALL": 4, "healthy": 4}
    assert index.frame["subject"].nunique() == 2
    assert index.source == "folders"
    assert "8 of 8 paths give 2 subjects" in notes(index)


def test_a_folder_above_the_classes_changes_nothing(clinic: Path) -> None:
    inside = read(clinic, positive="ALL", subject="2")
    above = read(clinic.parent, positive="ALL", subject="3")
    assert inside.digest == above.digest


def test_what_a_pattern_misses_is_counted(clinic: Path) -> None:
    touch(clinic, "ALL/P3/odd.png", "healthy/P3/odd2.png")
    index = read(clinic, positive="ALL", subject=r"s(\d+)_")
    assert "8 of 10 paths give 2 subjects" in notes(index)
    assert "2 files are left out, whose path gives no subject: ALL/P3/odd.png" in notes(index)


def test_a_pattern_that_fits_nothing_or_is_none_is_refused(clinic: Path) -> None:
    with pytest.raises(UserError, match=r"matches none of 8 paths, as ALL/P1/s1_1\.png"):
        read(clinic, positive="ALL", subject="patient(.)")
    with pytest.raises(UserError, match="no regular expression"):
        read(clinic, positive="ALL", subject="(")


def test_unknown_subjects_must_be_agreed_to_and_are_said(clinic: Path) -> None:
    with pytest.raises(UserError, match=r"which cells are of one subject; give subject=.*unknown"):
        read(clinic, positive="ALL")
    index = read(clinic, positive="ALL", subjects="unknown")
    assert index.describe() == "8 cells (4 ALL, 4 healthy) of unknown subjects; folders"
    assert index.frame["subject"].nunique() == 8
    with pytest.raises(UserError, match="give one of them"):
        read(clinic, positive="ALL", subjects="unknown", subject="2")


def test_where_cells_of_unknown_subjects_lie_changes_no_digest(clinic: Path) -> None:
    before = read(clinic, positive="ALL", subjects="unknown").digest
    (clinic / "ALL/P1").rename(clinic / "ALL/P9")
    assert read(clinic, positive="ALL", subjects="unknown").digest == before


def test_folders_of_a_split_are_its_split(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{kind}/{n}.png" for part in ("Train", "val", "TEST")
                      for kind in ("a", "b") for n in (1, 2)))  # fmt: skip
    index = read(tmp_path, positive="a", subjects="unknown")
    assert set(index.frame["split"]) == {"train", "validation", "test"}
    assert counts(index) == {"a": 6, "b": 6}


# --- groups of classes


def test_classes_become_groups_and_the_rest_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{n}.png" for kind in ("Early", "Pre", "Pro", "Benign", "Other")
                      for n in range(3)))  # fmt: skip
    index = read(tmp_path, positive="Early, Pre,Pro", negative="Benign", subjects="unknown")
    assert counts(index) == {"Early+Pre+Pro": 9, "Benign": 3}
    assert (index.positive, index.negative) == ("Early+Pre+Pro", "Benign")
    assert "3 files are left out, of classes that are not asked for (Other)" in notes(index)
    rest = read(tmp_path, positive="Pro", negative="rest", subjects="unknown")
    assert counts(rest) == {"Benign+Early+Other+Pre": 12, "Pro": 3}
    with pytest.raises(UserError, match="name groups, as positive=A,B and negative=C"):
        read(tmp_path, positive="Pro", subjects="unknown")
    with pytest.raises(UserError, match="there is no class 'Prä' among Benign, Early"):
        read(tmp_path, positive="Prä", negative="rest", subjects="unknown")
    with pytest.raises(UserError, match="is positive and negative"):
        read(tmp_path, positive="Pro", negative="Pro,Pre", subjects="unknown")


def test_names_for_people_change_no_digest(clinic: Path) -> None:
    plain = read(clinic, positive="ALL", subject="2")
    named = read(clinic, positive="ALL", subject="2",
                 class_names="ALL=ALL, leukemic blast; healthy=HEM, healthy")  # fmt: skip
    assert (named.positive, named.negative) == ("ALL, leukemic blast", "HEM, healthy")
    assert set(named.frame["label"]) == {"ALL, leukemic blast", "HEM, healthy"}
    assert named.digest == plain.digest
    assert named.labels.tolist() == plain.labels.tolist()
    with pytest.raises(UserError, match="expected CLASS=NAME with a class among ALL, healthy"):
        read(clinic, positive="ALL", subject="2", class_names="blast=ALL")


# --- tables


ROWS = [("a.png", "x", "NA"), ("b.png", "y", "007"), ("c d.png", "x", "1e5"), ("e.png", "y", "é")]


def write(folder: Path, name: str, rows: Sequence[tuple[str, ...]], head: str, **how: str) -> Path:
    folder.mkdir(exist_ok=True)
    touch(folder, *(row[0] for row in rows if row[0]))
    frame = pd.DataFrame(rows, columns=head.split(","))
    if name.endswith(".parquet"):
        frame.to_parquet(folder / name)
    elif name.endswith(".xlsx"):
        frame.to_excel(folder / name, index=False)
    else:
        frame.to_csv(folder / name, index=False, **how)  # type: ignore[call-overload]
    return folder


KINDS = {
    "comma": ("index.csv", {}),
    "semicolon": ("index.csv", {"sep": ";"}),
    "tab": ("index.tsv", {"sep": "\t"}),
    "bar": ("index.csv", {"sep": "|"}),
    "utf-16": ("index.csv", {"encoding": "utf-16", "sep": "\t"}),
    "with a mark": ("index.csv", {"encoding": "utf-8-sig"}),
    "parquet": ("index.parquet", {}),
    "excel": ("index.xlsx", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_of_table_gives_the_same_cells(kind: str, tmp_path: Path) -> None:
    name, how = KINDS[kind]
    rows = [*ROWS[:2], ("", "", ""), *ROWS[2:]] if kind in ("parquet", "excel") else ROWS
    index = read(write(tmp_path / "t", name, rows, "path,label,subject", **how), positive="x")
    assert sorted(index.frame["subject"]) == ["007", "1e5", "NA", "é"]
    assert counts(index) == {"x": 2, "y": 2}
    alone = read(tmp_path / "t" / name, positive="x")
    assert alone.digest == index.digest


def test_columns_of_other_names_and_a_joined_table(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "index.csv", [("a.png", "7"), ("b.png", "8")], "image,patient")
    (folder / "patients.csv").write_text("patient;diagnosis\n7;ALL\n8;none\n9;ALL\n")
    index = read(
        folder, positive="ALL", join="patients.csv",
        columns="path=image,label=diagnosis,subject=patient",
    )  # fmt: skip
    assert index.frame[["path", "label", "subject"]].to_numpy().tolist() == [
        ["a.png", "ALL", "7"],
        ["b.png", "none", "8"],
    ]
    (folder / "patients.csv").write_text("patient;diagnosis\n7;ALL\n")
    with pytest.raises(UserError, match=r"has no line for patient 8 \(1 of 2 lines"):
        read(folder, positive="ALL", join="patients.csv",
             columns="path=image,label=diagnosis,subject=patient")  # fmt: skip
    with pytest.raises(UserError, match=r"no column 'path' among image, patient.*columns=path="):
        read(folder, positive="ALL")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,label,subject\na.png,x,y,1\n", "two columns are called 'label'"),
        ("path,label,subject\na.png,x,1,more\n", "line 2 has 4 values where the head has 3"),
        ('path,label,subject\n"a.png,x,1\n', "line 2: unexpected end of data"),
        ("path,label,subject\na.png,x,1\n./a.png,y,2\n", "a.png is listed 2 times"),
        ("path,label,subject\na.png,x\n", "has no subject"),
        ("path,label,subj\0ect\na.png,x,1\n", "bytes of value 0"),
        (b"path,label,subject\nb\xe9.png,x,1\n", "line 2 is not utf-8; save the table as UTF-8"),
    ],
)  # fmt: skip
def test_a_table_that_says_two_things_is_refused(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "index.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        read(tmp_path, positive="x")


def test_commas_at_the_ends_of_lines_are_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "index.csv", ROWS, "path,label,subject")
    before = read(folder, positive="x").digest
    lines = (folder / "index.csv").read_text().splitlines()
    (folder / "index.csv").write_text("\n".join([lines[0], *(f"{line}," for line in lines[1:])]))
    assert read(folder, positive="x").digest == before


def test_images_that_no_line_lists_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "index.csv", ROWS, "path,label,subject")
    touch(folder, "more/z.png", "readme.txt", ".DS_Store")
    said = notes(read(folder, positive="x"))
    assert "1 file is left out, not listed in index.csv: more/z.png" in said
    assert "1 file is left out, no images: readme.txt" in said
    assert "1 file is left out, as systems leave them behind: .DS_Store" in said


# --- one spelling


def test_two_spellings_of_a_letter_are_one_subject_and_one_file(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    rows = [("a.png", "x", composed), ("b.png", "y", apart), (f"{composed}.png", "x", "2")]
    folder = write(tmp_path / "t", "index.csv", rows, "path,label,subject")
    (folder / f"{composed}.png").rename(folder / f"{apart}.png")
    index = read(folder, positive="x")
    assert set(index.frame["subject"]) == {composed, "2"}
    assert "1 subject name(s) are spelled in two ways in Unicode and taken as one" in notes(index)
    assert (folder / index.frame["path"].iloc[-1]).is_file()


# --- C-NMC and what copies make of it


def test_copies_of_c_nmc_are_read_as_they_are(tmp_path: Path) -> None:
    usual = read(small_tree(tmp_path / "usual"))
    for name in ("Fold_1", "FOLD_1"):
        odd = small_tree(tmp_path / name)
        top = odd / "C-NMC_Leukemia/training_data"
        (top / "fold_1").rename(top / name)
        index = read(odd)
        assert index.digest == usual.digest
        assert sorted(index.frame["split"]) == sorted(usual.frame["split"])
    png = small_tree(tmp_path / "png")
    for path in png.rglob("*.bmp"):
        path.rename(path.with_suffix(".png"))
    assert read(png).digest == usual.digest
    deeper = small_tree(tmp_path / "deeper")
    for path in list(deeper.rglob("*.bmp")):
        (path.parent / "images").mkdir(exist_ok=True)
        path.rename(path.parent / "images" / path.name)
    assert read(deeper).digest == usual.digest


def test_a_preliminary_set_of_the_challenges_own_name_or_in_part(tmp_path: Path) -> None:
    rows = "UID_57_1_1_all.bmp,1.bmp,1\r\nUID_H9_1_2_hem.bmp,2.bmp,0\r\nUID_58_1_2_all.bmp,4.bmp,1"
    tree = preliminary(small_tree(tmp_path), rows, ("1.bmp", "2.bmp", "3.bmp"))
    index = read(tree)
    assert (index.frame["split"] == "preliminary").sum() == 2
    assert "1 of 3 cells of the preliminary set are not here" in notes(index)
    assert "1 file is left out, of the preliminary set, with no line in its labels" in notes(index)
    folder = tree / "C-NMC_Leukemia/validation_data"
    (folder / "C-NMC_test_prelim_phase_data").rename(folder / "phase2")
    assert read(tree).digest == index.digest


def test_what_a_tree_holds_besides_its_cells_is_counted(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    touch(
        tree, "__MACOSX/training_data/fold_0/all/._UID_1_1_1_all.bmp", "Thumbs.db",
        "C-NMC_Leukemia/training_data/fold_0/all/._UID_1_1_1_all.bmp",
        "extra/UID_9_1_1_all.bmp", "notes.docx",
    )  # fmt: skip
    index = read(tree)
    assert len(index.frame) == 4
    said = notes(index)
    assert "3 files are left out, as systems leave them behind" in said
    assert "1 file is left out, in no folder fold_0, fold_1" in said
    assert "extra/UID_9_1_1_all.bmp" in said
    assert "no images: notes.docx" in said


def test_linked_folders_are_part_of_a_tree_and_never_a_circle(tmp_path: Path) -> None:
    whole = read(small_tree(tmp_path / "whole"))
    tree = small_tree(tmp_path / "tree")
    top = tree / "C-NMC_Leukemia/training_data"
    (top / "fold_2").rename(tmp_path / "disk2")
    (top / "fold_2").symlink_to(tmp_path / "disk2")
    (top / "circle").symlink_to(tree)
    (tmp_path / "disk2/up").symlink_to(tmp_path)
    os.mkfifo(tree / "pipe.bmp")
    (tree / "gone.bmp").symlink_to(tmp_path / "nowhere")
    index = read(tree)
    assert index.digest == whole.digest
    assert index.outside.startswith("2 of 4 files lie outside the data's folder")
    assert "4 files are left out, links to what is there already or to nothing" in notes(index)


def test_drawn_cells_stay_drawn_whatever_folder_is_given(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "sample")
    (tree / "C-NMC_Leukemia/SIMULATED.json").write_text('{"kind": "drawn cells", "seed": 3}')
    fold = tree / "C-NMC_Leukemia/training_data/fold_2"
    touch(fold, "all/UID_5_1_1_all.bmp")
    rows = [(str(path), path.parent.name, path.name) for path in sorted(fold.rglob("*.bmp"))]
    (tmp_path / "list").mkdir()
    pd.DataFrame(rows, columns=["path", "label", "subject"]).to_csv(
        tmp_path / "list/index.csv", index=False
    )
    for place in (tree, tree / "C-NMC_Leukemia", fold.parent, fold, tmp_path / "list"):
        assert read(place, positive="all").simulated == "drawn cells, seed 3", place


# --- arrays and archives


def arrays(file: Path, names: tuple[str, ...] = ("train", "val", "test")) -> np.ndarray:
    rng = np.random.default_rng(0)
    parts = {}
    for name in names:
        parts[f"{name}_images"] = rng.integers(0, 256, (6, 28, 28, 3), np.uint8)
        parts[f"{name}_labels"] = np.arange(6, dtype=np.uint8)[:, None] % 3
    np.savez(file, **parts)  # type: ignore[arg-type]
    return parts["train_images"]


def test_arrays_keep_their_pixels_and_their_split(tmp_path: Path) -> None:
    pixels = arrays(tmp_path / "bloodmnist_28.npz")
    index = read(tmp_path / "bloodmnist_28.npz", positive="basophil", negative="rest",
                 subjects="unknown")  # fmt: skip
    assert counts(index) == {"eosinophil+erythroblast": 12, "basophil": 6}
    assert set(index.frame["split"]) == {"train", "validation", "test"}
    cells = load_cells(index, Geometry(crop=0, size=32), tmp_path / "cache")
    first = np.flatnonzero(index.frame["path"] == "train/000003.bmp")[0]
    expected = np.asarray(Image.fromarray(pixels[3]).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(cells.images[first], expected)
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "bloodmnist_28.npz").rename(alone / "bloodmnist_28.npz")
    same = read(alone, positive="basophil", negative="rest", subjects="unknown")
    assert (same.digest, same.source) == (index.digest, "bloodmnist")


def test_arrays_that_are_none_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 28, 28, 3)), train_labels=[0, 1])
    with pytest.raises(UserError, match=r"are float64 of shape .*; expected uint8"):
        read(tmp_path / "a.npz", positive="0")
    np.savez(tmp_path / "b.npz", images=np.array([{}], dtype=object), labels=[0])
    with pytest.raises(UserError, match=r"no whole \.npz file"):
        read(tmp_path / "b.npz", positive="0")
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    with pytest.raises(UserError, match=r"no whole \.npz file"):
        read(tmp_path / "c.npz", positive="0")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_read_as_its_folder_is(clinic: Path, kind: str, tmp_path: Path) -> None:
    packed = tmp_path / f"packed.{kind}"
    files = sorted(path for path in clinic.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(clinic))
    else:
        with tarfile.open(packed, "w") as archive:
            for path in files:
                archive.add(path, path.relative_to(clinic))
    folder = read(clinic, positive="ALL", subject="2")
    index = read(packed, positive="ALL", subject="2")
    assert (index.digest, index.describe()) == (folder.digest, folder.describe())
    (tmp_path / f"cut.{kind}").write_bytes(packed.read_bytes()[:700])
    with pytest.raises(UserError, match=r"no whole \w+ archive|no labelled cells"):
        read(tmp_path / f"cut.{kind}", positive="ALL", subject="2")
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(UserError, match="unpack it and give the folder"):
        read(tmp_path / "a.tar.gz")


def test_webdataset_shards_are_read_with_their_labels(tmp_path: Path) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard:03d}.tar", "w") as tar:
            for n in range(4):
                said = {"label": "ab"[n % 2], "subject": f"P{shard}{n}"}
                for ending, content in (
                    ("png", f"{shard}{n}".encode()),
                    ("json", json.dumps(said).encode()),
                ):
                    member = tarfile.TarInfo(f"{n:05d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    index = read(tmp_path, positive="a")
    assert (index.source, counts(index)) == ("webdataset", {"a": 4, "b": 4})
    assert index.frame["subject"].nunique() == 8
    assert read(tmp_path / "000.tar", positive="a").frame["label"].tolist() == list("abab")


# --- public sets

TREES = {
    "acevedo_pbc": (
        ["PBC_dataset_normal_DIB/basophil/BA_47.jpg", "PBC_dataset_normal_DIB/ig/MMY_1.jpg"],
        {"basophil": 1, "immature granulocyte": 1}, 0,
    ),
    "aml_lmu": (
        ["AML/BAS/BAS_0001.tiff", "AML/MYO/MYO_0001.tiff", "AML/MYO/MYO_0002.tiff",
         "annotations.dat"],
        {"basophil": 1, "myeloblast": 2}, 0,
    ),
    "aml_mll": (
        ["data/control/AEC/image_0.tif", "data/NPM1/ABC/image_1.tif", "data/NPM1/ABD/image_1.tif"],
        {"control": 1, "NPM1": 2}, 3,
    ),
    "raabin_wbc": (
        ["Train/Basophil/a.jpg", "TestA/Monocyte/b.jpg", "TestB/Monocyte/c.jpg"],
        {"Basophil": 1, "Monocyte": 1}, 0,
    ),
    "lisc": (
        ["Main Dataset/Baso/1.bmp", "Main Dataset/eosi/2.bmp",
         "Ground Truth Segmentation/Baso/areaforexpert1/1_expert.bmp"],
        {"basophil": 1, "eosinophil": 1}, 0,
    ),
    "all_idb2": (["img/Im001_1.tif", "img/Im002_0.tif"], {"ALL": 1, "healthy": 1}, 0),
    "kaggle_all": (
        ["Original/Benign/WBC-Benign-001.jpg", "Original/Early/WBC-Malignant-Early-001.jpg",
         "Segmented/Benign/WBC-Benign-001.jpg", "Segmented/Early/WBC-Malignant-Early-001.jpg"],
        {"Benign": 1, "Early": 1}, 0,
    ),
    "elsafty_rbc": (
        ["Cropped images/01-Rounded RBC/a.png", "Cropped images/05-Teardrop/b.png"],
        {"01-Rounded RBC": 1, "05-Teardrop": 1}, 0,
    ),
}  # fmt: skip


def test_every_public_set_has_a_tree_here() -> None:
    assert set(TREES) == set(presets.PRESETS)
    assert set(SOURCES) == {AUTO, *OF_TREES, *OF_FILES, *presets.PRESETS}
    assert set(PUBLIC) == {*presets.PRESETS, "bloodmnist"}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("named", ["recognised", "named"])
def test_a_public_set_is_known_by_its_paths(name: str, named: str, tmp_path: Path) -> None:
    paths, expected, subjects = TREES[name]
    touch(tmp_path, *paths)
    (first, *_) = expected
    source = name if named == "named" else "auto"
    known = "known" if subjects else "unknown"
    index = read(tmp_path, positive=first, source=source, subjects=known)
    assert (index.source, counts(index)) == (name, expected)
    assert index.subjects_known == bool(subjects)
    if subjects:
        assert index.frame["subject"].nunique() == subjects
    left = len(paths) - len(index.frame)
    assert sum(int(note.split()[0]) for note in index.notes) == left


def test_another_name_than_the_set_has_is_left_out_and_counted(tmp_path: Path) -> None:
    paths, _, _ = TREES["acevedo_pbc"]
    touch(tmp_path, *paths, "PBC_dataset_normal_DIB/basophil/my own.jpg")
    index = read(tmp_path, positive="basophil", source="acevedo_pbc", subjects="unknown")
    assert "1 file is left out, not named as in this set" in notes(index)
    assert read(tmp_path, positive="basophil", subjects="unknown").source == "folders"
    with pytest.raises(UserError, match="no labelled cells are here as source=lisc has them"):
        read(tmp_path, positive="basophil", source="lisc")
    with pytest.raises(UserError, match="there is no source 'mine': choose from auto, table"):
        read(tmp_path, source="mine")


def test_damaged_images_are_refused_or_read_as_a_second_decoder_reads_them(tmp_path: Path) -> None:
    assert fuzz_images.main(4, tmp_path / "faults", seed=3) == 0


def test_tables_of_every_way_of_writing_come_back_as_they_were(tmp_path: Path) -> None:
    assert fuzz_tables.main(2, tmp_path / "faults") == 0
