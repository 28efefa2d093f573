"""Where cells come from: one file a source, each of which lists the cells below a place.

A source is a file with `read(tree, asked)`, that gives a `Listing` or, where it sees nothing of its
kind, None. `leukemia.data.index` asks them in the order of SOURCES.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from leukemia.data.names import some_of
from leukemia.data.trees import Tree
from leukemia.text.escape import visible

COLUMNS = ["path", "label", "subject", "split"]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The cells that a source lists, one row each.

    source: its name. frame: COLUMNS; path is relative to the tree's root, split is as the source
    names it, or "". tree: opens the files. subjects: whether the column says who the cells are of;
    else it is "" throughout. positive: the class that is positive unless another is asked for, ""
    for none. simulated: how the cells were drawn where they are no patient's, else "". size: width
    and height in pixels that every image must have, or None. left_out: why -> the files that were
    found and are not used. notes: what else a reader should know, one line each.
    """

    source: str
    frame: pd.DataFrame
    tree: Tree
    subjects: bool = True
    positive: str = ""
    simulated: str = ""
    size: int | None = None
    left_out: Mapping[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def told(left_out: Mapping[str, list[str]]) -> tuple[str, ...]:
    """A line for each reason: how many files are left out for it, and some of them."""
    return tuple(
        f"{len(paths)} {'file is' if len(paths) == 1 else 'files are'} left out, {why}: "
        f"{visible(some_of(paths, 3))}"
        for why, paths in left_out.items()
        if paths
    )
