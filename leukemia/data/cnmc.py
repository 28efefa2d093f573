"""C-NMC 2019 as it lies on disk, in the layouts of its archive and of its public copies.

Source: Gupta et al., C-NMC 2019, The Cancer Imaging Archive. Training cells lie in
`fold_{0,1,2}/{all,hem}/UID_[H]SUBJECT_IMAGE_CELL_{all,hem}.bmp` below `training_data` or
`C-NMC_training_data`; the preliminary set is `1.bmp` ... beside a labels CSV. Some copies
repeat a folder level, some have the CSV's encoding the other way round.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from leukemia.data.names import shortened, some_of
from leukemia.errors import UserError
from leukemia.text.escape import visible

SIZE = 450  # pixels a side of every labelled image
MARKER = "SIMULATED.json"  # stands in a tree of drawn cells
FORMER_MARKER = "SYNTHETIC.json"  # its name in trees that were drawn earlier
PRELIMINARY = "preliminary"
FINAL = "final"
LONGEST = 100  # characters of the kind of a drawn sample
PRELIMINARY_COUNTS = {"all": 1219, "hem": 648}  # of the complete preliminary set

_CELL = re.compile(r"UID_(H?\d+)_\d+_\d+_(all|hem)\.bmp", re.IGNORECASE)
_FOLD = re.compile(r"fold_\d+")
_PHASES = {PRELIMINARY: "prelim_phase_data", FINAL: "final_phase_data"}


def read(tree: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The labelled cells below `tree`, and notes on files that are left out.

    Columns: path (relative to `tree`), label (`all` or `hem`), subject (`H` and all, upper
    case), split (`fold_0`, `fold_1`, `fold_2` or `preliminary`).

    Raises:
        UserError: no such tree, a name that contradicts its folder, a doubled cell, or
            preliminary labels that are missing, doubled or contradict themselves.
    """
    images, tables = _walk(tree)
    training = pd.DataFrame(
        [_training_row(path) for path in images if _fold(path)],
        columns=["path", "label", "subject", "split"],
    )
    _refuse_doubles(training, tree)
    numbered = {path.name: path for path in images if _part_of(path, _PHASES[PRELIMINARY])}
    preliminary, notes = _preliminary(tree, numbered, tables)
    frame = pd.concat([training, preliminary], ignore_index=True)
    if frame.empty:
        raise UserError(
            f"{tree}: neither an index.csv nor a C-NMC tree (fold_0/all/UID_1_1_1_all.bmp ...) "
            f"is here; give the folder that holds one of them"
        )
    unlabelled = sum(_part_of(path, _PHASES[FINAL]) for path in images)
    if unlabelled:
        notes = (*notes, f"{unlabelled} cells of the final set have no labels and are left out")
    return frame, notes


def simulated(tree: Path) -> str:
    """The kind and seed of a drawn sample, or "" for cells of patients.

    Raises:
        UserError: the file that says so cannot be read.
    """
    for folder in (tree, *sorted(tree.glob("*/"))):
        marker = marker_in(folder)
        if marker.is_file():
            try:
                sample = json.loads(marker.read_text(encoding="utf-8"))
                return f"{visible(str(sample['kind']))[:LONGEST]}, seed {int(sample['seed'])}"
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{marker}: does not tell kind and seed of drawn cells ({error!r}); draw the "
                    f"sample anew"
                ) from error
    return ""


def marker_in(folder: Path) -> Path:
    """The file by which a folder of drawn cells is known, under either of its names."""
    former = folder / FORMER_MARKER
    return former if former.is_file() else folder / MARKER


def from_path(path: Path) -> tuple[str, str, str]:
    """(label, subject, split) as far as the path of a file gives them, else "".

    Raises:
        UserError: the name of a training cell has another form or contradicts its folder.
    """
    if _fold(path):
        return _training_row(path)[1:]
    for split, phase in _PHASES.items():
        if _part_of(path, phase):
            return "", "", split
    return "", "", ""


def preliminary_labels(csv: Path) -> dict[str, tuple[str, str]]:
    """Name, as `7.bmp` -> (label, subject) of each image of the preliminary set."""
    listed = _read_labels(csv)
    parsed = [_parse(name, csv) for name in listed["Patient_ID"]]
    return {
        name: (label, subject)
        for name, (subject, label) in zip(listed["new_names"], parsed, strict=True)
    }


