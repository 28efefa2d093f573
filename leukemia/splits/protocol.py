"""Which cell is in which split: the honest protocols, and those that flatter.

`subject` and `official` keep every subject in one split. `image`, `thesis` and
`thesis_preliminary` do not: they are here so that what they add to a metric can be measured.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold

from leukemia.cells import Indices, Names
from leukemia.data.index import Index
from leukemia.data.sources.cnmc import PRELIMINARY
from leukemia.errors import UserError
from leukemia.splits import FOLDS, IMAGE, OF_THESIS, PROTOCOLS, SUBJECT, THESIS_PRELIMINARY
from leukemia.splits.parts import draw

SPLITS = ("train", "validation", "test")
OFFICIAL_FOLDS = ("fold_0", "fold_1", "fold_2")
SUBJECTS_UNKNOWN = "SUBJECTS UNKNOWN: figures may flatter, intervals are too narrow"
VALIDATION = 0.3  # of what `image` and `thesis` do not test: 8,176 of 14,600 trained there


@dataclass(frozen=True, kw_only=True)
class Split:
    """The rows of an index that train, validate and test, and a text on what is kept apart.

    rows: split -> (m,) int64, ascending.
    name: one of PROTOCOLS. fold, folds: which part is the test, of how many.
    text: one line for people: what each split consists of.
    shared: how many test subjects also have cells in training or validation.
    subjects_known: whether anybody knows which cells are of one subject.
    """

    rows: dict[str, Indices]
    name: str
    fold: int
    folds: int
    text: str
    shared: int
    subjects_known: bool = True

    @property
    def balances_first(self) -> bool:
        """Whether the technique sees cells of several splits, which are parted afterwards."""
        return self.name in OF_THESIS

    @property
    def shown(self) -> tuple[str, ...]:
        """The splits whose cells the technique sees, and is given synthetic cells for."""
        if self.name == THESIS_PRELIMINARY:
            return SPLITS[:2]
        return SPLITS if self.balances_first else SPLITS[:1]

    @property
    def line(self) -> str:
        """The protocol in a sentence, its leak first."""
        kept = "no subject in two splits"
        if self.name == THESIS_PRELIMINARY:
            kept = "no test subject trains, but VALIDATION SUBJECTS DO, whose figures flatter"
        if self.shared:
            kept = f"{self.shared} TEST SUBJECTS ALSO TRAIN, the figures flatter"
        if not self.subjects_known:
            kept = SUBJECTS_UNKNOWN
        return f"Protocol {self.name}: {kept}; {self.text}"


def over_folds(line: str) -> str:
    """A protocol's line where all the parts of its split have been the test in turn."""
    return re.sub(
        r"part \d+ test, (part \d+ validation, the rest train)?",
        lambda match: "each tests in turn, " + ("the next validates" if match[1] else ""),
        re.sub(r"validation: official fold_\d", "validation: each official fold in turn", line),
    )


def split(
    index: Index, subjects: Names, protocol: str, split_seed: int, fold: int = 0, folds: int = FOLDS
) -> Split:
    """Train, validation and test rows; the same for every technique at a split seed and fold.

    subjects: (n,) str, with linked subjects under one name (`near_duplicates.joined_subjects`).
    split_seed: decides how the parts are drawn; `official` draws none.

    subject: the subjects fall into `folds` parts, by chance, stratified by class; part `fold` is
        the test, the next one validation. official: the split that the data come with: in C-NMC
        the preliminary set is the test and official fold `fold` validation, less the subjects
        that share cells with a training subject (those train); else the table's column
        `split`. image: cells, not subjects, fall into parts; 30 % of what is not tested is
        validation. thesis: the same cells as `image`, for a technique that has seen them all.
        thesis_preliminary: C-NMC's preliminary set is the test, which the thesis names as its
        own and no technique sees; the rest is balanced, then 30 % of it validates at random.

    Raises:
        UserError: too few subjects of a class, no such fold, or no official split.
    """
    if protocol == SUBJECT and not index.subjects_known:
        protocol = IMAGE  # of a subject that nobody knows nothing can be kept apart
    if protocol not in PROTOCOLS:
        raise UserError(f"there is no protocol '{protocol}': choose from {', '.join(PROTOCOLS)}")
    available = number_of_folds(index, subjects, protocol, folds)
    if not 0 <= fold < available:
        raise UserError(
            f"there is no fold {fold}: protocol {protocol} has {available} here, "
            f"0 to {available - 1}"
        )
    assign = {
        "subject": _by_subject,
        "official": _official,
        THESIS_PRELIMINARY: _by_preliminary,
    }.get(protocol, _by_image)
    if protocol == IMAGE and not index.subjects_known:
        assign = _by_subject
    splits, text = assign(index, subjects, split_seed, fold, available)
    _check(index, splits, subjects, protocol)
    rows = {name: np.flatnonzero(splits == name) for name in SPLITS}
    learned = np.isin(splits, ["train", "validation"])
    shared = np.intersect1d(subjects[splits == "test"], subjects[learned])
    if protocol in OF_THESIS:
        text = f"balanced first, then split; {text}"
    return Split(
        rows=rows,
        name=protocol,
        fold=fold,
        folds=available,
        text=text,
        shared=len(shared),
        subjects_known=index.subjects_known,
    )


