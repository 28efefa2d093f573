"""Where decoded cells, digests, features and unfinished work are kept between runs."""

import os
import sys
from pathlib import Path

NAME = "leukemia"


def checkout() -> Path | None:
    """The checkout that this package runs from, None if it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def cache_folder() -> Path:
    """LEUKEMIA_CACHE, else `.cache` in the checkout, else the user's own cache folder."""
    if asked := os.environ.get("LEUKEMIA_CACHE"):
        return Path(asked)
    root = checkout()
    return root / ".cache" if root else _of_user() / NAME


def _of_user() -> Path:
    """The folder that this kind of system keeps a user's caches in."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