def _walk(tree: Path) -> tuple[list[Path], list[Path]]:
    """The BMP files and the CSV files below a folder, relative to it, in order."""
    if not tree.is_dir():
        raise UserError(f"{tree}: not a folder and not a CSV; give a C-NMC tree or an index.csv")
    images: list[Path] = []
    tables: list[Path] = []
    for folder, _, names in sorted(os.walk(tree)):
        inside = Path(folder).relative_to(tree)
        for name in sorted(names):
            ending = name.lower()[-4:]
            if ending in (".bmp", ".csv") and not name.startswith("."):
                (images if ending == ".bmp" else tables).append(inside / name)
    return images, tables


def _fold(path: Path) -> str:
    """The innermost `fold_N` in a path, or "" outside the training data."""
    folds = [part for part in path.parts[:-1] if _FOLD.fullmatch(part)]
    return folds[-1] if folds else ""


def _part_of(path: Path, phase: str) -> bool:
    return any(phase in part for part in path.parts[:-1])


def _training_row(path: Path) -> tuple[str, str, str, str]:
    subject, label = _parse(path.name, path)
    folder = path.parent.name.lower()
    if folder != label:
        raise UserError(
            f"{path}: the name says {label}, the folder {folder}; move or rename the file"
        )
    return str(path), label, subject, _fold(path)


def _parse(name: str, where: Path) -> tuple[str, str]:
    """(subject, label) from a cell's name."""
    match = _CELL.fullmatch(name)
    if match is None:
        raise UserError(
            f"{where}: '{name}' is not named UID_SUBJECT_IMAGE_CELL_all.bmp or "
            f"UID_HSUBJECT_IMAGE_CELL_hem.bmp; rename it or take it out of the tree"
        )
    return match[1].upper(), match[2].lower()


def _refuse_doubles(training: pd.DataFrame, tree: Path) -> None:
    names = training["path"].map(lambda path: Path(path).name.upper())
    doubled = training["path"][names.duplicated(keep=False)].sort_values(
        key=lambda paths: names[paths.index]
    )
    if len(doubled):
        raise UserError(
            f"{tree}: the same cell lies at {doubled.iloc[0]} and {doubled.iloc[1]} "
            f"({len(doubled)} such files); keep one copy of each"
        )


def _preliminary(
    tree: Path, images: dict[str, Path], tables: list[Path]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows of the preliminary set, none where its images or its labels are absent."""
    none = pd.DataFrame(columns=["path", "label", "subject", "split"])
    labels = [path for path in tables if "prelim" in path.name.lower()]
    if not labels:
        if images:
            raise UserError(
                f"{tree}: {len(images)} preliminary images but no labels; put "
                f"C-NMC_test_prelim_phase_data_labels.csv beside them"
            )
        return none, ()
    if not images:
        return none, (f"{labels[0].name} is here but its images are not: no preliminary set",)
    listed = _read_labels(tree / labels[0])
    _refuse_unpaired(listed, images, labels[0])
    subjects, named = zip(*(_parse(name, labels[0]) for name in listed["Patient_ID"]), strict=True)
    _check_encoding(listed["labels"], pd.Series(named), labels[0])
    paths = [str(images[name]) for name in listed["new_names"]]
    frame = pd.DataFrame({"path": paths, "label": named, "subject": subjects, "split": PRELIMINARY})
    return frame, ()


def _read_labels(csv: Path) -> pd.DataFrame:
    listed = pd.read_csv(csv, dtype=str, keep_default_na=False)
    expected = ["Patient_ID", "new_names", "labels"]
    if list(listed.columns) != expected:
        came = some_of(list(listed.columns))
        raise UserError(f"{csv}: columns {came}; expected {','.join(expected)}")
    return listed


def _refuse_unpaired(listed: pd.DataFrame, images: dict[str, Path], csv: Path) -> None:
    doubled = listed["new_names"][listed["new_names"].duplicated()]
    if len(doubled):
        raise UserError(f"{csv}: {doubled.iloc[0]} has two labels; keep one line an image")
    unlabelled = sorted(set(images) - set(listed["new_names"]))
    if unlabelled:
        raise UserError(
            f"{csv}: {unlabelled[0]} has no label ({len(unlabelled)} such images); "
            f"add its line or take the image out"
        )
    absent = sorted(set(listed["new_names"]) - set(images))
    if absent:
        raise UserError(
            f"{csv}: {absent[0]} is labelled but not there ({len(absent)} such images); "
            f"copy the preliminary set anew"
        )


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
