"""Class folders: `CLASS/.../IMAGE`, with subjects from a folder's level or a pattern, or unknown.

Folders called train, val and test above the classes are a split of the data's own.
"""

import re
from collections import Counter

import pandas as pd

from leukemia.data.names import shortened, some_of
from leukemia.data.options import UNKNOWN, DataOptions
from leukemia.data.sources import COLUMNS, Listing
from leukemia.data.sources.images import sorted_out
from leukemia.data.sources.table import SPLITS
from leukemia.data.trees import Tree
from leukemia.errors import UserError

NAME = "folders"
NO_FOLDER = "in no class folder"
WITHOUT_SPLIT = "beside the folders of the splits"
MOST_CLASSES = 100  # beyond, the folders are of subjects


def read(tree: Tree, asked: DataOptions) -> Listing | None:
    """The images of a tree, each of the class that its folder names; None where there is none.

    Raises:
        UserError: there is one class folder only.
    """
    images, left_out = sorted_out(tree)
    if not images:
        return None
    common = _common(images)
    parts = {path: path.split("/")[common:-1] for path in images}
    split_first = _are_splits({folders[0] for folders in parts.values() if folders})
    rows: list[tuple[str, str, str, str]] = []
    left_out |= {NO_FOLDER: [], WITHOUT_SPLIT: []}
    for path, folders in parts.items():
        split = ""
        if split_first and folders:
            split, folders = SPLITS.get(folders[0].lower(), ""), folders[1:]
        if folders:
            rows.append((path, folders[0], "", split))
        else:
            left_out[NO_FOLDER].append(path)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    classes = Counter(frame["label"])
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"{tree.root}: {len(classes)} folders ({some_of(sorted(classes), 3)}) where classes "
            f"were expected; put the images into folders by class, or list them in an index.csv "
            f"(path,label,subject)"
        )
    return Listing(source=NAME, frame=frame, tree=tree, subjects=False, left_out=left_out)


def subjects(frame: pd.DataFrame, asked: DataOptions) -> tuple[pd.Series, str]:
    """The subject of each row's path, "" where the pattern misses it; and a line on hits and
    misses.

    Raises:
        UserError: the pattern is none, or it misses every path.
    """
    if asked.subject.isdecimal():
        found = frame["path"].map(lambda path: _level(path, int(asked.subject)))
        what = f"the folder of level {asked.subject}"
    else:
        pattern = compiled(asked.subject)
        found = frame["path"].map(lambda path: _matched(pattern, path))
        what = f"subject pattern '{shortened(asked.subject)}'"
    hits = found != ""
    some = [f"{path} -> {name}" for path, name in zip(frame["path"], found, strict=True) if name]
    if not hits.any():
        raise UserError(
            f"{what} matches none of {len(frame)} paths, as {shortened(frame['path'].iloc[0])}; "
            f"give subject= a regular expression whose first group is the subject, or a folder's "
            f"level"
        )
    named = found[hits].nunique()
    return found, f"{what}: {hits.sum()} of {len(frame)} paths give {named} subjects ({some[0]})"


def compiled(pattern: str) -> re.Pattern[str]:
    """A user's regular expression. Raises UserError where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"subject '{shortened(pattern)}': no regular expression ({error}); for a folder's "
            f"level give a number"
        ) from error


def unknown(place: object) -> UserError:
    """What is said where subjects are needed and not known."""
    return UserError(
        f"{place}: nothing says which cells are of one subject; give subject='a regular "
        f"expression' or a folder's level, or subjects={UNKNOWN}, under which figures may flatter"
    )


def _common(paths: list[str]) -> int:
    """How many folders all paths have in common, of which none is a class."""
    folders = [path.split("/")[:-1] for path in paths]
    count = 0
    while all(len(each) > count + 1 for each in folders) and len({f[count] for f in folders}) == 1:
        count += 1
    return count


def _are_splits(names: set[str]) -> bool:
    return len(names) > 1 and {name.lower() for name in names} <= set(SPLITS)


def _level(path: str, level: int) -> str:
    folders = path.split("/")[:-1]
    return folders[level - 1] if 0 < level <= len(folders) else ""


def _matched(pattern: re.Pattern[str], path: str) -> str:
    match = pattern.search(path)
    if match is None:
        return ""
    if "subject" in pattern.groupindex:
        return match["subject"] or ""
    return (match[1] if pattern.groups else match[0]) or ""
