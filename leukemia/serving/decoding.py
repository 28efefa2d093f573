"""Uploaded files become cells in a few processes of their own.

A file from a stranger is decoded where it can hold little memory, may take seconds, and is killed
with its process where it wants more; the server and the other requests go on.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, LifoQueue

import numpy as np

from leukemia.data.decoding import decode_image
from leukemia.data.geometry import Geometry
from leukemia.errors import UserError
from leukemia.images import Pixels
from leukemia.registry.process import Confined, Ended, Header, Work, answer

PROCESSES = 2
MOST_PIXELS = 12_000_000  # of an uploaded image: what a microscope's camera gives
MEMORY = 256 * 2**20  # bytes that a process may hold: Pillow keeps four bytes a pixel
STARTING_S, DECODING_S, WAITING_S = 60.0, 5.0, 60.0


class Decoders:
    """Files to cells, in processes that each work on one file at a time."""

    def __init__(self, processes: int = PROCESSES):
        """processes: that decode at the same time; each is started when it is first needed."""
        self._free: LifoQueue[Confined | None] = LifoQueue()
        for _ in range(processes):
            self._free.put(None)

    def decode(self, file: bytes, name: str, geometry: Geometry) -> Pixels:
        """(side, side, 3) uint8, as `decode_image` gives it.

        name: what the file is called in messages.

        Raises:
            UserError: it is no image of a cell, or costs more to decode than one.
            Ended: no process could be had.
        """
        shape = (geometry.side, geometry.side, 3)
        header = {"name": name, "geometry": asdict(geometry)}
        with self._process() as process:
            try:
                _, content = process.ask(header, file, int(np.prod(shape)), DECODING_S)
            except Ended as error:
                process.close()
                raise UserError(
                    f"{name}: it costs more to decode than a picture of a cell ({error}); save it "
                    f"anew as PNG"
                ) from None
        return np.frombuffer(content, np.uint8).reshape(shape)

    @contextmanager
    def _process(self) -> Iterator[Confined]:
        """One that is free, for as long as the block lasts; in place of one that ended, another
        is started the next time."""
        try:
            process = self._free.get(timeout=WAITING_S)
        except Empty:
            raise Ended("all decoding processes are busy") from None
        try:
            process = process or _started()
            yield process
        finally:
            self._free.put(process if process and process.close.alive else None)


def _started() -> Confined:
    folder = tempfile.TemporaryDirectory(prefix="leukemia-decoding-")
    return Confined(__name__, folder, MEMORY, STARTING_S)


def _ready(folder: Path) -> Work:  # pragma: no cover
    def work(header: Header, content: bytes) -> tuple[Header, bytes]:
        geometry = Geometry(**header["geometry"])
        try:
            cell = decode_image(
                io.BytesIO(content), header["name"], geometry, most_pixels=MOST_PIXELS
            )
        except MemoryError:
            raise UserError(f"{header['name']}: it asks for too much memory to decode") from None
        return {}, np.ascontiguousarray(cell).tobytes()

    return work


if __name__ == "__main__":
    answer(_ready)
