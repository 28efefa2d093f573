"""Techniques against class imbalance, one file each: a file here IS a technique.

A technique's module has a docstring (what it does, the paper, when it is wrong), a frozen
keyword-only dataclass `Settings` whose fields are the options of its entry point, and

    balance(train: Cells, settings: Settings, context: TechniqueContext) -> TrainingSet

which sees training cells only and changes none of them; `leukemia.contract` has all that it may
say. It may also have `THESIS`, its row of the thesis' table as a Schedule, and `AS_THESIS` and
`QUICK`, the settings that replace its defaults under the budgets `thesis` and `quick`. A file
without a function `balance` is a helper of others.
"""

import ast
import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from leukemia.errors import UserError


@cache
def names() -> tuple[str, ...]:
    """The techniques that exist, in alphabetical order; no file is run to find out."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(file.stem for file in files if file.stem != "__init__" and _balances(file))


def load(name: str) -> ModuleType:
    """The module of a technique.

    Raises:
        UserError: no file of that name is here, or it has no Settings.
    """
    if name not in names():
        raise UserError(f"there is no technique '{name}': choose one of {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    if not hasattr(module, "Settings"):
        raise UserError(
            f"leukemia/techniques/{name}.py has a function balance but no dataclass Settings; add "
            f"one, empty where there is nothing to set"
        )
    return module


def defaults(technique: ModuleType, budget: str) -> Any:
    """The technique's Settings under a budget: its own defaults, and what the budget replaces."""
    name = {"thesis": "AS_THESIS", "quick": "QUICK"}.get(budget, "")
    return replace(technique.Settings(), **getattr(technique, name, {}))


def _balances(file: Path) -> bool:
    """Whether a file defines a function `balance`; one that cannot be read as Python does too, so
    that loading it says what is wrong."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError:
        return True
    return any(isinstance(each, ast.FunctionDef) and each.name == "balance" for each in tree.body)
