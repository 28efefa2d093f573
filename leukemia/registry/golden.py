"""Golden cells: a few test cells and what the classifier answered when it was measured.

A model that comes back from the store is the one that was measured if it gives the same answers,
in a process that has seen nothing else.
"""

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from leukemia.errors import UserError
from leukemia.registry.process import Ended
from leukemia.registry.served import load

LARGEST = 64 * 2**20  # bytes, unpacked: far more than eight cells of any size


def difference(uri: str, file: Path) -> float:
    """The largest distance between a model's answers and those in the file.

    Raises:
        UserError: the model cannot be loaded, does not take these cells, or there are none.
    """
    try:
        with ZipFile(file) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > LARGEST:
            raise UserError(f"its golden cells unpack to {size} bytes; {LARGEST} are allowed")
        with np.load(file, allow_pickle=False) as kept:
            images, scores = kept["images"], kept["scores"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(f"its golden cells cannot be read ({error})") from None
    if images.dtype != np.uint8 or images.ndim != 4 or scores.shape != images.shape[:1]:
        raise UserError("its golden cells are no cells with a score each")
    model = load(uri).model
    try:
        answers = model.measured(images)
    except Ended as error:
        raise UserError(f"model '{uri}' does not answer ({error})") from None
    finally:
        model.close()
    return float(np.abs(answers - scores).max())
