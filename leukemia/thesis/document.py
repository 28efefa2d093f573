"""A document of sections, written once and rendered twice: as Markdown and as one HTML file."""

import base64
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from leukemia.text.escape import html, markdown


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text; `code` and **strong** are the only marks in it, here and in every other block.

    A backslash before a mark, as `literal` sets it, leaves it a character.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list, numbered if its order matters."""

    items: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a head; a row in `marked` is set off, its reason standing in the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One of the document's figures, by name; the caption is also what a blind reader hears."""

    name: str
    caption: str


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True, kw_only=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Title, a line under it, sections, and lines at the foot."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    foot: tuple[str, ...]


def literal(text: str) -> str:
    """Foreign text for a block, without marks."""
    return re.sub(r"[\\*`]", r"\\\g<0>", text)


def to_markdown(document: Document) -> str:
    """Markdown with tables as GitHub reads them; picture NAME is expected as NAME.png beside it."""
    parts = [f"# {_line(document.title)}", _line(document.subtitle)]
    for section in document.sections:
        parts += [f"## {_line(section.title)}", *map(_markdown, section.blocks)]
    return "\n\n".join([*parts, "---", *map(_line, document.foot)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text=text):
            return _line(text)
        case Bullets(items=items, numbered=numbered):
            signs = [f"{n}." if numbered else "-" for n in range(1, len(items) + 1)]
            return "\n".join(
                f"{sign} {_line(item)}" for sign, item in zip(signs, items, strict=True)
            )
        case Picture(name=name, caption=caption):
            return f"![{_line(caption)}]({name}.png)"
        case Table(caption=caption, head=head, rows=rows):
            lines = [_row(head), _row(("---",) * len(head)), *map(_row, rows)]
            return "\n".join([_line(caption), "", *lines])


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(_line, cells))} |"


def _line(text: str) -> str:
    """A text with its marks, as Markdown; a bar parts a table's cells even within code."""
    parts = []
    for mark, inner in _marked(text):
        shown = inner.replace("|", "\\|") if mark == "`" else markdown(inner)
        parts.append(f"{mark}{shown}{mark}")
    return "".join(parts)


def _marked(text: str) -> Iterator[tuple[str, str]]:
    """(mark, text) of each stretch of a text: "", "**" or "`", and what is marked so."""
    plain = ""
    for part in re.finditer(r"\\([\\*`])|\*\*(.+?)\*\*|`(.+?)`|(.)", text, re.DOTALL):
        character, strong, code, other = part.groups()
        if strong or code:
            yield "", plain
            yield ("**", strong) if strong else ("`", code)
            plain = ""
        else:
            plain += character or other
    yield "", plain


def to_html(document: Document, figures: Mapping[str, np.ndarray]) -> str:
    """One file that needs no other: style and pictures (uint8 (H, W, 3) by name) inside."""
    body = [
        f"<header><h1>{_inline(document.title)}</h1><p>{_inline(document.subtitle)}</p></header>"
    ]
    for section in document.sections:
        blocks = "\n".join(_html(block, figures) for block in section.blocks)
        body.append(f"<section>\n<h2>{_inline(section.title)}</h2>\n{blocks}\n</section>")
    foot = "\n".join(f"<p>{_inline(line)}</p>" for line in document.foot)
    body.append(f"<footer>\n{foot}\n</footer>")
    return PAGE.format(title=html(document.title), style=STYLE, body="\n".join(body))


