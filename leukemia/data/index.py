"""One index for cells from any source: which files there are and what is known of each."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from leukemia.cells import Classes, Labels
from leukemia.data import drawn, files, groups, names, outside
from leukemia.data.names import some_of
from leukemia.data.options import AUTO, SOURCES, UNKNOWN, DataOptions
from leukemia.data.sources import COLUMNS as OF_SOURCE
from leukemia.data.sources import (
    Listing,
    arrays,
    cnmc,
    folders,
    presets,
    rows,
    table,
    told,
    webdataset,
)
from leukemia.data.trees import FolderTree, Tree, open_tree
from leukemia.errors import UserError

COLUMNS = [*OF_SOURCE, "sha256"]
# Asked in this order where no source is named; the last takes any images in folders.
OF_TREES = {
    table.NAME: table.read,
    cnmc.NAME: cnmc.read,
    webdataset.NAME: webdataset.read,
    folders.NAME: folders.read,
}
OF_FILES = (arrays.NAME, *arrays.CLASSES)  # .npz
AS_IT_IS = DataOptions()
WITHOUT_SUBJECT = "whose path gives no subject"


@dataclass(frozen=True, kw_only=True)
class Index:
    """The cells of one data set, one row each, in a stable order.

    frame: columns path (relative to root), label (class name), subject, split (as the
        source names it, or ""), sha256 (of the file).
    tree: opens the files.
    classes: the classes of the labels.
    source: a name in SOURCES.
    simulated: how the cells were drawn where they are no patient's, else "".
    size: width and height in pixels that every image must have, or None.
    subjects_known: whether the subjects are people; else each image is one of its own.
    keys: class name -> what the data call it, where that is something else.
    notes: what was left out and what else a reader of the index should know, one line each.
    outside: a line on files that do not lie below the root, "" where all do.
    """

    frame: pd.DataFrame
    tree: Tree
    classes: Classes
    source: str
    simulated: str
    size: int | None
    subjects_known: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outside: str = ""

    @property
    def root(self) -> Path:
        """The folder or archive that the paths are relative to."""
        return self.tree.root

    @property
    def paths(self) -> list[Path]:
        """The image files, in the index's order; of an archive, as if it were a folder."""
        return [self.root / path for path in self.frame["path"]]

    def open(self, path: str) -> BinaryIO:
        """The content of an image file that the frame names. Raises OSError."""
        return self.tree.open(path)

    @property
    def remarks(self) -> str:
        """What was left out and what else to know of the files, in a line; "" for nothing."""
        return "; ".join(filter(None, [*self.notes, self.outside]))

    @property
    def positive(self) -> str:
        """The name of the positive class."""
        return self.classes.positive_name

    @property
    def negative(self) -> str:
        """The name of the negative class."""
        return self.classes.negative_name

    @property
    def labels(self) -> Labels:
        """(n,) int8: the class index of each cell."""
        return self.classes.labels(self.frame["label"].to_numpy(str))

    @property
    def digest(self) -> str:
        """SHA-256 of labels, subjects, splits and file contents, wherever the files lie and
        whatever people call the classes."""
        cells = self.frame[["sha256", "label", "subject", "split"]].copy()
        cells["label"] = cells["label"].replace(dict(self.keys))
        if not self.subjects_known:
            cells["subject"] = ""  # which is the path of the file
        rows = cells.agg(",".join, axis=1)
        text = "\n".join([self.keys.get(self.positive, self.positive), *sorted(rows)])
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> str:
        """One line: how many cells of how many subjects, and whether they are simulated."""
        kinds = [f"{n} {label}" for label, n in self.frame["label"].value_counts().items()]
        known = f"{self.frame['subject'].nunique()} subjects"
        subjects = known if self.subjects_known else "unknown subjects"
        kind = f"SIMULATED ({self.simulated})" if self.simulated else self.source
        return f"{len(self.frame)} cells ({', '.join(kinds)}) of {subjects}; {kind}"


