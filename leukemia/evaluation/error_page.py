"""The cells that were called wrongly as one HTML file: a table with pictures, sorted by a click.

MLflow's own table shows four such rows a page and takes seconds and two files a picture to log.
"""

import base64
import html
import io

import numpy as np
import pandas as pd
from PIL import Image

STYLE = """<style>
body { font: 14px sans-serif; margin: 12px } table { border-collapse: collapse }
th { position: sticky; top: 0; background: #fff; text-align: left; cursor: pointer }
td, th { padding: 4px 24px 4px 0; border-bottom: 1px solid #ddd } img { height: 112px }
</style>"""
# A click on a heading sorts by it, a second one the other way round.
SORT = """<script>
document.querySelectorAll("th").forEach((head, n) => head.onclick = () => {
  const body = document.querySelector("tbody"), text = row => row.cells[n].innerText;
  const way = head.up = head.up === 1 ? -1 : 1;
  body.append(...[...body.rows].sort(
    (a, b) => way * text(a).localeCompare(text(b), "en", {numeric: true})));
});
</script>"""


def page(table: pd.DataFrame, images: np.ndarray, about: str) -> str:
    """An HTML file that needs no other: the rows of `table` (m), each with its picture.

    images: (m, S, S, 3) uint8. about: what the cells are, above the table. Text is escaped.
    """
    shown = table.map(lambda value: html.escape(str(value)))
    shown["picture"] = [f'<img src="data:image/png;base64,{_png(image)}">' for image in images]
    body = shown.to_html(index=False, border=0, escape=False)
    head = f"<!doctype html><meta charset='utf-8'>{STYLE}<p>{html.escape(about)}</p>"
    return f"{head}{body}{SORT}"


def _png(image: np.ndarray) -> str:
    png = io.BytesIO()
    Image.fromarray(image).save(png, "png")
    return base64.b64encode(png.getvalue()).decode()
