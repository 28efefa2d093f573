"""How the core reports its progress without knowing who listens."""

from collections.abc import Callable, Mapping

import numpy as np

# report(step, {name: value}): a float is a metric at that step, a uint8 array (H, W, 3) a
# picture. A name that ends in `_done` is the fraction of the step that is done: for the screen.
Report = Callable[[int, Mapping[str, float | np.ndarray]], None]


def silent(step: int, values: Mapping[str, float | np.ndarray]) -> None:
    """Listen to nothing: for tests and for calls from a notebook."""
