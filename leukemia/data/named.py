"""Image files that somebody names for an answer: files, and folders with all that is below them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leukemia.data.decoding import ENDINGS
from leukemia.data.names import fault
from leukemia.data.sources import told
from leukemia.data.sources.images import sorted_out
from leukemia.data.trees import FolderTree
from leukemia.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Named:
    """files: in order. left_out: a line for each reason why other files of the folders are not
    among them."""

    files: list[Path]
    left_out: tuple[str, ...]


def image_files(named: Sequence[Path]) -> Named:
    """The image files that are named, and those below the folders that are named, links followed.

    Raises:
        UserError: a name stands for nothing, or a folder has no images.
    """
    files: list[Path] = []
    left_out: dict[str, list[str]] = {}
    for path in named:
        if path.is_dir():
            inside, others = sorted_out(FolderTree(path))
            if not inside:
                raise UserError(f"{path}: no image files below (looked for {' '.join(ENDINGS)})")
            files += [path / each for each in inside]
            for why, those in others.items():
                left_out[why] = [*left_out.get(why, []), *(f"{path}/{each}" for each in those)]
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path}: no such file or folder; give images or folders of them")
    return Named(files=files, left_out=told(left_out))


def refuse_name(path: Path) -> None:
    """Refuse a file whose name is not fit to print. Raises UserError."""
    if why := fault(str(path), "path"):
        raise UserError(f"its name has {why}: rename it")
