"""Cures for class imbalance, one file each: a file here IS a technique.

A technique module has a docstring (what it does, the paper, when it is wrong), a frozen
dataclass `Settings` whose fields are the options of its entry point, and

    balance(train: Cells, settings: Settings, rng: np.random.Generator, report: Report)
        -> TrainingSet

which sees training cells only, changes none of them and takes none away. It may also have
`THESIS`, its row of the thesis' table as a Schedule, and `QUICK`, the settings that replace
its defaults under the budget `quick`.
"""

import importlib
import pkgutil
from dataclasses import field, replace
from types import ModuleType
from typing import Any

from leukemia.errors import UserError


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
    """The technique's Settings under a budget: its own defaults, or QUICK's where it has them."""
    quick = getattr(technique, "QUICK", {}) if budget == "quick" else {}
    return replace(technique.Settings(), **quick)


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A field of a technique's Settings with the text that `--help` prints.

    choices: the values that the option takes.
    artifact: the option takes a run ID, and the technique is given the path of this
        artifact of that run instead (downloaded by whoever starts the experiment).
    """
    return field(default=default, metadata={"help": help, **metadata})
