"""C-NMC 2019 as it lies on disk, in the layouts of its archive and of its public copies.

Source: Gupta et al., C-NMC 2019, The Cancer Imaging Archive. Training cells lie in
`fold_{0,1,2}/{all,hem}/UID_[H]SUBJECT_IMAGE_CELL_{all,hem}.bmp` below `training_data` or
`C-NMC_training_data`; the preliminary set is `1.bmp` ... beside a labels CSV. Some copies repeat
a folder level, put one between, write folders otherwise (`Fold_1`, `phase2`) or hold PNG files;
some have the CSV's encoding the other way round.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leukemia.data.names import shortened, some_of
from leukemia.data.options import DataOptions
from leukemia.data.sources import COLUMNS, Listing
from leukemia.data.sources.images import NOT_IMAGES, sorted_out
from leukemia.data.trees import Tree
from leukemia.errors import UserError

NAME = "cnmc"
SIZE = 450  # pixels a side of every labelled image
PRELIMINARY = "preliminary"
FINAL = "final"
PRELIMINARY_COUNTS = {"all": 1219, "hem": 648}  # of the complete preliminary set

_CELL = re.compile(r"UID_(H?\d+)_\d+_\d+_(all|hem)\.[a-z]+", re.IGNORECASE)
_FOLD = re.compile(r"fold_(\d+)", re.IGNORECASE)
_NUMBERED = re.compile(r"\d+\.[a-z]+", re.IGNORECASE)
# Also as the challenge called its parts while it went on.
_PHASES = {
    PRELIMINARY: re.compile(r"prelim|phase[-_ ]?2(?!\d)", re.IGNORECASE),
    FINAL: re.compile(r"final|phase[-_ ]?3(?!\d)", re.IGNORECASE),
}

UNLABELLED = "of the final set, which has no labels"
ELSEWHERE = "in no folder fold_0, fold_1, ... and not of the preliminary set"
UNLISTED = "of the preliminary set, with no line in its labels"


def read(tree: Tree, asked: DataOptions) -> Listing | None:
    """The labelled cells below `tree`: label `all` or `hem`; subject with `H` and all, upper case;
    split `fold_0`, `fold_1`, `fold_2` or `preliminary`. None where no cell is named as C-NMC's.

    Raises:
        UserError: a name that contradicts its folder, a doubled cell, or preliminary labels that
            are missing, doubled or contradict themselves.
    """
    parts = _sorted_out(tree)
    named = any(_CELL.fullmatch(_name(path)) for path in parts.training)
    if not named and not (parts.preliminary and parts.tables):
        return None
    training = pd.DataFrame([_training_row(path) for path in parts.training], columns=COLUMNS)
    training["split"] = training["split"].replace("", _fold(f"{tree.root.name}/"))
    _refuse_doubles(training, tree.root)
    preliminary, notes = _preliminary(tree, parts)
    frame = pd.concat([training, preliminary], ignore_index=True)
    return Listing(
        source=NAME,
        frame=frame,
        tree=tree,
        positive="all",
        size=SIZE if frame["path"].str.lower().str.endswith(".bmp").all() else None,
        left_out=parts.left_out,
        notes=notes,
    )


def from_path(path: Path) -> tuple[str, str, str]:
    """(label, subject, split) as far as the path of a file gives them, else "".

    Raises:
        UserError: the name of a training cell has another form or contradicts its folder.
    """
    name = path.as_posix()
    if _fold(name):
        return _training_row(name)[1:]
    return "", "", next((split for split in _PHASES if _part_of(name, split)), "")


def preliminary_labels(csv: Path) -> dict[str, tuple[str, str]]:
    """Name, as `7.bmp` -> (label, subject) of each image of the preliminary set."""
    listed = _labels(csv.read_bytes(), csv)
    parsed = [_parse(name, csv) for name in listed["Patient_ID"]]
    return {
        name: (label, subject)
        for name, (subject, label) in zip(listed["new_names"], parsed, strict=True)
    }


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The paths of a tree by what they are: cells of the folds, images of the preliminary set by
    their number, the tables of its labels, and why -> what is left out."""

    training: list[str]
    preliminary: dict[str, list[str]]
    tables: list[str]
    left_out: dict[str, list[str]]


def _sorted_out(tree: Tree) -> _Parts:
    images, left_out = sorted_out(tree)
    tables = [path for path in left_out[NOT_IMAGES] if path.lower().endswith(".csv")]
    of_preliminary = [path for path in tables if _PHASES[PRELIMINARY].search(_name(path))]
    left_out[NOT_IMAGES] = sorted(set(left_out[NOT_IMAGES]) - set(of_preliminary))
    left_out |= {UNLABELLED: [], UNLISTED: [], ELSEWHERE: []}
    parts = _Parts(training=[], preliminary={}, tables=of_preliminary, left_out=left_out)
    # A folder inside the training data may be given: then its cells are all that there are.
    inside = not any(map(_fold, images))
    for path in images:
        if _fold(path) or (inside and _CELL.fullmatch(_name(path))):
            parts.training.append(path)
        elif _part_of(path, FINAL):
            left_out[UNLABELLED].append(path)
        elif _part_of(path, PRELIMINARY) and _NUMBERED.fullmatch(_name(path)):
            parts.preliminary.setdefault(_stem(_name(path)), []).append(path)
        else:
            left_out[ELSEWHERE].append(path)
    return parts


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]


def _fold(path: str) -> str:
    """The innermost `fold_N` among a path's folders, or "" outside the training data."""
    folds = [match for part in path.split("/")[:-1] if (match := _FOLD.fullmatch(part))]
    return f"fold_{int(folds[-1][1])}" if folds else ""


