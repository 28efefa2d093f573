"""How the core reports its progress without knowing who listens."""

from collections.abc import Callable, Mapping

import numpy as np

# report(step, {name: value}): a float is a metric at that step, a uint8 array (H, W, 3) a
# picture. A name that ends in `_done` is the fraction of the step that is done: for the screen.
Report = Callable[[int, Mapping[str, float | np.ndarray]], None]

# progress(title)(done, total): a long step before a run starts, as decoding cells.
Progress = Callable[[str], Callable[[int, int], None]]


def silent(step: int, values: Mapping[str, float | np.ndarray]) -> None:
    """Listen to nothing: for tests and for calls from a notebook."""


def nothing() -> None:
    """What is called where nobody waits for a call."""


def both(first: Report, second: Report) -> Report:
    """One listener that passes everything on to two."""

    def tell(step: int, values: Mapping[str, float | np.ndarray]) -> None:
        first(step, values)
        second(step, values)

    return tell


def unwatched(title: str) -> Callable[[int, int], None]:
    """A `Progress` that shows nothing."""
    return lambda done, total: None
