"""A network that answers from a process of its own.

Whoever made the network, what its file makes Keras, TensorFlow or OpenVINO do happens there. What
comes back is numbers, and they are checked to be probabilities.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leukemia.cells import Scores
from leukemia.errors import UserError
from leukemia.images import Images
from leukemia.registry.process import Confined, Ended, Header, Work, answer

NETWORK = "model.keras"  # in the process' folder
MEMORY = 16 * 2**30  # bytes that it may hold: ResNet-50 answers about 256 cells of 210 px in 2
LOADING_S, ANSWERING_S, PER_CELL_S = 300.0, 120.0, 5.0
ROUNDING = 1e-3  # what blending a map may go beyond 0 or 1
AT_ONCE = 256  # cells that are sent together


class ConfinedModel:
    """(n, side, side, 3) uint8 cells to the probabilities and maps of one network.

    holds: what its process was able to give up, in words.
    """

    def __init__(self, network: Path, memory: int = MEMORY):
        """network: a .keras file, which is copied. memory: bytes that the process may hold.

        Raises:
            UserError: Keras' safe mode does not load it.
        """
        folder = tempfile.TemporaryDirectory(prefix="leukemia-model-")
        shutil.copyfile(network, Path(folder.name) / NETWORK)
        try:
            self._process = Confined(__name__, folder, memory, LOADING_S)
        except (Ended, UserError) as error:
            raise UserError(f"its network does not load ({error})") from None
        self.holds, self.close = self._process.holds, self._process.close

    def measured(self, images: Images) -> Scores:
        """(n,) float32 as the figures of a run are measured: float32.

        Raises:
            UserError: it answers with what is no probability.
            Ended: its process is gone.
        """
        return self._asked("measured", images, {})

    def served(self, images: Images, threshold: float) -> Scores:
        """(n,) float32 in what this machine is fastest in; called at `threshold`, every cell is
        called as in float32. Raises as `measured`."""
        return self._asked("served", images, {"threshold": threshold})

    def heat(self, images: Images, threshold: float) -> NDArray[np.float32]:
        """(n, side, side) float32 in [0, 1]: Grad-CAM of each cell for what it is called. Raises
        as `measured`."""
        return self._asked("heat", images, {"threshold": threshold})

    def _asked(self, do: str, images: Images, more: Mapping[str, float]) -> NDArray[np.float32]:
        return np.concatenate(
            [
                self._part(do, images[start : start + AT_ONCE], more)
                for start in range(0, len(images), AT_ONCE)
            ]
        )

    def _part(self, do: str, images: Images, more: Mapping[str, float]) -> NDArray[np.float32]:
        cells = np.ascontiguousarray(images)
        shape = cells.shape[: 3 if do == "heat" else 1]
        header = {"do": do, "shape": cells.shape, **more}
        _, content = self._process.ask(
            header, cells.data, 4 * int(np.prod(shape)), ANSWERING_S + PER_CELL_S * len(cells)
        )
        values = np.frombuffer(content, np.float32)
        if values.size != np.prod(shape) or not (np.abs(values - 0.5) < 0.5 + ROUNDING).all():
            raise UserError("its network answers with what is no probability")
        return values.reshape(shape).clip(0, 1)


def _load(folder: Path) -> Work:  # pragma: no cover
    """How each kind of question is answered; what takes seconds to make ready is made once."""
    import keras

    from leukemia.model.grad_cam import grad_cam_of
    from leukemia.model.inference import measuring, serving

    model = keras.saving.load_model(folder / NETWORK, compile=False, safe_mode=True)
    ways: dict[str, Callable[[float], Callable[[np.ndarray], Any]]] = {
        "measured": lambda threshold: measuring(model),
        "served": lambda threshold: serving(model, threshold),
        "heat": lambda threshold: grad_cam_of(model, threshold),
    }
    ready: dict[tuple[str, float], Callable[[np.ndarray], Any]] = {}

    def work(header: Header, content: bytes) -> tuple[Header, Any]:
        asked = str(header["do"]), float(header.get("threshold", 0))
        if asked not in ready:
            ready[asked] = ways[asked[0]](asked[1])
        cells = np.frombuffer(content, np.uint8).reshape(header["shape"])
        return {}, np.ascontiguousarray(ready[asked](cells), np.float32).data

    return work


if __name__ == "__main__":
    answer(_load)
