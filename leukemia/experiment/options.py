"""What a user chooses of an experiment, and the one home of its defaults.

Importing this costs nothing: the commands take their defaults from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leukemia.data.options import AUTO, CROP, GROUNDS, KNOWN, STAINS, UNKNOWN, DataOptions
from leukemia.errors import UserError
from leukemia.splits import FOLDS, IMAGE, SUBJECT

if TYPE_CHECKING:  # it loads NumPy and Pillow, and this is to cost nothing
    from leukemia.data.geometry import Geometry

OF_TECHNIQUE = ("technique", "settings")
SEEDS = 2**32  # as many as NumPy takes


@dataclass(frozen=True, kw_only=True)
class ExperimentOptions:
    """An experiment as it is asked for; `prepare.resolve` fills in what is left open.

    data: a folder of cells, an archive, a table or a .npz file.
    technique: a file of leukemia/techniques. settings: its own settings, by name; those that are
        not named follow the budget.
    source, positive, negative, class_names, subject, subjects, columns, join, strict_paths: how the
        data are read, as DataOptions has them.
    protocol, split_seed, fold, folds: which cell is in which split; split_seed `auto`: as seed.
    seed: decides weights, order and synthetic cells.
    budget: `thesis`, `equal` or `quick`; `auto`: `equal`, and `thesis` under the thesis' protocols.
    image_size: side in pixels that the classifier sees. crop: side of the centred window that is
        kept of an image, 0 for the whole image. fit, background, depth, stain: as Geometry has
        them.
    backbone, backbone_weights, scaling, precision: as ModelConfig has them; scaling `auto`:
        `imagenet`, and `unit` under the thesis' protocols.
    batch_size: cells a step.
    sensitivity: in (0, 1], what the operating threshold is to reach on validation cells.

    Raises:
        UserError: a number is out of its range.
    """

    data: str | Path
    technique: str = "baseline"
    source: str = AUTO
    positive: str = AUTO
    negative: str = AUTO
    class_names: str = ""
    subject: str = ""
    subjects: str = KNOWN
    columns: str = ""
    join: str = ""
    strict_paths: bool = False
    protocol: str = SUBJECT
    seed: int = 0
    split_seed: int | str = "auto"
    fold: int = 0
    folds: int = FOLDS
    budget: str = "auto"
    image_size: int = 210
    crop: int = 210
    fit: str = CROP
    background: str = GROUNDS[0]
    depth: int = 0
    stain: str = STAINS[0]
    backbone: str = "resnet50"
    backbone_weights: str = "auto"
    scaling: str = "auto"
    precision: str = "auto"
    batch_size: int = 32
    sensitivity: float = 0.95
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_seed("seed", self.seed)
        if self.split_seed != "auto":
            _check_seed("split_seed", self.split_seed)
        if self.batch_size < 1:
            raise UserError(f"batch_size {self.batch_size}: give 1 cell or more a step")
        if not 0 < self.sensitivity <= 1:
            raise UserError(f"sensitivity {self.sensitivity} is not above 0 and at most 1")

    @property
    def of_data(self) -> DataOptions:
        """How the data are to be read."""
        return DataOptions(**{each.name: getattr(self, each.name) for each in fields(DataOptions)})

    @property
    def geometry(self) -> "Geometry":
        """How the images become squares of pixels.

        Raises:
            UserError: a number or a name is none of those that there are.
        """
        from leukemia.data.geometry import Geometry

        return Geometry(
            crop=self.crop,
            size=self.image_size,
            fit=self.fit,
            background=self.background,
            depth=self.depth,
            stain=self.stain,
        )

    @property
    def named_protocol(self) -> str:
        """The protocol; `image` in place of `subject` where the subjects are unknown."""
        unknown = self.subjects == UNKNOWN and self.protocol == SUBJECT
        return IMAGE if unknown else self.protocol

    @property
    def seed_of_split(self) -> int:
        """The split's seed: its own, or that of all else."""
        return self.seed if self.split_seed == "auto" else int(self.split_seed)

    def shared(self) -> dict[str, Any]:
        """The options that every technique has: all but the technique and its settings."""
        own = ("technique", "settings")
        return {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in own
        }


def _check_seed(name: str, value: object) -> None:
    if not (isinstance(value, Integral) and 0 <= int(value) < SEEDS):
        or_auto = " or auto" * (name == "split_seed")
        raise UserError(f"{name} {value!r}: expected a whole number from 0 to {SEEDS - 1}{or_auto}")
