"""A data set before anything trains: what there is of each class, subject, size and mode."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from leukemia import RESEARCH_ONLY
from leukemia.cells import Indices
from leukemia.data.colour import has_profile
from leukemia.data.files import in_threads
from leukemia.data.geometry import Geometry
from leukemia.data.index import listed
from leukemia.data.options import DataOptions
from leukemia.data.sources import Listing, told
from leukemia.data.store import read_file
from leukemia.errors import UserError
from leukemia.splits.protocol import SUBJECTS_UNKNOWN

SHOWN = 8  # cells of a class on the contact sheet
ROWS = 12  # classes on it


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a data set holds.

    frame: one row an image: path, label, subject, split, and of the file's head width, height (0
    where it cannot be read), mode, bits, profile (whether a colour profile is embedded) and error.
    listing: as its source gave it. shown: class -> its cells on the contact sheet, each with its
    row.
    """

    frame: pd.DataFrame
    listing: Listing
    shown: dict[str, list[tuple[int, np.ndarray]]]

    @property
    def subjects_known(self) -> bool:
        """Whether it is said whose cells they are."""
        return self.listing.subjects

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out, and what else to know of the files."""
        return (*told(self.listing.left_out), *self.listing.notes)


def look(
    data: Path,
    asked: DataOptions,
    geometry: Geometry,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Look:
    """Every file's head, and the pixels of a few cells of each class.

    asked: how the data are to be read; classes need not be two, subjects need not be known.
    geometry: what is cut out of the cells that are shown.

    Raises:
        UserError: nothing of the kind is there, or what is there contradicts itself.
    """
    listing = listed(data, asked, agreed=True)
    frame = listing.frame.sort_values("path", kind="stable", ignore_index=True)
    paths = frame["path"].tolist()
    heads = []
    for done, head in enumerate(in_threads(lambda path: _head(listing, path), paths), 1):
        heads.append(head)
        progress(done, len(paths))
    columns = ["width", "height", "mode", "bits", "profile", "error"]
    frame = frame.join(pd.DataFrame(heads, columns=columns, index=frame.index))
    classes = frame["label"].value_counts().index[:ROWS]
    shown = {str(name): _cells(listing, frame, str(name), geometry) for name in classes}
    return Look(frame=frame, listing=listing, shown=shown)


def as_text(seen: Look) -> str:
    """What was seen, in lines: classes, subjects, splits, sizes, modes, and what is left out."""
    frame, listing = seen.frame, seen.listing
    kind = f"SIMULATED ({listing.simulated})" if listing.simulated else listing.source
    lines = [f"{len(frame)} images of {frame['label'].nunique()} classes; {kind}"]
    if not seen.subjects_known:
        lines.append(f"{SUBJECTS_UNKNOWN}.")
    lines += ["", *_table(by_class(seen)).splitlines()]
    counts = frame["label"].value_counts()
    if len(counts) > 1:
        lines.append(f"imbalance: {counts.iloc[0] / counts.iloc[-1]:.1f} to 1")
    if (frame["split"] != "").any():
        parts = pd.crosstab(frame["label"], frame["split"])
        lines += ["", *_table(parts.rename_axis("class").reset_index()).splitlines()]
    sound = frame[frame["error"] == ""]
    sizes = Counter(zip(sound["width"], sound["height"], strict=True))
    modes = Counter(zip(sound["mode"], sound["bits"], strict=True))
    lines += ["", f"sizes: {_most([(f'{w}x{h}', n) for (w, h), n in sizes.most_common()])}"]
    lines.append(f"modes: {_most([(f'{m}, {b} bits', n) for (m, b), n in modes.most_common()])}")
    if sound["profile"].any():
        lines.append(f"colour profiles: {int(sound['profile'].sum())} images, not applied")
    if len(sound) < len(frame):
        first = frame[frame["error"] != ""].iloc[0]
        lines.append(
            f"cannot be read: {len(frame) - len(sound)}, the first {first['path']}: "
            f"{first['error']}"
        )
    return "\n".join([*lines, *seen.remarks, RESEARCH_ONLY])


def by_class(seen: Look) -> pd.DataFrame:
    """One row a class: its images and their share, its subjects, and how many images each has."""
    rows = []
    for name, of_class in seen.frame.groupby("label"):
        row = {"class": name, "images": len(of_class),
               "share": f"{len(of_class) / len(seen.frame):.1%}"}  # fmt: skip
        if seen.subjects_known:
            each = of_class["subject"].value_counts()
            row |= {"subjects": len(each), "images a subject":
                    f"{each.min()} to {each.max()}, median {each.median():g}"}  # fmt: skip
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.sort_values("images", ascending=False, kind="stable", ignore_index=True)


def _head(listing: Listing, path: str) -> tuple[int, int, str, int, bool, str]:
    """Width, height, mode, bits a value, profile and error of a file, no pixel decoded."""
    try:
        with listing.tree.open(path) as file, Image.open(file) as image:
            deep = ";16" in image.mode or any(";16" in str(each) for each in _tiles(image))
            bits = 16 if deep else 32 if image.mode in ("I", "F") else 1 if image.mode == "1" else 8
            return *image.size, image.mode, bits, has_profile(image), ""
    except Exception as error:  # of a damaged file Pillow raises what it happens to meet
        return 0, 0, "", 0, False, str(error).splitlines()[0] if str(error) else repr(error)


def _tiles(image: Image.Image) -> list[object]:
    return list(getattr(image, "tile", []))


def _cells(
    listing: Listing, frame: pd.DataFrame, name: str, geometry: Geometry
) -> list[tuple[int, np.ndarray]]:
    """Some cells of a class, of as many subjects as can be, with their rows."""
    of_class = np.flatnonzero((frame["label"] == name) & (frame["error"] == ""))
    cells: list[tuple[int, np.ndarray]] = []
    for row in _spread(of_class, frame):
        try:
            cell = read_file(listing.tree, str(frame["path"].iloc[row]), geometry)
        except UserError:
            continue
        cells.append((row, cell))
        if len(cells) == SHOWN:
            break
    return cells


def _spread(rows: Indices, frame: pd.DataFrame) -> list[int]:
    """The rows, the first of each subject first; of unknown subjects evenly over the files."""
    if not (frame["subject"] != "").any():
        step = max(1, len(rows) // SHOWN)
        return [int(row) for row in [*rows[::step], *np.setdiff1d(rows, rows[::step])]]
    _, first = np.unique(frame["subject"].to_numpy(str)[rows], return_index=True)
    later = np.setdiff1d(np.arange(len(rows)), first)
    return [int(rows[place]) for place in [*np.sort(first), *later]]


def _table(table: pd.DataFrame) -> str:
    return table.to_string(index=False, justify="left")


def _most(counted: list[tuple[str, int]]) -> str:
    more = f" and {len(counted) - 6} more" if len(counted) > 6 else ""
    return ", ".join(f"{name}: {count}" for name, count in counted[:6]) + more


def usual(geometry: Geometry) -> Geometry:
    """The geometry that a contact sheet is drawn with: nothing is refused for its size."""
    return replace(geometry, fit="pad" if geometry.fit == "crop" else geometry.fit)
