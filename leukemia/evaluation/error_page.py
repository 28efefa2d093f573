"""The cells that were called wrongly as one HTML file: a table with pictures, sorted by a click.

MLflow's own table shows four such rows a page and takes seconds and two files a picture to log.
"""

import base64
import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image

from leukemia.text.escape import html

STYLE = """<style>
body { font: 14px sans-serif; margin: 12px } table { border-collapse: collapse }
th { position: sticky; top: 0; background: #fff; text-align: left; cursor: pointer }
td, th { padding: 4px 24px 4px 0; border-bottom: 1px solid #ddd } img { height: 112px }
</style>"""
# A click on a heading sorts by it, a second one the other way round.
SORT = """
document.querySelectorAll("th").forEach((head, n) => head.onclick = () => {
  const body = document.querySelector("tbody"), text = row => row.cells[n].innerText;
  const way = head.up = head.up === 1 ? -1 : 1;
  body.append(...[...body.rows].sort(
    (a, b) => way * text(a).localeCompare(text(b), "en", {numeric: true})));
});
"""
# Should a name be read as HTML in spite of all, this script alone runs and nothing is fetched.
SCRIPT = base64.b64encode(hashlib.sha256(SORT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; script-src 'sha256-{SCRIPT}'; style-src 'unsafe-inline'; img-src data:"
)


def page(table: pd.DataFrame, images: np.ndarray, about: str) -> str:
    """An HTML file that needs no other: the rows of `table` (m), each with its picture.

    images: (m, S, S, 3) uint8. about: what the cells are, above the table. Text is escaped.
    """
    shown = table.map(lambda value: html(str(value))).rename(columns=html)
    shown["picture"] = [f'<img src="data:image/png;base64,{_png(image)}">' for image in images]
    body = shown.to_html(index=False, border=0, escape=False)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head = f"<!doctype html><meta charset='utf-8'>{policy}{STYLE}<p>{html(about)}</p>"
    return f"{head}{body}<script>{SORT}</script>"


def _png(image: np.ndarray) -> str:
    png = io.BytesIO()
    Image.fromarray(image).save(png, "png")
    return base64.b64encode(png.getvalue()).decode()
