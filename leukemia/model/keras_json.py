"""Keras' settings file, which other programs of a user may have written: looked at before Keras
reads it, since another layout of images or type of numbers would change every figure."""

import json
import os
from pathlib import Path

from leukemia.errors import UserError

NEEDED = {"floatx": "float32", "image_data_format": "channels_last"}


def check() -> None:
    """Refuse settings under which networks would be others. Importing this costs nothing.

    Raises:
        UserError: the file says so.
    """
    file = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()) / "keras.json"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # Keras does without it then
        return
    for name, needed in NEEDED.items() if isinstance(said, dict) else ():
        if said.get(name, needed) != needed:
            raise UserError(
                f"{file} says {name} {str(said[name])[:40]!r}, and here it is {needed!r}: take the "
                f"line out, or set KERAS_HOME to another folder"
            )
