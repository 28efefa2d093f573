"""Which files of a tree are images, and why the others are left out."""

from leukemia.data.decoding import ENDINGS
from leukemia.data.drawn import MARKERS
from leukemia.data.trees import Tree, left_by_systems

OF_SYSTEMS = "as systems leave them behind"
NOT_IMAGES = "no images"
LINKS = "links to what is there already or to nothing"


def is_image(path: str) -> bool:
    """Whether a file's name is that of an image that can be read."""
    return path.lower().endswith(ENDINGS)


def sorted_out(tree: Tree) -> tuple[list[str], dict[str, list[str]]]:
    """The images of a tree, and why -> its other files; the mark of drawn cells is neither."""
    images: list[str] = []
    left_out: dict[str, list[str]] = {OF_SYSTEMS: [], NOT_IMAGES: []}
    for path in tree.files:
        if left_by_systems(path):
            left_out[OF_SYSTEMS].append(path)
        elif is_image(path):
            images.append(path)
        elif path.rsplit("/", 1)[-1] not in MARKERS:
            left_out[NOT_IMAGES].append(path)
    left_out[LINKS] = tree.passed_over
    return images, left_out
