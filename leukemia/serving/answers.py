"""A registered classifier answers about encoded images: what a server does with a request.

Nothing is logged or kept of the images. Research use only; not for diagnosis.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from PIL import Image

from leukemia.data.store import decode_image
from leukemia.errors import UserError
from leukemia.images import Pixels
from leukemia.model.grad_cam import grad_cam_of
from leukemia.model.inference import serving
from leukemia.registry.served import Served

MOST_BYTES = 64 * 2**20  # of one request
MOST_CELLS = 256  # of one request


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

    def __init__(self, served: Served):
        self.served = served
        self._predictor = serving(served.model, served.threshold)
        self._looking = grad_cam_of(served.model, served.threshold)
        self._lock = Lock()  # of the compiled model: it uses all cores for one batch

    def cells(self, files: Sequence[bytes], names: Sequence[str] = ()) -> np.ndarray:
        """(n, side, side, 3) uint8, cropped and scaled as in training.

        Raises:
            UserError: no file, too many, or one is no image of a cell; nothing is decoded of a
                file whose own head says that it is too large.
        """
        if not files:
            raise UserError("no image came: give one to 256")
        if len(files) > MOST_CELLS:
            raise UserError(f"{len(files)} images came: give at most {MOST_CELLS} at once")
        names = names or [f"image {number}" for number in range(1, len(files) + 1)]
        return np.stack(
            [
                decode_image(io.BytesIO(file), name, self.served.geometry)
                for file, name in zip(files, names, strict=True)
            ]
        )

    def answer(self, cells: np.ndarray) -> list[Answer]:
        """One for each cell."""
        with self._lock:
            scores = self._predictor(cells)
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
            for each in scores
        ]

    def grad_cam(self, cells: np.ndarray) -> list[bytes]:
        """Grad-CAM over each cell, as PNG files: where the classifier looked."""
        with self._lock:
            maps = self._looking(cells)
        return [png(_over(cell, each)) for cell, each in zip(cells, maps, strict=True)]


class Following:
    """The classifier that a name or alias points to, loaded anew when the alias moves.

    Requests under way at a move are answered by the version that they began with."""

    def __init__(self, version: Callable[[], str], load: Callable[[str], Served]):
        """version: which one it is now. load: that version."""
        self._version, self._load, self._lock = version, load, Lock()
        self._now: Answering | None = None

    def current(self) -> Answering:
        """The one to answer with; the last one where the registry does not answer.

        Raises:
            UserError: there has been none yet.
        """
        try:
            version = self._version()
        except UserError:
            if self._now is None:
                raise
            return self._now
        with self._lock:
            if self._now is None or self._now.served.version != version:
                self._now = Answering(self._load(version))
            return self._now


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
