"""Files below one place: a folder, or an archive that is read without being unpacked.

A source asks a tree which files there are and opens those that it needs, wherever they lie.
"""

import io
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from leukemia.data.names import some_of
from leukemia.errors import UserError

ARCHIVES = (".zip", ".tar")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".gz", ".7z", ".rar")
MOST_MEMBERS = 5_000_000  # of an archive
MOST_BYTES = 2**30  # of one of them, unpacked

# What systems and programs leave in folders of images; nobody calls them cells.
LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"}
FOLDERS_OF_SYSTEMS = {
    "__macosx", "@eadir", "$recycle.bin", "system volume information",
}  # fmt: skip


class Tree(ABC):
    """Files below `root`, which is a folder or an archive, by their paths relative to it.

    passed_over: once `files` are known, links that lead nowhere or to what is in the tree already,
    and what is no file, such as a pipe.
    """

    def __init__(self, root: Path):
        self.root = root
        self.passed_over: list[str] = []
        self._files: tuple[str, ...] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The relative paths of all files, with `/`, in order; links are followed.

        Raises:
            UserError: the place cannot be read.
        """
        if self._files is None:
            self._files = tuple(sorted(self._listed()))
        return self._files

    @abstractmethod
    def _listed(self) -> Iterator[str]: ...

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """A file's content, to be sought in.

        Raises:
            OSError: it cannot be read.
        """

    def read(self, path: str) -> bytes:
        """All of a file's content. Raises as `open`."""
        with self.open(path) as file:
            return file.read()


class FolderTree(Tree):
    """A folder, with the folders elsewhere that links in it lead to."""

    def _listed(self) -> Iterator[str]:
        def refuse(error: OSError) -> None:
            raise UserError(f"{error.filename}: {error.strerror}; nothing below it can be read")

        base = os.path.realpath(self.root)
        entered = {base}
        for folder, folders, names in os.walk(self.root, followlinks=True, onerror=refuse):
            inside = "" if folder == os.fspath(self.root) else os.path.relpath(folder, self.root)
            for name in [*folders]:
                below = os.path.join(folder, name)
                if not os.path.islink(below):
                    continue
                real = os.path.realpath(below)
                # What lies in the tree itself is reached anyway; a circle would never end.
                if real in entered or os.path.commonpath([base, real]) in (base, real):
                    folders.remove(name)
                    self.passed_over.append(_slashes(inside, name))
                entered.add(real)
            for name in names:
                there = os.path.isfile(os.path.join(folder, name))
                if there:
                    yield _slashes(inside, name)
                else:  # a link to nothing, a pipe
                    self.passed_over.append(_slashes(inside, name))

    def open(self, path: str) -> BinaryIO:
        """As of `Tree`."""
        return open(os.path.join(self.root, path), "rb")


class ZipTree(Tree):
    """A ZIP archive."""

    def __init__(self, root: Path):
        super().__init__(root)
        try:
            self._zip = zipfile.ZipFile(root)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise UserError(f"{root}: no whole ZIP archive ({error}); copy it anew") from error
        self._lock = Lock()

    def _listed(self) -> Iterator[str]:
        members = [each for each in self._zip.infolist() if not each.is_dir()]
        _refuse_members([each.filename for each in members], self.root)
        if locked := [each.filename for each in members if each.flag_bits & 1]:
            raise UserError(
                f"{self.root}: {some_of(locked, 1)} asks for a password; unpack the archive and "
                f"give the folder"
            )
        yield from (each.filename for each in members)

    def open(self, path: str) -> BinaryIO:
        """As of `Tree`."""
        with self._lock:  # one file underneath
            info = self._zip.getinfo(path)
            _refuse_size(info.file_size, path)
            try:
                return io.BytesIO(self._zip.read(info))
            except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
                raise OSError(f"damaged in the archive ({error})") from error
            except Exception as error:  # zlib, lzma, bz2 and zstd each have one of their own
                raise OSError(f"damaged in the archive ({error})") from error


class TarTree(Tree):
    """A TAR archive that is not compressed, so that its files can be read one by one."""

    def __init__(self, root: Path):
        super().__init__(root)
        self._members: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(root, "r:") as tar:
                for each in tar:
                    if each.isreg():
                        self._members[each.name.removeprefix("./")] = (each.offset_data, each.size)
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise UserError(f"{root}: no whole TAR archive ({error}); copy it anew") from error

    def _listed(self) -> Iterator[str]:
        _refuse_members(list(self._members), self.root)
        yield from self._members

    def open(self, path: str) -> BinaryIO:
        """As of `Tree`."""
        start, size = self._members[path]
        _refuse_size(size, path)
        with self.root.open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) < size:
            raise OSError("cut off in the archive")
        return io.BytesIO(content)


def open_tree(place: Path) -> Tree:
    """The files below a folder or in an archive.

    Raises:
        UserError: it is neither, or cannot be read.
    """
    if place.is_dir():
        return FolderTree(place)
    name = place.name.lower()
    if name.endswith(".zip"):
        return ZipTree(place)
    if name.endswith(".tar"):
        return TarTree(place)
    raise UserError(
        f"{place}: neither a folder nor a table, .npz, .zip or .tar file; "
        + ("unpack it and give the folder" if name.endswith(PACKED) else "give one of them")
    )


def left_by_systems(path: str) -> bool:
    """Whether a file is what systems and programs leave behind: `._a.bmp`, `.DS_Store`."""
    *folders, name = path.split("/")
    if name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS:
        return True
    return any(each.startswith(".") or each.lower() in FOLDERS_OF_SYSTEMS for each in folders)


def _slashes(folder: str, name: str) -> str:
    return f"{folder}/{name}".replace(os.sep, "/") if folder else name


def _refuse_members(names: list[str], archive: Path) -> None:
    if len(names) > MOST_MEMBERS:
        raise UserError(f"{archive}: {len(names)} files in one archive; unpack it")
    odd = [name for name in names if name.startswith("/") or ".." in name.split("/")]
    if odd:
        raise UserError(f"{archive}: {some_of(odd, 1)} would lie outside; pack the folder anew")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{archive}: {twice} is in it twice; pack the folder anew")


def _refuse_size(size: int, path: str) -> None:
    if size > MOST_BYTES:
        raise OSError(f"{size} bytes in the archive: too large for one cell")
