"""The first decode of 10,661 BMP files of 450 px and every later start."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

FILES, SIDE, CROP = 10_661, 450, 210
DIFFERENT = 64  # drawn images; the files are copies under other names, and no digest is shared


def prepare(folder: Path) -> Run:
    """A table of BMP files, each with a pixel of its own."""
    from PIL import Image

    from leukemia.data.drawing import draw_cell, draw_style

    rng = np.random.default_rng(0)
    style = draw_style(rng)
    canvas = np.zeros((DIFFERENT, SIDE, SIDE, 3), np.uint8)
    for image in canvas:
        margin = (SIDE - CROP) // 2
        image[margin : margin + CROP, margin : margin + CROP] = draw_cell(rng, True, style, CROP)
    files = folder / "files"
    files.mkdir()
    lines = ["path,label,subject"]
    for number in range(FILES):
        image = canvas[number % DIFFERENT]
        image[SIDE // 2, SIDE // 2] = np.frombuffer(number.to_bytes(3, "big"), np.uint8)
        Image.fromarray(image).save(files / f"{number}.bmp")
        lines.append(f"{number}.bmp,{'all' if number % 2 else 'hem'},s{number % 60}")
    (files / "index.csv").write_text("\n".join(lines) + "\n")
    return lambda: None


def load_img(folder: Path) -> Run:
    """A list of Keras' load_img and img_to_array, as the thesis' code and tutorials have it."""
    import keras

    paths = [folder / "files" / f"{number}.bmp" for number in range(FILES)]
    margin = (SIDE - CROP) // 2

    def run() -> None:
        arrays = []
        for path in paths:
            image = keras.utils.img_to_array(keras.utils.load_img(path), dtype="uint8")
            arrays.append(image[margin : margin + CROP, margin : margin + CROP])
        np.save(folder / "list.npy", np.stack(arrays))

    return run


def first(folder: Path) -> Run:
    """This project's, nothing decoded yet; finding and hashing the files is part of it."""
    import shutil

    def run() -> None:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        _load(folder)

    return run


def later(folder: Path) -> Run:
    """This project's, decoded before."""

    def run() -> int:
        return int(_load(folder).images[::1000].sum())

    return run


def _load(folder: Path) -> Any:
    from leukemia.data.geometry import Geometry
    from leukemia.data.index import open_index
    from leukemia.data.store import load_cells

    index = open_index(folder / "files", cache=folder / "cache")
    cells = load_cells(index, Geometry(crop=CROP), folder / "cache")
    if not (folder / "ours.npy").exists():
        order = [int(Path(name).stem) for name in cells.cell_id]
        np.save(folder / "ours.npy", cells.images[np.argsort(order)])
    return cells


def check(folder: Path) -> str:
    """The same pixels."""
    ours, theirs = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ours", "list"))
    assert ours.shape == theirs.shape
    for start in range(0, FILES, 1000):
        assert np.array_equal(ours[start : start + 1000], theirs[start : start + 1000])
    return f"the same pixels of {FILES:,} files"


JOB = Job(
    f"Decoding {FILES:,} BMP files of {SIDE} px, cropped to {CROP}",
    {
        "list of load_img": Contender("load_img"),
        "ours, first time": Contender("first"),
        "ours, every later start": Contender("later"),
    },
    (
        Goal("ours, first time", "list of load_img", 3.0),
        Goal("ours, every later start", "list of load_img", 20.0),
    ),
    3,
    check,
)
