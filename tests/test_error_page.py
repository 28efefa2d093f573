"""Wrong calls as one page that needs no other file."""

import numpy as np
import pandas as pd

from leukemia.evaluation.error_page import page


def test_every_row_has_its_picture_inside_the_page() -> None:
    table = pd.DataFrame({"cell": ["a.bmp", "b.bmp"], "called": ["all", "hem"]})
    text = page(table, np.zeros((2, 32, 32, 3), np.uint8), "two cells")
    assert text.count("data:image/png;base64,") == 2
    assert text.index("a.bmp") < text.index("b.bmp")
    assert "://" not in text


def test_names_that_look_like_html_are_text() -> None:
    table = pd.DataFrame({"<script>alert(0)": ["<script>alert(1)</script>"]})
    text = page(table, np.zeros((1, 32, 32, 3), np.uint8), "<b>about</b>")
    assert "<script>alert" not in text
    assert "&lt;b&gt;about" in text