def _html(block: Block, figures: Mapping[str, np.ndarray]) -> str:
    match block:
        case Paragraph(text=text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items=items, numbered=numbered):
            tag = "ol" if numbered else "ul"
            return f"<{tag}>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</{tag}>"
        case Picture(name=name, caption=caption):
            picture = f'<img src="{_data_url(figures[name])}" alt="{html(caption)}">'
            told = f"<figcaption>{_inline(caption)}</figcaption>"
            return f"<figure>{_scroll(picture, 'plot')}{told}</figure>"
        case Table():
            return _html_table(block)


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in table.head)
    rows = []
    for number, (first, *rest) in enumerate(table.rows):
        kind = ' class="marked"' if number in table.marked else ""
        cells = "".join(
            f"<td{_width(cell)} data-head='{html(name)}'>{_inline(cell)}</td>"
            for name, cell in zip(table.head[1:], rest, strict=True)
        )
        rows.append(f'<tr{kind}><th scope="row">{_inline(first)}</th>{cells}</tr>')
    wordy = any(len(cell) > LONG for row in table.rows for cell in row)
    # The caption stands outside what scrolls, so that a narrow page shows all of it.
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    body = f'<table class="{"wordy" if wordy else "plain"}">{body}</table>'
    caption = f"<figcaption>{_inline(table.caption)}</figcaption>"
    return f"<figure>{caption}{_scroll(body, 'table')}</figure>"


def _scroll(body: str, kind: str) -> str:
    """What is wider than a narrow page moves by itself, and by the keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{kind}">{body}</div>'


def _width(cell: str) -> str:
    return ' class="short"' if len(cell) <= SHORT else ' class="long"' if len(cell) > LONG else ""


def _inline(text: str) -> str:
    """A text with its marks, as HTML."""
    tags = {"": "{}", "**": "<strong>{}</strong>", "`": "<code>{}</code>"}
    marked = "".join(tags[mark].format(html(inner)) for mark, inner in _marked(text))
    return re.sub(r"(?<=\d) %", "&nbsp;%", marked)


def png(picture: np.ndarray) -> bytes:
    """A uint8 (H, W, 3) array as a PNG file's bytes."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", optimize=True)
    return file.getvalue()


def _data_url(picture: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


SHORT, LONG = 31, 45  # characters of a cell that is never broken, or is given room
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
STYLE = """
body { max-width: 66rem; margin: 2rem auto; padding: 0 1.2rem; color: #1c1c1c; background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .7rem; border-top: 1px solid #bbb; }
p, li { max-width: 46rem; }
li { margin-bottom: .35rem; }
header p, footer p { color: #555; }
code { font-size: .9em; background: #f3f3f3; padding: .1em .3em; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.4rem; }
figcaption { color: #444; font-size: .9rem; max-width: 46rem; margin: .3rem 0; }
img { display: block; width: 100%; max-width: 40rem; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid #ddd; }
.short { white-space: nowrap; }
.long { min-width: 16rem; }
thead th { border-bottom: 2px solid #555; vertical-align: bottom; }
tbody th { font-weight: 600; }
.marked th, .marked td { background: #fbeeea; }
.marked th { box-shadow: inset 3px 0 #a3341b; padding-left: .6rem; }
footer { margin-top: 2.5rem; padding-top: .4rem; border-top: 2px solid #555; }
/* On a narrow screen words become a list; numbers move, with their row's name in view. */
@media screen and (max-width: 40rem) { body { margin: 1rem auto; } h1 { font-size: 1.35rem; }
  .plain tbody th { position: sticky; left: 0; background: #fff; }
  .plain .marked th { background: #fbeeea; }
  .wordy thead { display: none; }
  .wordy, .wordy tbody, .wordy tr, .wordy th, .wordy td { display: block; border: 0; padding: 0;
    white-space: normal; min-width: 0; }
  .wordy tr { border-bottom: 1px solid #ddd; padding: .5rem 0; }
  .wordy tr.marked { padding-left: .6rem; background: #fbeeea; box-shadow: inset 3px 0 #a3341b; }
  .wordy .marked th { box-shadow: none; padding: 0; }
  .wordy td::before { content: attr(data-head) ": "; color: #666; }
  .wordy td.short { display: inline-block; margin-right: 1rem; }
  .wordy td:empty { display: none; } }
@media print { html { font-size: 10pt; } body { margin: 0; max-width: none; padding: 0; }
  .scroll { overflow: visible; } table { font-size: 8pt; } img { max-width: 14cm; }
  .long { min-width: 0; } th, td { padding-right: .5rem; } td.short { white-space: normal; }
  h2 { break-after: avoid; } tr, img, figcaption { break-inside: avoid; }
  .marked th, .marked td { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
