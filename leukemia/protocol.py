"""Which cell may be on which side of a split.

The rule is the same whatever the data: no subject, and nothing made from one, stands on two
sides. Subjects that share a byte-identical file are taken for one person.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from leukemia.cells import POSITIVE
from leukemia.data.cnmc import PRELIMINARY
from leukemia.data.index import Index
from leukemia.errors import UserError

SIDES = ("train", "validation", "test")
TRIES = 20  # shuffles tried until every side has cells of both classes


@dataclass(frozen=True)
class Split:
    """Row numbers of an index by side, and in words what was kept apart.

    rows: side -> (m,) int64, ascending.
    name: `official` or `subject`.
    text: one line for people: what is on each side.
    """

    rows: dict[str, np.ndarray]
    name: str
    text: str


def split(index: Index, seed: int) -> Split:
    """Train, validation and test rows; the same for every technique at a seed.

    C-NMC with its preliminary set: that set is the test; validation is the official fold
    seed % 3, less the subjects that share a file with a training subject (those train).
    Data whose table names a split: that one. Other data: one fifth of the subjects is the
    test and one fifth of the rest validation, grouped by subject and stratified by class.

    Raises:
        UserError: too few subjects of a class, or a given split with a subject on two sides.
    """
    groups = linked_subjects(index.frame)
    splits = set(index.frame["split"])
    if index.source == "cnmc" and {"fold_0", "fold_1", "fold_2", PRELIMINARY} <= splits:
        side, name, text = _official(index, groups, seed)
    elif splits & set(SIDES):
        side, name, text = _given(index)
    else:
        side, name, text = _grouped(index, groups, seed)
    _check(index, side, groups)
    rows = {which: np.flatnonzero(side == which) for which in SIDES}
    return Split(rows, name, text)


def linked_subjects(frame: pd.DataFrame) -> np.ndarray:
    """(n,) int: the same number for cells whose subjects share an identical file."""
    subject, names = pd.factorize(frame["subject"])
    digest, files = pd.factorize(frame["sha256"])
    nodes = len(names) + len(files)
    edges = coo_array((np.ones(len(frame)), (subject, len(names) + digest)), (nodes, nodes))
    _, component = connected_components(edges, directed=False)
    return component[subject]


def _official(index: Index, groups: np.ndarray, seed: int) -> tuple[np.ndarray, str, str]:
    origin = index.frame["split"].to_numpy(str)
    fold = f"fold_{seed % 3}"
    side = np.where(origin == PRELIMINARY, "test", "train").astype("<U10")
    side[origin == fold] = "validation"
    side[(side == "train") & np.isin(groups, groups[side == "test"])] = "left out"
    shared = (side == "validation") & np.isin(groups, groups[side == "train"])
    side[shared] = "train"
    text = f"test: preliminary set; validation: official {fold}; train: the other folds"
    if shared.any():
        text += f" and {shared.sum()} cells of {fold} whose subject shares a file with theirs"
    return side, "official", text


def _given(index: Index) -> tuple[np.ndarray, str, str]:
    side = index.frame["split"].to_numpy(str)
    return side, "subject", "train, validation and test as the table's column 'split' says"


def _grouped(index: Index, groups: np.ndarray, seed: int) -> tuple[np.ndarray, str, str]:
    labels = index.labels
    for attempt in range(TRIES):
        state = np.random.RandomState([seed, attempt])
        side = np.full(len(labels), "train", dtype="<U10")
        for which in ("test", "validation"):
            rest = np.flatnonzero(side == "train")
            side[rest[_one_fold(labels[rest], groups[rest], state)]] = which
        if all(len(set(labels[side == which])) == 2 for which in SIDES):
            break
    text = "by subject, stratified by class: 1/5 test, 1/5 of the rest validation"
    return side, "subject", text


def _one_fold(labels: np.ndarray, groups: np.ndarray, state: np.random.RandomState) -> np.ndarray:
    """The rows of one of up to five grouped and stratified folds."""
    per_class = [len(set(groups[labels == label])) for label in set(labels)]
    folds = max(2, min(5, *per_class))
    if min(per_class) < 2:
        return np.zeros(0, int)  # _check names the class that is too small
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
    chosen = state.randint(folds)  # its shuffle alone leaves the largest subjects in one fold
    return list(splitter.split(labels, labels, groups))[chosen][1]


def _check(index: Index, side: np.ndarray, groups: np.ndarray) -> None:
    """Every side has both classes and no group stands on two sides."""
    for which in SIDES:
        for name, label in ((index.positive, POSITIVE), (index.negative, 1 - POSITIVE)):
            if not np.any((side == which) & (index.labels == label)):
                raise UserError(
                    f"{index.root}: no {name} cells are left for {which}, and "
                    f"{_fewest(index, groups)}; 3 or more a class are needed to keep train, "
                    f"validation and test apart: add subjects"
                )
    placed = pd.DataFrame({"group": groups, "side": side})[side != "left out"]
    sides = placed.groupby("group")["side"].nunique()
    if (sides > 1).any():
        row = int(np.flatnonzero(groups == sides.index[sides > 1][0])[0])
        raise UserError(
            f"{index.root}: subject {index.frame['subject'][row]} (or one that shares a file "
            f"with it) is on two sides of the given split; mend the column 'split', or take it "
            f"out to have subjects kept apart"
        )


def _fewest(index: Index, groups: np.ndarray) -> str:
    """The class with the fewest separate subjects, and how many those are."""
    classes = ((index.positive, POSITIVE), (index.negative, 1 - POSITIVE))
    count, name = min((len(set(groups[index.labels == label])), name) for name, label in classes)
    return f"class {name} has {count} separate subject(s)"
