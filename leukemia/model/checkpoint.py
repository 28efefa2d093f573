"""What a training that can go on has done so far: one file with a mark, a header and arrays.

It lies in a folder of its own within that of its run's unfinished work, where one process works at
a time. The file there is always whole: the new one takes its place when all of it is written.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import keras
import numpy as np

from leukemia.data.files import write_atomically
from leukemia.errors import UserError

FILE = "checkpoint.npz"
HEADER = "progress"

Named = Iterable[tuple[str, np.ndarray]]


def write(folder: Path, whose: str, mark: str, header: Mapping[str, Any], arrays: Named) -> None:
    """Put a state into `folder`, or leave the one that is there.

    whose: of what the state is, for the message. mark: equal for equal trainings. header: what
        JSON can hold. arrays: by name, asked for one by one, so that the state is not in memory
        once more.

    Raises:
        UserError: it cannot be written, as on a full disk.
    """
    told = json.dumps({"mark": mark, **header})
    try:
        for half in folder.glob(f"{FILE}?*"):  # of a write that was killed: 280 MB each
            half.unlink()
        write_atomically(folder / FILE, partial(_write, told, arrays))
    except OSError as error:
        raise UserError(
            f"{whose}'s checkpoint cannot be written to {folder} ({error.strerror}); make room "
            f"there and give the same command again: it goes on from the last one"
        ) from error


def read(folder: Path, mark: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """The header and the arrays of the state in `folder`; None if none is there.

    Raises:
        UserError: the file there is damaged or of another training. That one is not passed over:
            its run has its figures already, and those of this training would be mixed with them.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop(HEADER).tobytes())
        of = header["mark"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): remove it to begin anew") from error
    if of != mark:
        raise UserError(
            f"{path} is of another training (other cells, weights to start from, or version of "
            f"Keras): to begin a new run, remove {folder.parent}"
        )
    return header, arrays


def named(kind: str, variables: Iterable[keras.Variable]) -> Iterator[tuple[str, np.ndarray]]:
    """The value of each variable under its kind and number."""
    for number, variable in enumerate(variables):
        yield f"{kind}_{number:03d}", keras.ops.convert_to_numpy(variable)


def assign(
    arrays: Mapping[str, np.ndarray], kind: str, variables: Iterable[keras.Variable]
) -> None:
    """Set the variables to what `named` gave of them."""
    for number, variable in enumerate(variables):
        variable.assign(arrays[f"{kind}_{number:03d}"])


def _write(header: str, arrays: Named, file: IO[bytes]) -> None:
    """As `numpy.savez`, which takes all arrays at once."""
    first = (HEADER, np.frombuffer(header.encode(), np.uint8))
    with ZipFile(file, "w") as archive:
        for name, array in chain([first], arrays):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