def number_of_folds(index: Index, subjects: Names, protocol: str, asked: int) -> int:
    """How many folds a protocol has on these cells: as asked, or what the data allow.

    Raises:
        UserError: fewer than 3 are asked for, or the data have no official split or no
            preliminary set.
    """
    if protocol == "official" and not has_official(index):
        raise UserError(
            f"{index.root}: there is no official split here (a C-NMC tree with its preliminary "
            f"set, or a column 'split'); use protocol=subject"
        )
    if protocol == "official":
        return len(OFFICIAL_FOLDS) if _is_cnmc(index) else 1
    if protocol == THESIS_PRELIMINARY and not _is_cnmc(index):
        raise UserError(
            f"{index.root}: there is no preliminary set here (a C-NMC tree with its labels has "
            f"one); use protocol=thesis"
        )
    if protocol == THESIS_PRELIMINARY:
        return 1
    if asked < 3:
        raise UserError(f"{asked} folds: train, validation and test need 3 or more")
    if protocol == "subject" or (protocol == IMAGE and not index.subjects_known):
        return max(3, min(asked, _fewest(index, subjects)[0]))
    return asked


def has_official(index: Index) -> bool:
    """Whether the data come with a split of their own."""
    return _is_cnmc(index) or bool(set(index.frame["split"]) & set(SPLITS))


def splits_of_synthetic(count: int, split: Split, split_seed: int) -> Names:
    """(count,) str: the split of each synthetic cell.

    All train, unless the split comes after balancing: then 1 / folds of them, at random, test
    (none where the technique has not seen the test cells) and 30 % of the rest validate, as of
    the real cells.
    """
    splits = np.full(count, "train", dtype="<U10")
    if split.balances_first:
        order = np.random.default_rng([split_seed, split.fold]).permutation(count)
        test = round(count / split.folds) if "test" in split.shown else 0
        splits[order[:test]] = "test"
        splits[order[test : test + round(VALIDATION * (count - test))]] = "validation"
    return splits


def _by_subject(
    index: Index, subjects: Names, seed: int, fold: int, folds: int
) -> tuple[Names, str]:
    if _fewest(index, subjects)[0] < 3:
        return np.full(len(subjects), ""), ""  # _check names the class that is too small
    names, of_cell = np.unique(subjects, return_inverse=True)
    cells = np.zeros((len(names), len(index.classes.names)), int)
    np.add.at(cells, (of_cell, index.labels), 1)
    part = draw(cells, folds, seed)[of_cell]
    splits = np.full(len(subjects), "train", dtype="<U10")
    splits[part == fold] = "test"
    splits[part == (fold + 1) % folds] = "validation"
    units = "subjects" if index.subjects_known else "images, near-identical ones together,"
    return splits, (
        f"{units} in {folds} parts, stratified by class: part {fold} test, part "
        f"{(fold + 1) % folds} validation, the rest train"
    )