def open_index(
    data: Path,
    asked: DataOptions = AS_IT_IS,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Index:
    """The index of the cells at `data`: a folder, an archive, a table or a .npz file.

    asked: how it is to be read. cache: folder in which the files' digests are kept between runs, or
    None.

    Raises:
        UserError: nothing of the kind is there, or what is there contradicts itself.
    """
    try:
        str(data).encode()
    except UnicodeEncodeError:  # tables and MLflow hold no such text
        raise UserError(f"{data}: the folder's name is not UTF-8; rename it") from None
    listing = listed(data, asked)
    away: list[str] = []
    if isinstance(listing.tree, FolderTree):
        away = outside.find(listing.tree.root, listing.frame["path"])
        if asked.strict_paths:
            outside.refuse(away, len(listing.frame), data)
        listing = _present(listing, data)
    classes, keys = groups.classes(listing.frame["label"], asked, listing.positive, data)
    frame = listing.frame.sort_values("path", kind="stable", ignore_index=True)
    frame["label"] = frame["label"].map({key: name for name, key in keys.items()})
    frame["sha256"] = _digests(listing.tree, frame["path"].tolist(), cache, progress)
    if not listing.subjects:
        frame["subject"] = frame["path"]
    return Index(
        frame=frame[COLUMNS],
        tree=listing.tree,
        classes=classes,
        source=listing.source,
        simulated=listing.simulated,
        size=listing.size,
        subjects_known=listing.subjects,
        keys={name: key for name, key in keys.items() if name != key},
        notes=(*told(listing.left_out), *listing.notes),
        outside=outside.told(away, len(frame)),
    )


def listed(data: Path, asked: DataOptions, agreed: bool = False) -> Listing:
    """The cells at `data` as their source lists them, with subjects and groups as asked for; their
    classes need not be two yet.

    agreed: subjects that nobody knows need not be agreed to.

    Raises:
        UserError: as `open_index`.
    """
    listing = _listing(data, asked)
    if agreed and not listing.subjects and not asked.subject:
        asked = replace(asked, subjects=UNKNOWN)
    listing = _with_subjects(listing, asked, data)
    if not agreed or asked.negative != AUTO or "," in asked.positive:
        listing = groups.grouped(listing, asked, data)
    listing = _normal(listing)
    names.check(listing.frame, data)
    simulated = drawn.simulated(listing.tree.root, listing.frame["path"])
    return replace(listing, simulated=simulated)


def _listing(data: Path, asked: DataOptions) -> Listing:
    """What the source that is asked for, or the first that sees cells, lists."""
    if not data.exists():
        raise UserError(
            f"{data}: no such file or folder; give a C-NMC tree, a CSV or its folder, class "
            f"folders, a .npz file or an archive"
        )
    if asked.source not in SOURCES:
        raise UserError(f"there is no source '{asked.source}': choose from {', '.join(SOURCES)}")
    if data.is_file() and rows.is_table(data.name):
        _refuse_source(asked, {table.NAME}, data)
        return table.read_file(data, asked)
    if data.is_file() and data.suffix.lower() == arrays.ENDING:
        _refuse_source(asked, set(OF_FILES), data)
        return arrays.read_file(data, asked)
    tree = open_tree(data)
    if asked.strict_paths and isinstance(tree, FolderTree):
        _refuse_links(tree, data)
    tree = webdataset.shards(tree)
    if len(tree.files) == 1 and tree.files[0].lower().endswith(arrays.ENDING) and data.is_dir():
        return _listing(data / tree.files[0], asked)
    if asked.source in presets.PRESETS:
        listing = presets.read(asked.source, tree, asked)
    elif asked.source in OF_TREES:
        listing = OF_TREES[asked.source](tree, asked)
    else:
        _refuse_source(asked, set(), data)
        listing = _recognised(tree, asked)
    if listing is None or listing.frame.empty:
        named = "" if asked.source == AUTO else f"as source={asked.source} has them "
        raise UserError(
            f"{data}: no labelled cells are here {named}({len(tree.files)} files); expected an "
            f"index.csv (path,label,subject), a C-NMC tree (fold_0/all/UID_1_1_1_all.bmp ...) or "
            f"class folders (CLASS/image.png); give the folder that holds one of them"
        )
    return listing


def _recognised(tree: Tree, asked: DataOptions) -> Listing | None:
    for name, read in OF_TREES.items():
        if name == folders.NAME and (known := presets.recognised(tree)):
            return presets.read(known, tree, asked)
        listing = read(tree, asked)
        if listing is not None:
            return listing
    return None


def _refuse_source(asked: DataOptions, fit: set[str], data: Path) -> None:
    if asked.source not in (AUTO, *fit):
        raise UserError(
            f"{data}: not what source={asked.source} reads; leave source out, or give its folder"
        )


def _refuse_links(tree: FolderTree, data: Path) -> None:
    """Under strict_paths: a list that is a link is not even read."""
    lists = [data / path for path in os.listdir(data) if path.lower().startswith(f"{table.INDEX}.")]
    if any(path.is_file() and not path.is_symlink() for path in lists):
        return
    linked = [path.name for path in lists if path.is_symlink()]
    away = linked or outside.links(data)
    outside.refuse(away, len(away), data)


def _digests(
    tree: Tree, paths: list[str], cache: Path | None, progress: Callable[[int, int], None]
) -> list[str]:
    """The SHA-256 of each file of a tree, in order."""
    if isinstance(tree, FolderTree):
        return files.digests([tree.root / path for path in paths], cache, progress)
    digests = []
    read = files.in_threads(lambda path: hashlib.sha256(tree.read(path)).hexdigest(), paths)
    try:
        for done, digest in enumerate(read, 1):
            digests.append(digest)
            progress(done, len(paths))
    except OSError as error:
        raise UserError(f"{tree.root}: {paths[len(digests)]}: {error}; pack it anew") from error
    return digests


def _with_subjects(listing: Listing, asked: DataOptions, data: Path) -> Listing:
    """The listing with subjects from a pattern, or agreed to be unknown."""
    if asked.subjects not in ("known", UNKNOWN):
        raise UserError(f"subjects={asked.subjects}: choose known or {UNKNOWN}")
    if asked.subjects == UNKNOWN:
        if asked.subject:
            raise UserError(f"subject={asked.subject} and subjects={UNKNOWN}: give one of them")
        return replace(listing, subjects=False)
    if asked.subject:
        subject, line = folders.subjects(listing.frame, asked)
        missed = listing.frame["path"][subject == ""].tolist()
        frame = listing.frame.assign(subject=subject)[subject != ""].reset_index(drop=True)
        left_out = {**listing.left_out, WITHOUT_SUBJECT: missed}
        return replace(
            listing, frame=frame, subjects=True, left_out=left_out, notes=(*listing.notes, line)
        )
    if not listing.subjects:
        raise folders.unknown(data)
    return listing


def _normal(listing: Listing) -> Listing:
    """The listing with names in one spelling: the same letters, composed or not, are one name."""
    frame, notes = listing.frame.copy(), list(listing.notes)
    for column in ("label", "subject"):
        normal = frame[column].map(lambda name: unicodedata.normalize("NFC", str(name)))
        merged = frame[column].nunique() - normal.nunique()
        if merged:
            changed = sorted(set(normal[normal != frame[column]]))
            notes.append(
                f"{merged} {column} name(s) are spelled in two ways in Unicode and taken as one: "
                f"{some_of(changed, 3)}"
            )
        frame[column] = normal
    return replace(listing, frame=frame, notes=tuple(notes))


def _present(listing: Listing, data: Path) -> Listing:
    """The listing with each path as it is spelled on disk.

    Raises:
        UserError: a file is not there.
    """
    root, frame = str(listing.tree.root), listing.frame
    # On Python 3.13 a Path for each of 10,000 files costs a tenth of a second.
    absent = [path for path in frame["path"] if not os.path.isfile(os.path.join(root, path))]
    spelled = {path: _spelling(root, path) for path in absent}
    missing = [path for path, there in spelled.items() if there is None]
    if missing:
        raise UserError(
            f"{data}: {names.shortened(missing[0])} is not a file ({len(missing)} of {len(frame)} "
            f"missing); paths are relative to {listing.tree.root}"
        )
    return replace(listing, frame=frame.assign(path=frame["path"].replace(spelled)))


def _spelling(root: str, path: str) -> str | None:
    """The path in the form of Unicode in which the file is there; None where it is in neither."""
    forms = (unicodedata.normalize(form, path) for form in ("NFC", "NFD"))
    return next((each for each in forms if os.path.isfile(os.path.join(root, each))), None)
