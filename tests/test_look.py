"""A look at a data set tells what there is, whatever it is, and what was left out."""

from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner, Result
from PIL import Image

from entrypoints import look
from tests.test_pixels import COLOUR, DEEP, PHOTO, png16, saved


def looked(*words: object) -> Result:
    return CliRunner().invoke(look.main, list(map(str, words)))


def clinic(folder: Path) -> Path:
    """Three classes of two patients, in images of several kinds, one of them no image."""
    for label, count in (("ALL", 6), ("AML, <b>acute</b>", 3), ("healthy", 2)):
        for number in range(count):
            place = folder / label / f"P{number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            COLOUR.save(place / f"{number}.png")
    (folder / "ALL/P0/deep.png").write_bytes(png16(DEEP))
    (folder / "ALL/P0/grey.jpg").write_bytes(saved(PHOTO.convert("L"), "jpeg"))
    (folder / "ALL/P0/none.png").write_text("no image")
    (folder / "notes.txt").touch()
    return folder


def test_it_tells_classes_subjects_sizes_and_modes(tmp_path: Path) -> None:
    said = looked("--data", clinic(tmp_path / "c"), "--subject", 2, "--out", tmp_path / "out")
    assert said.exit_code == 0, said.output
    rows = [line.split() for line in said.stdout.splitlines()]
    assert "14 images of 3 classes; folders" in said.stdout
    assert ["ALL", "9", "64.3%", "2", "3", "to", "6,", "median", "4.5"] in rows
    assert "imbalance: 4.5 to 1" in said.stdout
    assert "sizes: 40x40: 12, 80x80: 1" in said.stdout
    assert "modes: RGB, 8 bits: 11, RGB, 16 bits: 1, L, 8 bits: 1" in said.stdout
    assert "cannot be read: 1, the first ALL/P0/none.png" in said.stdout
    assert "1 file is left out, no images: notes.txt" in said.stdout
    assert "Research use only" in said.stdout
    table = pd.read_csv(tmp_path / "out/look.csv")
    assert len(table) == 14
    assert (tmp_path / "out/look.txt").read_text().strip() in said.stdout
    picture = np.asarray(Image.open(tmp_path / "out/look.png"))
    assert picture.shape[1] == 1100
    assert (picture != 255).mean() > 0.1


def test_subjects_that_nobody_knows_are_said_to_be_so(tmp_path: Path) -> None:
    said = looked("--data", clinic(tmp_path / "c"))
    assert said.exit_code == 0, said.output
    assert "SUBJECTS UNKNOWN: figures may flatter" in said.stdout


def test_groups_are_looked_at_as_they_would_train(tmp_path: Path) -> None:
    said = looked("--data", clinic(tmp_path / "c"), "--positive", "ALL", "--negative", "healthy")
    assert "11 images of 2 classes" in said.stdout
    assert "3 files are left out, of classes that are not asked for" in said.stdout


def test_drawn_cells_are_named_and_splits_are_counted(tmp_path: Path) -> None:
    tree = tmp_path / "C-NMC_Leukemia"
    for path in ("fold_0/all/UID_1_1_1_all.bmp", "fold_1/hem/UID_H2_1_1_hem.bmp"):
        (tree / path).parent.mkdir(parents=True)
        COLOUR.save(tree / path)
    (tree / "SIMULATED.json").write_text('{"kind": "drawn cells", "seed": 3}')
    said = looked("--data", tree)
    assert "2 images of 2 classes; SIMULATED (drawn cells, seed 3)" in said.stdout
    assert "fold_0" in said.stdout


def test_nothing_to_look_at_is_a_line(tmp_path: Path) -> None:
    said = looked("--data", tmp_path)
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: ")
    assert "no labelled cells are here" in said.stderr