def _by_image(index: Index, subjects: Names, seed: int, fold: int, folds: int) -> tuple[Names, str]:
    labels = index.labels
    if np.bincount(labels).max() < folds:
        return np.full(len(labels), ""), ""  # _check names the class that is too small
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    splits = np.full(len(labels), "train", dtype="<U10")
    splits[_parts(splitter.split(labels, labels), len(labels)) == fold] = "test"
    _validate_at_random(splits, index, [seed, fold])
    return splits, (
        f"cells at random in {folds} parts, stratified by class: part {fold} test, "
        f"{VALIDATION:.0%} of the rest validation"
    )


def _by_preliminary(
    index: Index, subjects: Names, seed: int, fold: int, folds: int
) -> tuple[Names, str]:
    of_source = index.frame["split"].to_numpy(str)
    splits = np.where(of_source == PRELIMINARY, "test", "train").astype("<U10")
    _validate_at_random(splits, index, [seed, fold])
    return splits, f"test: preliminary set; {VALIDATION:.0%} of the rest, at random, validation"


def _validate_at_random(splits: Names, index: Index, seed: list[int]) -> None:
    """Turn 30 % of each class' training cells into validation cells, in place."""
    rng = np.random.default_rng(seed)
    for label in range(len(index.classes.names)):
        rest = rng.permutation(np.flatnonzero((splits == "train") & (index.labels == label)))
        splits[rest[: round(VALIDATION * len(rest))]] = "validation"


def _parts(divisions: Iterable[tuple[Indices, Indices]], count: int) -> Indices:
    """(count,) int: in which test part of a scikit-learn splitter each row is."""
    part = np.full(count, -1)
    for number, (_, test) in enumerate(divisions):
        part[test] = number
    return part


def _official(index: Index, subjects: Names, seed: int, fold: int, folds: int) -> tuple[Names, str]:
    of_source = index.frame["split"].to_numpy(str)
    if not _is_cnmc(index):
        return of_source, "train, validation and test as the table's column 'split' says"
    held = OFFICIAL_FOLDS[fold]
    splits = np.where(of_source == PRELIMINARY, "test", "train").astype("<U10")
    splits[of_source == held] = "validation"
    splits[(splits != "test") & np.isin(subjects, subjects[splits == "test"])] = ""
    shared = (splits == "validation") & np.isin(subjects, subjects[splits == "train"])
    splits[shared] = "train"
    text = f"test: preliminary set; validation: official {held}; train: the other folds"
    if shared.any():
        text += f" and {shared.sum()} cells of {held} whose subject shares cells with theirs"
    return splits, text


def _is_cnmc(index: Index) -> bool:
    return index.source == "cnmc" and {*OFFICIAL_FOLDS, PRELIMINARY} <= set(index.frame["split"])


def _check(index: Index, splits: Names, subjects: Names, protocol: str) -> None:
    """Refuse a split without cells of every class."""
    for split_name in SPLITS:
        for label, name in enumerate(index.classes.names):
            if not np.any((splits == split_name) & (index.labels == label)):
                why = _why_empty(index, subjects, protocol)
                raise UserError(f"{index.root}: no {name} cells are left for {split_name}{why}")


def _why_empty(index: Index, subjects: Names, protocol: str) -> str:
    """Why a class has no cells in a split, and what to do.

    With two classes, subjects can be kept apart as soon as each class has three.
    """
    if protocol == "official":
        return (
            ": the split that the data come with puts none there; mend it, or give protocol=subject"
        )
    if protocol == SUBJECT or (protocol == IMAGE and not index.subjects_known):
        count, fewest = _fewest(index, subjects)
        return (
            f", and class {fewest} has {count} separate subject(s); 3 or more a class are needed "
            f"to keep train, validation and test apart: add subjects"
        )
    count, fewest = _fewest(index, np.arange(len(subjects)).astype(str))
    return (
        f", and class {fewest} has {count} cell(s); add cells, or give fewer folds or another fold"
    )


def _fewest(index: Index, subjects: Names) -> tuple[int, str]:
    """The number of separate subjects of the class that has fewest, and its name."""
    names = enumerate(index.classes.names)
    return min((len(set(subjects[index.labels == label])), name) for label, name in names)
