"""A registered classifier answers about encoded images: what a server does with a request.

Nothing is logged or kept of the images. Research use only; not for diagnosis.
"""

import io
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from leukemia.errors import UserError
from leukemia.images import Pixels
from leukemia.registry.served import Served
from leukemia.serving.decoding import Decoders

MOST_BYTES = 64 * 2**20  # of one request
MOST_CELLS = 256  # of one request
DECODING_S = 60.0  # for all images of one request
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 3600.0  # before a version that was refused is tried again
SWITCHING_S = 20.0  # that a request waits for a new version where an old one could answer

Faults = dict[int, str]  # number of a file -> why it has no answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """probability: of the positive class, in [0, 1]. label: what the cell is called at `threshold`.
    version: of the model. protocol: how its figures were measured."""

    probability: float
    label: str
    threshold: float
    model: str
    version: str
    protocol: str


class Answering:
    """One version of a classifier, compiled and ready."""

    def __init__(self, served: Served, decoders: Decoders):
        self.served, self._decoders = served, decoders

    def cells(self, files: Sequence[BinaryIO], names: Sequence[str]) -> tuple[np.ndarray, Faults]:
        """(n, side, side, 3) uint8, cropped and scaled as in training, of the files that are
        images of cells; and of the others, by their number from 0, why they are not.

        names: what each file is called in messages.

        Raises:
            UserError: no file, too many, or none is an image of a cell; nothing is decoded of a
                file whose own head says that it is too large.
            Ended: there is no process to decode them.
        """
        if not files:
            raise UserError("no image came: give one to 256")
        if len(files) > MOST_CELLS:
            raise UserError(f"{len(files)} images came: give at most {MOST_CELLS} at once")
        decoded: list[np.ndarray] = []
        faults: Faults = {}
        end = time.monotonic() + DECODING_S
        for number, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                decoded.append(self._decoders.decode(file.read(), name, self.served.geometry))
            except UserError as error:
                faults[number] = str(error)
            if time.monotonic() > end:
                raise UserError(
                    f"{number + 1} of {len(files)} images took {DECODING_S:.0f} s to decode: "
                    f"send fewer, or smaller ones"
                )
        if not decoded:
            raise UserError(faults[0])
        return np.stack(decoded), faults

    def answer(self, cells: np.ndarray) -> list[Answer]:
        """One for each cell.

        Raises:
            Ended: the classifier's process is gone.
        """
        served = self.served
        return [
            Answer(
                probability=float(each),
                label=served.positive if float(each) >= served.threshold else served.negative,
                threshold=served.threshold,
                model=served.name,
                version=served.version,
                protocol=served.protocol,
            )
            for each in served.model.served(cells, served.threshold)
        ]

    def grad_cam(self, cells: np.ndarray) -> list[bytes]:
        """Grad-CAM over each cell, as PNG files: where the classifier looked. Raises as
        `answer`."""
        maps = self.served.model.heat(cells, self.served.threshold)
        return [png(_over(cell, each)) for cell, each in zip(cells, maps, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version that could not be loaded. until: when it is tried again, pause: seconds from the
    last time, both of a clock that only goes forward. why: in a line."""

    version: str
    why: str
    until: float
    pause: float


class Following:
    """The classifier that a name or alias points to, loaded anew when the alias moves.

    Requests under way at a move are answered by the version that they began with. A version that
    cannot be loaded takes nothing away from the one that answers: it is refused, and tried again
    after pauses that double."""

    def __init__(self, version: Callable[[], str], load: Callable[[str], Served]):
        """version: which one it is now. load: that version."""
        self._version, self._load, self._lock = version, load, Lock()
        self._now: Answering | None = None
        self._refusal: Refusal | None = None
        self._away = False
        self._loader, self._loading = ThreadPoolExecutor(1, "loading"), _done()
        self._decoders = Decoders()

    def current(self) -> Answering:
        """The one to answer with: the last one, where the registry does not answer or the version
        that it names cannot be loaded, or not yet.

        Raises:
            UserError: there is none.
        """
        try:
            version, self._away = self._version(), False
        except UserError:
            self._away = True
            if self._now is None:
                raise
            return self._now
        loading = self._renewed(version)
        # Where one answers already, a new version that takes long keeps nobody waiting for it.
        wait([loading], None if self._now is None else SWITCHING_S)
        if self._now is None:
            refusal = self._refusal
            raise UserError(refusal.why if refusal else f"version {version} is not loaded")
        return self._now

    def gone(self, answering: Answering) -> None:
        """The process of this one ended: the next request loads it again."""
        with self._lock:
            if self._now is answering:
                self._now = None

    def health(self) -> dict[str, Any]:
        """Which version answers, and what keeps a newer one from it."""
        now, refusal = self._now, self._refusal
        health: dict[str, Any] = {"status": "ok", "version": now.served.version if now else ""}
        if refusal or self._away or not now:
            health["status"] = "degraded" if now else "down"
        if refusal:
            health["refused"] = {"version": refusal.version, "why": refusal.why}
        if self._away:
            health["registry"] = "it does not answer"
        return health

    def _renewed(self, version: str) -> "Future[None]":
        """The loading of a version, which has ended where nothing is to be loaded."""
        with self._lock:
            if not self._loading.done():
                return self._loading
            if self._now and self._now.served.version == version:
                self._refusal = None
                return self._loading
            refusal = self._refusal
            paused = refusal and refusal.version == version and time.monotonic() < refusal.until
            if not paused:
                self._loading = self._loader.submit(self._renew, version)
            return self._loading

    def _renew(self, version: str) -> None:
        last = self._refusal if self._refusal and self._refusal.version == version else None
        try:
            self._now = Answering(self._load(version), self._decoders)
            self._refusal = None
        except UserError as error:
            pause = min(2 * last.pause, LONGEST_PAUSE_S) if last else FIRST_PAUSE_S
            until = time.monotonic() + pause
            self._refusal = Refusal(version=version, why=str(error), until=until, pause=pause)
            log.warning("version %s is refused, for %.0f s: %s", version, pause, error)


def _done() -> "Future[None]":
    ended: Future[None] = Future()
    ended.set_result(None)
    return ended


def _over(cell: Pixels, heat: np.ndarray) -> Pixels:
    """The cell in grey with its map over it."""
    from matplotlib import colormaps

    grey = cell.mean(-1, keepdims=True) / 255
    warm = colormaps["magma"](heat)[..., :3]
    blended: Pixels = np.rint(255 * (0.5 * grey + 0.5 * warm)).astype(np.uint8)
    return blended


def png(image: np.ndarray) -> bytes:
    """A PNG file of (H, W, 3) uint8."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    return content.getvalue()
