"""The mark of drawn cells: a file that stands in their folder, so that no figure made with them can
pass for one of patients."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from leukemia.errors import UserError
from leukemia.text.escape import visible

MARKER = "SIMULATED.json"  # stands in a tree of drawn cells
FORMER_MARKER = "SYNTHETIC.json"  # its name in trees that were drawn earlier
MARKERS = (FORMER_MARKER, MARKER)
LONGEST = 100  # characters of the kind of a drawn sample


def simulated(root: Path, paths: Iterable[str] = ()) -> str:
    """Kind and seed of drawn cells, or "" for cells of patients.

    The mark is looked for in `root`, in the folders in it, and above it and above the files, since
    a folder inside the drawn sample, or a list of its files, may be given.

    Args:
        root: a folder, or an archive. paths: of files, relative to it.

    Raises:
        UserError: the file that says so cannot be read.
    """
    inside = sorted(root.glob("*/")) if root.is_dir() else []
    folders = {os.path.realpath(root / os.path.dirname(path)) for path in paths}
    above = {parent for each in folders | {os.path.realpath(root)} for parent in _upwards(each)}
    for folder in (root, *inside, *map(Path, sorted(above))):
        marker = marker_in(folder)
        if marker.is_file():
            return _told(marker)
    return ""


def marker_in(folder: Path) -> Path:
    """The file by which a folder of drawn cells is known, under either of its names."""
    former = folder / FORMER_MARKER
    return former if former.is_file() else folder / MARKER


def _upwards(folder: str) -> list[str]:
    return [folder, *map(str, Path(folder).parents)]


def _told(marker: Path) -> str:
    try:
        sample = json.loads(marker.read_text(encoding="utf-8"))
        return f"{visible(str(sample['kind']))[:LONGEST]}, seed {int(sample['seed'])}"
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{marker}: does not tell kind and seed of drawn cells ({error!r}); draw the sample "
            f"anew"
        ) from error
