"""Ten planted leaks are found and named, and a clean data set is called clean."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from entrypoints.audit import main
from leukemia.data.near_duplicates import alike, joined_subjects
from leukemia.data.sample import draw_cells
from leukemia.splits.audit import as_json, as_table, as_text, examine
from leukemia.splits.audit_plot import figure
from leukemia.splits.leaks import SyntheticCells
from tests.test_near_duplicates import COPIES

LABEL = {1: "blast", 0: "normal"}
SPLITS = {1: "train", 2: "validation", 3: "test", 4: "train", 5: "train", 6: "test"}


class Data:
    """Drawn cells of twelve subjects, each in one split, to which copies can be added."""

    def __init__(self) -> None:
        drawn = draw_cells(72, seed=21, size=210, subjects=12)
        self.images, self.subjects = list(drawn.images), drawn.subjects.tolist()
        self.labels = [LABEL[label] for label in drawn.labels]
        self.splits = [SPLITS[int(name.removeprefix("H"))] for name in self.subjects]
        self.files = [f"file {number}" for number in range(len(drawn))]
        self.synthetic: SyntheticCells | None = None

    def row(self, split: str, after: int = 0) -> int:
        """A cell of a split: the first, or one after it."""
        return [row for row, name in enumerate(self.splits[:72]) if name == split][after]

    def add(self, of: int, done: str, **other: str) -> None:
        """A copy of a cell in another file, with other marks."""
        self.images.append(COPIES[done](self.images[of]))
        new = {"subject": f"new {len(self.images)}", "label": self.labels[of], "split": "test",
               "file": f"file {len(self.images) - 1}"} | other  # fmt: skip
        self.subjects.append(new["subject"])
        self.labels.append(new["label"])
        self.splits.append(new["split"])
        self.files.append(new["file"])

    def audit(self):
        frame = pd.DataFrame(
            {
                "path": [f"{row}.png" for row in range(len(self.images))],
                "label": self.labels, "subject": self.subjects, "sha256": self.files,
            }
        )  # fmt: skip
        pairs = alike(np.stack(self.images))
        names = joined_subjects(np.array(self.subjects), np.array(self.files), pairs)
        return examine(frame, names, np.array(self.splits), pairs, self.synthetic, "subject")


def identical(data: Data) -> None:
    of = data.row("train", 0)
    data.add(of, "the same pixels", file=data.files[of])


def other_encoding(data: Data) -> None:
    data.add(data.row("train", 1), "the same pixels")


def recompressed(data: Data) -> None:
    data.add(data.row("train", 2), "compressed anew")


def turned(data: Data) -> None:
    data.add(data.row("train", 3), "turned 90")


def upside_down(data: Data) -> None:
    data.add(data.row("train", 4), "turned 180")


def mirrored(data: Data) -> None:
    data.add(data.row("train", 5), "mirrored")


def mirrored_and_turned(data: Data) -> None:
    data.add(data.row("train", 6), "mirrored, turned 90")


def subject_in_two_splits(data: Data) -> None:
    row = data.row("validation", 1)
    data.splits[row] = "test"


def contradicting_labels(data: Data) -> None:
    of = data.row("train", 7)
    other = {"blast": "normal", "normal": "blast"}[data.labels[of]]
    data.add(of, "the same pixels", file=data.files[of], label=other,
             subject=data.subjects[of], split="train")  # fmt: skip


def made_before_the_split(data: Data) -> None:
    parents = np.array([[data.row("test"), data.row("test", 1)]])
    data.synthetic = SyntheticCells(splits=np.array(["train"]), parents=parents)


# What is planted, and the kinds of finding that must come of it; nothing else may.
PLANTED = {
    identical: {"identical", "subject", "joined"},
    other_encoding: {"alike", "subject", "joined"},
    recompressed: {"alike", "subject", "joined"},
    turned: {"alike", "subject", "joined"},
    upside_down: {"alike", "subject", "joined"},
    mirrored: {"alike", "subject", "joined"},
    mirrored_and_turned: {"alike", "subject", "joined"},
    subject_in_two_splits: {"subject"},
    contradicting_labels: {"labels"},
    made_before_the_split: {"synthetic"},
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_found_and_nothing_else(plant) -> None:
    data = Data()
    plant(data)
    found = data.audit()
    assert found.counts == dict.fromkeys(PLANTED[plant], 1)
    assert found.blocking


def test_all_ten_together_are_found() -> None:
    data = Data()
    for plant in PLANTED:
        plant(data)
    counts = data.audit().counts
    assert (counts["identical"], counts["alike"], counts["labels"], counts["synthetic"]) == (
        1,
        6,
        1,
        1,
    )
    leaked = {data.subjects[data.row("train", place)] for place in range(7)}
    assert counts["subject"] == len(leaked) + 1


def test_a_clean_data_set_is_called_clean() -> None:
    found = Data().audit()
    assert found.findings == ()
    assert as_text(found).endswith("No leak found.")
    assert as_table(found).empty


def test_copies_within_one_split_do_not_block() -> None:
    data = Data()
    of = data.row("train")
    data.add(of, "mirrored", subject=data.subjects[of], split="train")
    found = data.audit()
    assert found.counts == {"repeated": 1}
    assert not found.blocking


def test_a_finding_says_which_cells_in_which_splits() -> None:
    data = Data()
    turned(data)
    text = as_text(data.audit())
    of = data.row("train", 3)
    assert "LEAK  alike: 1, near-identical cells in two splits" in text
    assert "near-identical once the second is turned 270" in text
    assert f"{of}.png (train, subject {data.subjects[of]}), 72.png (test" in text


def test_synthetic_cells_that_were_learned_from_all_are_counted() -> None:
    data = Data()
    splits = np.array(["train"] * 5 + ["test"] * 2)
    data.synthetic = SyntheticCells(
        splits=splits, parents=None, learned_from=np.array([data.row("train"), data.row("test")])
    )
    texts = [finding.text for finding in data.audit().findings]
    assert [text.split(":")[0] for text in texts] == [
        "2 synthetic cells in test come of 1 cells in train",
        "5 synthetic cells in train come of 1 cells in test",
    ]


def test_the_json_is_the_same_for_the_same_audit_and_holds_every_finding() -> None:
    data = Data()
    identical(data)
    found = data.audit()
    assert as_json(found) == as_json(data.audit())
    said = json.loads(as_json(found))
    assert said["counts"] == {"identical": 1, "subject": 1, "joined": 1}
    assert said["blocking"] == 2
    assert said["splits"] == {name: data.splits.count(name) for name in SPLITS.values()}
    assert said["findings"][0]["splits"] == ["test", "train"]
    table = as_table(found)
    assert table["splits"].tolist() == ["test | train"] * 2 + [""]
    assert table["kind"].tolist() == ["identical", "subject", "joined"]


def test_the_picture_shows_the_pair() -> None:
    data = Data()
    plain = figure(data.audit(), "drawn cells")
    mirrored(data)
    paths = np.array([f"{row}.png" for row in range(73)])
    shown = figure(data.audit(), "drawn cells", paths, np.stack(data.images))
    assert shown.dtype == np.uint8
    assert shown.shape[0] > plain.shape[0]


def test_the_manifest_of_c_nmc(shared: Path, tmp_path: Path) -> None:
    manifest = shared / "data/cnmc2019_manifest.csv"
    done = CliRunner().invoke(main, ["--data", str(manifest), "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "98 findings block ranking and registration." in done.output
    found = pd.read_csv(tmp_path / "audit.csv", keep_default_na=False)
    twice = found[found["kind"].isin(["identical", "repeated"])]
    training = twice[twice["cells"].str.contains("training_data")]
    assert len(training) == 104
    assert (training["kind"] == "identical").sum() == 94
    assert (training["subjects"].str.contains("|", regex=False)).sum() == 99
    assert len(twice) - len(training) == 2  # in the final set
    joined = found[found["kind"] == "joined"]["subjects"].str.split(" | ", regex=False)
    assert joined.tolist() == [
        ["20", "21"], ["51", "75", "78"], ["H2", "H4", "H5", "H6"], ["H3", "H10"],
    ]  # fmt: skip


def test_a_generator_that_hands_out_copies_blocks() -> None:
    frame = pd.DataFrame(
        {"path": list("ab"), "label": ["x", "y"], "subject": list("st"), "sha256": list("12")}
    )
    splits, of_synthetic = np.array(["train", "test"]), np.array(["train"])
    for text in ("", "9 of 10 synthetic cells are copies"):
        synthetic = SyntheticCells(
            splits=of_synthetic, parents=None, learned_from=np.array([0]), copied=text
        )
        found = examine(frame, frame["subject"].to_numpy(str), splits, (), synthetic)
        assert [each.text for each in found.blocking] == [text] * bool(text)
    assert found.counts == {"copies": 1}


def test_a_table_of_cells_is_audited_as_its_own_split_says(tmp_path: Path) -> None:
    drawn = draw_cells(36, seed=4, size=64, subjects=12)
    rows = []
    for number, (image, subject) in enumerate(zip(drawn.images, drawn.subjects, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        split = SPLITS[int(subject.removeprefix("H"))]
        rows.append((f"{number}.png", LABEL[drawn.labels[number]], subject, split))
    Image.fromarray(np.ascontiguousarray(drawn.images[0][:, ::-1])).save(tmp_path / "copy.png")
    other = "test" if rows[0][3] == "train" else "train"
    rows.append(("copy.png", rows[0][1], "another", other))
    columns = ["path", "label", "subject", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "index.csv", index=False)
    done = CliRunner().invoke(
        main,
        ["--data", str(tmp_path), "--positive", "blast", "--protocol", "official", "--crop", "64"],
        env={"LEUKEMIA_CACHE": str(tmp_path / "cache")},
    )
    assert done.exit_code == 1, done.output
    assert "LEAK  alike: 1" in done.output
    assert "copy.png" in done.output
