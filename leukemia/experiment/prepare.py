"""From options to an experiment: everything that can be checked before a run starts.

    experiment, cells = prepare(ExperimentOptions(data="sample", technique="weighted"))

`cache` is always the folder for decoded cells and the like, `cache_folder()` unless given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from leukemia import techniques
from leukemia.cells import Cells
from leukemia.data import near_duplicates
from leukemia.data.cache import cache_folder
from leukemia.data.geometry import Geometry
from leukemia.data.index import Index, open_index
from leukemia.data.near_duplicates import Pair
from leukemia.data.options import RESIZE
from leukemia.data.store import decode, differ_in_size, key, load_cells
from leukemia.errors import UserError
from leukemia.experiment.config import Experiment, ExperimentConfig
from leukemia.experiment.options import ExperimentOptions
from leukemia.model import keras_json
from leukemia.model.classifier import ModelConfig, check
from leukemia.model.precision import resolved
from leukemia.model.schedule import schedule_for
from leukemia.report import Progress, unwatched
from leukemia.splits import OF_THESIS
from leukemia.splits.protocol import split

COMPARED = 210  # pixels a side at which whole pictures are compared


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The cells of a data set and what was learned by looking at all of them.

    cells: in the index's order, with linked subjects under one name. pairs: near-identical cells.
    """

    index: Index
    cells: Cells
    pairs: tuple[Pair, ...]


def prepare(
    options: ExperimentOptions, cache: Path | None = None, progress: Progress = unwatched
) -> tuple[Experiment, Cells]:
    """The experiment that the options ask for and its cells, ready for `run`.

    Raises:
        UserError: the data cannot be read or split so, or an option has no such value.
    """
    keras_json.check()
    config = resolve(options)
    check(config.model)
    gathered = gather(options, cache, progress)
    index, cells = gathered.index, gathered.cells
    splits = split(
        index, cells.subjects, config.protocol, config.split_seed, config.fold, config.folds
    )
    experiment = Experiment(
        index=index, subjects=cells.subjects, pairs=gathered.pairs, split=splits, config=config
    )
    return experiment, cells


def gather(
    options: ExperimentOptions,
    cache: Path | None = None,
    progress: Progress = unwatched,
    *,
    read_all: bool = False,
) -> Gathered:
    """The cells of a data set, decoded and compared with each other.

    read_all: read every file, also those that are remembered as unchanged.

    Raises:
        UserError: nothing of the kind is there, or what is there cannot be read.
    """
    cache = cache or cache_folder()
    index = opened(options, None if read_all else cache, progress)
    geometry = options.geometry
    cells = load_cells(index, geometry, cache, progress("decoding cells"))
    pairs = _alike(index, geometry, cache, progress)
    digests = index.frame["sha256"].to_numpy(str)
    subjects = near_duplicates.joined_subjects(cells.subjects, digests, pairs)
    return Gathered(index=index, cells=replace(cells, subjects=subjects), pairs=pairs)


def _alike(index: Index, geometry: Geometry, cache: Path, progress: Progress) -> tuple[Pair, ...]:
    """The near-identical cells: by the windows that are cut out, and where images differ in size by
    whole pictures too, since of a copy in another size the window shows another part.

    Windows are compared as large as they are: made small, different cells come near each other, and
    who is linked with whom must not depend on what the classifier sees.
    """
    looks = [replace(geometry, size=0) if geometry.crop else geometry]
    if geometry.crop and differ_in_size(index):
        looks.append(Geometry(crop=0, size=COMPARED, fit=RESIZE, depth=geometry.depth))
    found: dict[tuple[int, int], Pair] = {}
    for look in looks:
        images = decode(index, look, cache, progress("decoding cells to compare"))
        told = progress("comparing cells")
        for pair in near_duplicates.remembered(images, key(index, look), cache, told):
            found.setdefault((pair.first, pair.second), pair)
    return tuple(found[rows] for rows in sorted(found))


def opened(
    options: ExperimentOptions, cache: Path | None = None, progress: Progress = unwatched
) -> Index:
    """The index of the cells that are asked for; every file is read where there is no cache."""
    reading = progress("reading files")
    return open_index(Path(options.data), options.of_data, cache, reading)


def resolve(options: ExperimentOptions) -> ExperimentConfig:
    """The config that decides the outcome: what was left open follows protocol and budget.

    Raises:
        UserError: there is no such technique, setting or budget, or a setting is out of range.
    """
    technique, as_thesis = techniques.load(options.technique), options.protocol in OF_THESIS
    budget = _unless_auto(options.budget, "thesis" if as_thesis else "equal")
    geometry = options.geometry
    return ExperimentConfig(
        name=options.technique,
        technique=technique,
        settings=_settings(technique, budget, options),
        protocol=options.named_protocol,
        split_seed=options.seed_of_split,
        fold=options.fold,
        folds=options.folds,
        budget=budget,
        schedule=schedule_for(budget, technique),
        geometry=geometry,
        model=ModelConfig(
            backbone=options.backbone,
            weights=options.backbone_weights,
            scaling=_unless_auto(options.scaling, "unit" if as_thesis else "imagenet"),
            size=geometry.side,
            precision=resolved(options.precision),
        ),
        seed=options.seed,
        batch_size=options.batch_size,
        sensitivity=options.sensitivity,
    )


def _unless_auto(value: str, default: str) -> str:
    return default if value == "auto" else value


def _settings(technique: ModuleType, budget: str, options: ExperimentOptions) -> Any:
    given: Mapping[str, Any] = options.settings
    known = [each.name for each in fields(technique.Settings)]
    for name in given:
        if name not in known:
            raise UserError(
                f"technique {options.technique} has no setting '{name}': choose from "
                f"{', '.join(known) or 'none'}"
            )
    return replace(techniques.defaults(technique, budget), **given)
