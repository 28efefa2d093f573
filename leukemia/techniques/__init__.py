"""Cures for class imbalance, one file each: a file here IS a technique.

A technique module has a docstring (what it does, the paper, when it is wrong), a frozen
dataclass `Settings` whose fields are the options of its entry point, and

    balance(train: Cells, settings: Settings, workshop: Workshop) -> TrainingSet

which makes cells of training cells only, changes none of them and takes none away. It may also have
`THESIS`, its row of the thesis' table as a Schedule, and `AS_THESIS` and `QUICK`, the settings
that replace its defaults under the budgets `thesis` and `quick`.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from leukemia.cells import Cells
from leukemia.errors import UserError
from leukemia.report import Report, silent


@dataclass(frozen=True)
class Workshop:
    """What a technique has at hand besides the training cells.

    rng: its only source of chance. report: whom it tells of its progress.
    unseen: the validation cells, to measure made cells against and never to make any of; None
        where the protocol has shown the technique every cell.
    features: images (n, S, S, 3) uint8 -> (n, d) float32, pooled features of the network that
        `network` names; None where there is none.
    about: what figures here are measured on, for whoever looks at them.
    folder: where unfinished work lies so that it can go on; None: it cannot.
    """

    rng: np.random.Generator
    report: Report = silent
    unseen: Cells | None = None
    features: Callable[[np.ndarray], np.ndarray] | None = None
    network: str = ""
    about: str = ""
    folder: Path | None = None


def names() -> list[str]:
    """The techniques that exist, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """The module of a technique.

    Raises:
        UserError: no file of that name is here.
    """
    if name not in names():
        raise UserError(f"there is no technique '{name}': choose one of {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}")


def defaults(technique: ModuleType, budget: str) -> Any:
    """The technique's Settings under a budget: its own defaults, and what the budget replaces."""
    name = {"thesis": "AS_THESIS", "quick": "QUICK"}.get(budget, "")
    return replace(technique.Settings(), **getattr(technique, name, {}))


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A field of a technique's Settings with the text that `--help` prints.

    choices: the values that the option takes.
    artifact: the option takes a run ID, and the technique is given the path of this
        artifact of that run instead (downloaded by whoever starts the experiment).
    """
    return field(default=default, metadata={"help": help, **metadata})
