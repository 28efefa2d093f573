"""Cells decoded once: uint8 pixels in a file that every run maps into memory.

The file's name is a digest of the images' contents and of the geometry, so it can neither be
stale nor serve another data set. Two runs that want the same pixels at once build them once.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from leukemia.cells import Cells
from leukemia.data.decoding import decode_image
from leukemia.data.files import in_threads
from leukemia.data.geometry import Geometry
from leukemia.data.index import Index
from leukemia.data.trees import Tree
from leukemia.errors import UserError
from leukemia.images import Pixels

VERSION = 2  # of the decoding: raise it when the same file would give other pixels


def load_cells(
    index: Index,
    geometry: Geometry,
    cache: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cells:
    """All cells of an index; images is a read-only memory map (n, side, side, 3) uint8."""
    return Cells(
        images=decode(index, geometry, cache, progress),
        labels=index.labels,
        subjects=index.frame["subject"].to_numpy(str),
        cell_id=index.frame["path"].to_numpy(str),
    )


def decode(
    index: Index, geometry: Geometry, cache: Path, progress: Callable[[int, int], None]
) -> Pixels:
    """The pixels of every file of an index, from the store or, the first time, from the files.

    Raises:
        UserError: a file is truncated, no image, or of the wrong size or mode; or the disk
            has no room. Nothing is left behind then.
    """
    target = cache / "pixels" / f"{key(index, geometry)}.npy"
    if (pixels := _opened(target)) is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if _opened(target) is None:  # another run may have built it while this one waited
                _build(index, geometry, target, progress)
        pixels = _opened(target)
    assert pixels is not None
    return pixels


def read_cell(index: Index, path: str, geometry: Geometry | None) -> Pixels:
    """An image of an index as (side, side, 3) uint8; as it is, (H, W, 3), where geometry is None.

    Raises:
        UserError: it cannot be read, is no image, or of the wrong size or mode.
    """
    return read_file(index.tree, path, geometry, index.size)


def read_file(tree: Tree, path: str, geometry: Geometry | None, size: int | None = None) -> Pixels:
    """As `read_cell`, of a tree."""
    name = f"{tree.root}/{path}"
    try:
        with tree.open(path) as file:
            return decode_image(file, name, geometry, size)
    except OSError as error:
        raise UserError(f"{name}: {error.strerror or error}") from error


def differ_in_size(index: Index) -> bool:
    """Whether the images have more than one size, by their heads alone.

    Raises:
        UserError: a file is no image.
    """
    if index.size is not None:
        return False
    paths = index.frame["path"].tolist()
    sizes = in_threads(lambda path: _size(index, path), paths)
    first = next(sizes)
    return any(size != first for size in sizes)


def _size(index: Index, path: str) -> tuple[int, int]:
    try:
        with index.open(path) as file, Image.open(file) as image:
            return image.size
    except OSError as error:
        raise UserError(f"{index.root}/{path}: not a whole image ({error})") from error


def _opened(target: Path) -> Pixels | None:
    """The pixels, mapped; None where they are not there or cut short, as by a full disk."""
    try:
        pixels: Pixels = np.load(target, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return pixels


def key(index: Index, geometry: Geometry) -> str:
    """A digest of the images' contents in the index's order and of how they are decoded."""
    text = "\n".join([f"{VERSION} {geometry}", *index.frame["sha256"]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(
    index: Index, geometry: Geometry, target: Path, progress: Callable[[int, int], None]
) -> None:
    shape = (len(index.frame), geometry.side, geometry.side, 3)
    _need_room(target.parent, int(np.prod(shape)))
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix="building-"))
    try:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        paths = index.frame["path"].tolist()
        read = in_threads(lambda path: _cell_or_fault(index, path, geometry), paths)
        faults: list[UserError] = []
        with (folder / "pixels.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, head)
            for row, image in enumerate(read, 1):
                if isinstance(image, UserError):
                    faults.append(image)
                else:
                    file.write(image.data)  # a map would cost a page fault for each 4 KB
                progress(row, len(index.frame))
            _refuse(faults, len(index.frame))
            file.flush()
            os.fsync(file.fileno())
        os.replace(folder / "pixels.npy", target)
    finally:
        shutil.rmtree(folder)


def _cell_or_fault(index: Index, path: str, geometry: Geometry) -> Pixels | UserError:
    try:
        return read_cell(index, path, geometry)
    except UserError as error:
        return error


def _refuse(faults: list[UserError], count: int) -> None:
    """Say of all bad files at once how many there are; raises UserError where there are some."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise UserError(f"{len(faults)} of {count} images cannot be used; the first: {faults[0]}")


def _need_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 2**30:.1f} GiB needed for decoded cells, {free / 2**30:.1f} "
            f"free; make room or set LEUKEMIA_CACHE to another disk"
        )
