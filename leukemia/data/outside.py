"""Files of a data set that do not lie in its folder, though its list names them."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from leukemia.data.names import some_of
from leukemia.errors import UserError


def find(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of the paths, relative to `root`, that are absolute, climb by `..` or pass a link.

    A file that has a second name elsewhere (a hard link) is a file of the folder like any other.
    """
    base = os.path.realpath(root)

    @cache  # of thousands of files a few folders
    def leaves(folder: str) -> bool:
        plain = os.path.normpath(os.path.join(base, folder))
        named = os.path.isabs(folder) or ".." in Path(folder).parts
        return named or os.path.realpath(plain) != plain

    return [
        path
        for path in paths
        if leaves(os.path.dirname(path)) or os.path.islink(os.path.join(base, path))
    ]


def told(paths: list[str], count: int) -> str:
    """One line on such files of `count` in all, "" where there are none."""
    if not paths:
        return ""
    return (
        f"{len(paths)} of {count} files lie outside the data's folder (absolute path, '..' or "
        f"link): {some_of(paths, 3)}"
    )


def refuse(paths: list[str], count: int, data: Path) -> None:
    """Refuse such files.

    Raises:
        UserError: there are some.
    """
    if paths:
        raise UserError(
            f"{data}: {told(paths, count)}; strict_paths=true allows none: copy them into the "
            f"folder, or leave strict_paths out"
        )


def links(tree: Path) -> list[str]:
    """The links in a folder and below it."""
    return [str(path.relative_to(tree)) for path in sorted(tree.rglob("*")) if path.is_symlink()]
