"""One way to write foreign text for each kind of reader: terminal, HTML, Markdown."""

import re
import unicodedata
from html import escape

# What begins a mark within a line: of CommonMark, of GitHub's tables, mentions, formulas and
# crossed out words, and of Showdown, by which MLflow shows notes and which takes no backslash
# before `<` or `:`.
_MARKS = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;"}
    | {mark: f"\\{mark}" for mark in "\\`*_[|~#"}
)
_COLON = re.compile(r":(?=\S)")  # of an address or an :emoji:
_WWW = re.compile(r"(?<=www)\.", re.IGNORECASE)


def visible(text: str, but: str = "") -> str:
    r"""The text in characters that can be seen; of others their escapes, as `\x1b` or `\u202e`.

    An escape sequence of a terminal, a second line and a change of direction so show what they are.

    but: characters that are kept all the same.
    """
    if text.isprintable():
        return text
    return "".join(each if _is_seen(each) or each in but else _escaped(each) for each in text)


def html(text: str) -> str:
    """HTML, of an element's content or of a quoted attribute, that shows the text as it is."""
    return escape(visible(text, but="\n"))


def markdown(text: str) -> str:
    """Markdown within a line that shows the text as it is; words of one's own must begin the line,
    where a number or a hyphen would begin a list."""
    shown = visible(text).translate(_MARKS)
    return _WWW.sub(r"\.", _COLON.sub("&#58;", shown))


def code_block(text: str) -> str:
    """Lines as a block of code in Markdown: indented, so that none of them can end the block."""
    return "\n".join(f"    {visible(line)}" for line in text.splitlines())


def _is_seen(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # kinds of space


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