def _part_of(path: str, phase: str) -> bool:
    return any(_PHASES[phase].search(part) for part in path.split("/")[:-1])


def _training_row(path: str) -> tuple[str, str, str, str]:
    subject, label = _parse(_name(path), path)
    named = [part for part in path.lower().split("/")[:-1] if part in PRELIMINARY_COUNTS]
    if named and named[-1] != label:
        raise UserError(
            f"{path}: the name says {label}, the folder {named[-1]}; move or rename the file"
        )
    return path, label, subject, _fold(path)


def _parse(name: str, where: str | Path) -> tuple[str, str]:
    """(subject, label) from a cell's name."""
    match = _CELL.fullmatch(name)
    if match is None:
        raise UserError(
            f"{where}: '{name}' is not named UID_SUBJECT_IMAGE_CELL_all.bmp or "
            f"UID_HSUBJECT_IMAGE_CELL_hem.bmp; rename it or take it out of the tree"
        )
    return match[1].upper(), match[2].lower()


def _refuse_doubles(training: pd.DataFrame, place: Path) -> None:
    names = training["path"].map(lambda path: _stem(_name(path)).upper())
    doubled = training["path"][names.duplicated(keep=False)].sort_values(
        key=lambda paths: names[paths.index]
    )
    if len(doubled):
        raise UserError(
            f"{place}: the same cell lies at {doubled.iloc[0]} and {doubled.iloc[1]} "
            f"({len(doubled)} such files); keep one copy of each"
        )


def _preliminary(tree: Tree, parts: _Parts) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of the preliminary set: of the images that are there and have a line in its labels.
    What that leaves out is added to the parts, or said in a note."""
    none = pd.DataFrame(columns=COLUMNS)
    if not parts.tables:
        if parts.preliminary:
            raise UserError(
                f"{tree.root}: {len(parts.preliminary)} preliminary images but no labels; put "
                f"C-NMC_test_prelim_phase_data_labels.csv beside them"
            )
        return none, ()
    csv = tree.root / parts.tables[0]
    if not parts.preliminary:
        return none, (f"{csv.name} is here but its images are not: no preliminary set",)
    listed = _labels(tree.read(parts.tables[0]), csv)
    listed["new_names"] = listed["new_names"].map(_stem)
    _refuse_pairs(listed["new_names"], parts.preliminary, csv)
    unlisted = sorted(set(parts.preliminary) - set(listed["new_names"]))
    parts.left_out[UNLISTED] += [parts.preliminary[number][0] for number in unlisted]
    there = listed["new_names"].isin(set(parts.preliminary))
    absent = len(listed) - int(there.sum())
    notes = (f"{absent} of {len(listed)} cells of the preliminary set are not here",) * bool(absent)
    listed = listed[there].reset_index(drop=True)
    if listed.empty:
        return none, notes
    subjects, named = zip(*(_parse(name, csv) for name in listed["Patient_ID"]), strict=True)
    _check_encoding(listed["labels"], pd.Series(named), csv)
    paths = [parts.preliminary[number][0] for number in listed["new_names"]]
    frame = pd.DataFrame({"path": paths, "label": named, "subject": subjects, "split": PRELIMINARY})
    return frame, notes


def _labels(content: bytes, csv: Path) -> pd.DataFrame:
    """The rows of the labels CSV of the preliminary set."""
    expected = ["Patient_ID", "new_names", "labels"]
    try:
        listed = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        raise UserError(
            f"{csv}: not a readable CSV ({str(error).splitlines()[0]}); copy the labels anew"
        ) from error
    if list(listed.columns) != expected:
        came = some_of(list(listed.columns))
        raise UserError(f"{csv}: columns {came}; expected {','.join(expected)}")
    return listed


def _refuse_pairs(numbers: pd.Series, images: dict[str, list[str]], csv: Path) -> None:
    """Refuse a number with two lines, or with two images."""
    doubled = numbers[numbers.duplicated()]
    if len(doubled):
        raise UserError(f"{csv}: image {doubled.iloc[0]} has two labels; keep one line an image")
    twice = next((paths for paths in images.values() if len(paths) > 1), None)
    if twice:
        raise UserError(f"the same cell lies at {twice[0]} and {twice[1]}; keep one copy of each")


def _check_encoding(codes: pd.Series, named: pd.Series, csv: Path) -> None:
    """Refuse labels that are not the classes in the names under one encoding, and a whole set
    whose counts are not those of C-NMC 2019."""
    meanings = len(set(zip(codes, named, strict=True)))
    if meanings != codes.nunique() or meanings != named.nunique():
        wrong = _first_contradiction(codes, named)
        raise UserError(
            f"{csv}: line {wrong + 2} says label {shortened(codes[wrong])} for a cell named "
            f"{named[wrong]}, other lines the opposite; copy the labels anew"
        )
    counts = named.value_counts().to_dict()
    if len(named) == sum(PRELIMINARY_COUNTS.values()) and counts != PRELIMINARY_COUNTS:
        raise UserError(
            f"{csv}: {counts.get('all', 0)} all and {counts.get('hem', 0)} hem; the preliminary "
            f"set has {PRELIMINARY_COUNTS['all']} and {PRELIMINARY_COUNTS['hem']}: the names "
            f"of the classes are exchanged"
        )


def _first_contradiction(codes: pd.Series, named: pd.Series) -> int:
    usual = codes.groupby(named).agg(lambda of_class: of_class.mode()[0])
    return int(np.argmax(codes != named.map(usual)))
