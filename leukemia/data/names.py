"""What the names in a data set may be: in characters that can be seen, and not endless.

They end up on pages, in tables, pictures and logs, where control characters, marks that turn the
direction of writing, and names of a page's length hide or forge what stands beside them.
"""

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from leukemia.errors import UserError

if TYPE_CHECKING:  # the processes that decode for a server have no need of it
    import pandas as pd

LONGEST = {"path": 1000, "label": 100, "subject": 100}  # characters
SHOWN = 120  # characters of a name that a message repeats


def check(frame: "pd.DataFrame", source: object) -> None:
    """Refuse the names in the columns of LONGEST that the frame has.

    source: what the cells were read from, for the message.

    Raises:
        UserError: a name has a character that cannot be seen, or is too long.
    """
    for column in LONGEST:
        if column in frame:
            check_names(map(str, frame[column].unique()), column, source)


def check_names(names: Iterable[str], column: str, source: object) -> None:
    """Refuse names that stand for what a column of LONGEST holds. Raises as `check`."""
    for name in names:
        if why := fault(name, column):
            raise UserError(
                f"{source}: {column} '{shortened(name)}' has {why}; expected up to "
                f"{LONGEST[column]} printable characters: rename it"
            )


def shortened(text: str) -> str:
    """As much of a foreign text as a message repeats."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def some_of(names: list[str], most: int = 5) -> str:
    """The first of some names, with commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shortened, names[:most])) + more


def fault(name: str, column: str) -> str:
    """Why a name may not stand for what a column of LONGEST holds; "" where it may."""
    longest = LONGEST[column]
    if len(name) > longest:
        return f"{len(name)} characters"
    for character in "" if name.isprintable() else name:
        if not character.isprintable():
            kind = unicodedata.name(character, "no printable character")
            return f"the character U+{ord(character):04X} ({kind})"
    return ""
