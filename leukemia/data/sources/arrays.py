"""Images in one .npz file: arrays `train_images`, `train_labels`, and so for val and test, as
BloodMNIST and its like have them, or `images` and `labels`.

Source: Yang et al., MedMNIST v2, Scientific Data 10, 2023.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from PIL import Image

from leukemia.data.names import some_of
from leukemia.data.options import DataOptions
from leukemia.data.sources import COLUMNS, Listing
from leukemia.data.trees import Tree
from leukemia.errors import UserError

NAME = "npz"
BLOODMNIST = "bloodmnist"
# Names of the numbers in sets whose file is called like them.
CLASSES = {
    BLOODMNIST: {
        "0": "basophil", "1": "eosinophil", "2": "erythroblast", "3": "immature granulocyte",
        "4": "lymphocyte", "5": "monocyte", "6": "neutrophil", "7": "platelet",
    }
}  # fmt: skip
ENDING = ".npz"
PARTS = {"train_": "train", "val_": "validation", "test_": "test", "": "images"}
SPLIT_OF = {"train": "train", "validation": "validation", "test": "test", "images": ""}


class ArrayTree(Tree):
    """The images of a .npz file as files: `train/00012.bmp`, which holds the pixels as they are."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.images: dict[str, np.ndarray] = {}
        self.labels: dict[str, np.ndarray] = {}
        self._load()

    def open(self, path: str) -> BinaryIO:
        """As of `Tree`."""
        part, _, name = path.rpartition("/")
        pixels = self.images[part][int(name.removesuffix(".bmp"))]
        if pixels.ndim == 3 and pixels.shape[-1] == 1:
            pixels = pixels[..., 0]
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "bmp")
        content.seek(0)
        return content

    def _listed(self) -> Iterator[str]:
        for part, images in self.images.items():
            for row in range(len(images)):
                yield f"{part}/{row:06d}.bmp"

    def _load(self) -> None:
        try:
            with self.root.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                names = file.files
                for prefix, part in PARTS.items():
                    if {f"{prefix}images", f"{prefix}labels"} <= set(names):
                        self.images[part] = file[f"{prefix}images"]
                        self.labels[part] = file[f"{prefix}labels"]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
            raise UserError(f"{self.root}: no whole .npz file ({error}); copy it anew") from error
        if not self.images:
            raise UserError(
                f"{self.root}: arrays {some_of(names) or 'none'}; expected train_images and "
                f"train_labels (and val_, test_), or images and labels"
            )
        for part, images in self.images.items():
            self.labels[part] = self.labels[part].reshape(-1)
            channels = images.shape[3:] if images.ndim == 4 else (1,) if images.ndim == 3 else ()
            if images.dtype != np.uint8 or channels not in ((1,), (3,)):
                raise UserError(
                    f"{self.root}: images of {part} are {images.dtype} of shape {images.shape}; "
                    f"expected uint8 of (n, height, width) or (n, height, width, 3)"
                )
            if len(images) != len(self.labels[part]):
                raise UserError(
                    f"{self.root}: {len(images)} images and {len(self.labels[part])} labels of "
                    f"{part}; write the file anew"
                )


def read_file(place: Path, asked: DataOptions) -> Listing:
    """The images of a .npz file; their classes are the labels' numbers or names.

    Raises:
        UserError: it has no such arrays, or holds Python objects.
    """
    tree = ArrayTree(place)
    like = next((name for name in CLASSES if place.name.lower().startswith(name)), NAME)
    source = asked.source if asked.source in CLASSES else like
    names = CLASSES.get(source, {})
    rows = [
        (f"{part}/{row:06d}.bmp", names.get(str(label), str(label)), "", SPLIT_OF[part])
        for part, labels in tree.labels.items()
        for row, label in enumerate(labels.tolist())
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return Listing(source=source, frame=frame, tree=tree, subjects=False)
