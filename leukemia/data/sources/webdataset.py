"""WebDataset shards: TAR archives in which files of one name belong together.

`000012.jpg` is the picture, `000012.cls` its class or `000012.json` its label and subject. Read
without being unpacked.

Source: the WebDataset format, github.com/webdataset/webdataset.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from leukemia.data.names import shortened
from leukemia.data.options import DataOptions
from leukemia.data.sources import COLUMNS, Listing
from leukemia.data.sources.images import is_image, sorted_out
from leukemia.data.trees import TarTree, Tree, left_by_systems
from leukemia.errors import UserError

NAME = "webdataset"
LABELS = (".cls", ".json")
UNLABELLED = "with no .cls or .json beside them"


class ShardTree(Tree):
    """The files of several TAR archives in a folder, as `shard.tar/file`."""

    def __init__(self, root: Path, shards: list[str]):
        super().__init__(root)
        self._shards = {shard: TarTree(root / shard) for shard in shards}

    def open(self, path: str) -> BinaryIO:
        """As of `Tree`."""
        shard, _, inside = path.partition(".tar/")
        return self._shards[f"{shard}.tar"].open(inside)

    def _listed(self) -> Iterator[str]:
        for shard, tree in self._shards.items():
            yield from (f"{shard}/{path}" for path in tree.files)


def shards(tree: Tree) -> Tree:
    """The tree itself, or of a folder of TAR archives their files."""
    archives = [path for path in tree.files if path.lower().endswith(".tar")]
    others = [path for path in tree.files if path not in archives and not left_by_systems(path)]
    if not archives or any(is_image(path) for path in others):
        return tree
    return ShardTree(tree.root, archives)


def read(tree: Tree, asked: DataOptions) -> Listing | None:
    """The pictures that have a label beside them; None where none has.

    Raises:
        UserError: a label cannot be read, or some pictures have a subject and others none.
    """
    beside = {path for path in tree.files if path.lower().endswith(LABELS)}
    images, left_out = sorted_out(tree)
    if not any(_label_of(path, beside) for path in images):
        return None
    rows = []
    left_out[UNLABELLED] = []
    for path in images:
        if file := _label_of(path, beside):
            label, subject = _told(tree.read(file), f"{tree.root}: {file}")
            rows.append((path, label, subject, ""))
        else:
            left_out[UNLABELLED].append(path)
    left_out["no images"] = [path for path in left_out["no images"] if path not in beside]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    without = frame["path"][frame["subject"] == ""]
    if 0 < len(without) < len(frame) and not asked.subject:
        raise UserError(
            f"{tree.root}: {shortened(without.iloc[0])} has no subject ({len(without)} of "
            f"{len(frame)}); give all of them one"
        )
    return Listing(
        source=NAME, frame=frame, tree=tree, subjects=len(without) == 0, left_out=left_out
    )


def _label_of(path: str, beside: set[str]) -> str | None:
    """The file with the label of a picture: its name ends at the first point."""
    folder, slash, name = path.rpartition("/")
    key = f"{folder}{slash}{name.split('.')[0]}"
    return next((key + ending for ending in LABELS if key + ending in beside), None)


def _told(content: bytes, name: str) -> tuple[str, str]:
    """(label, subject) of a .cls or .json file."""
    try:
        text = content.decode("utf-8").strip()
        if not name.endswith(".json"):
            return text, ""
        said = json.loads(text)
        return str(said["label"]), str(said.get("subject", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{name}: no label ({error!r}); expected a class, or JSON with label and subject"
        ) from error
