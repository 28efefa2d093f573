"""Where a result came from: code, environment and machine, as they were."""

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from leukemia.data.cache import checkout

PACKAGE = Path(__file__).resolve().parents[1]
# What a run's figures depend on. Who ranks, tracks, registers, serves or launches runs changes
# none of them, so the other rooms may change without a study being trained again.
DECISIVE = (
    "text",
    "data",
    "splits",
    "evaluation",
    "model",
    "gan",
    "synthetic",
    "techniques",
    "experiment",
)


@dataclass(frozen=True, kw_only=True)
class Code:
    """The checkout's commit ("" outside git) and what was changed since, as a diff."""

    commit: str
    diff: str

    @property
    def dirty(self) -> bool:
        """Whether the code differs from its commit."""
        return bool(self.diff)


@cache  # asked for every run of a study, and the code that runs was read when it began
def code_digest(package: Path = PACKAGE) -> str:
    """SHA-256 of the sources that decide a run's figures: paths in the package and contents.

    A checkout, a wheel and an image of the same version have the same digest.
    """
    digest = hashlib.sha256()
    for path in sources(package):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def sources(package: Path = PACKAGE) -> list[Path]:
    """The Python files at the package's root and in the DECISIVE rooms, in a stable order."""
    rooms = [package.glob("*.py"), *((package / room).rglob("*.py") for room in DECISIVE)]
    return sorted(path for room in rooms for path in room)


@cache
def code() -> Code:
    """The state of the checkout; files that git does not know are named in the diff's head."""
    commit = _git("rev-parse", "HEAD").strip()
    if not commit:
        return Code(commit="", diff="")
    unknown = _git("ls-files", "--others", "--exclude-standard", "--", "*.py", "MLproject")
    heads = "".join(f"# not in git: {name}\n" for name in unknown.splitlines())
    return Code(commit=commit, diff=heads + _git("diff", "HEAD", "--", "."))


def environment() -> str:
    """Python, machine and every installed package with its version, one a line."""
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()})
    head = [
        f"# python {platform.python_version()} on {platform.platform()}",
        f"# processor {processor()}, {os.cpu_count()} cores",
    ]
    return "\n".join([*head, *packages]) + "\n"


def _git(*words: str) -> str:
    """Git's answer about the checkout, "" where there is no git or no checkout."""
    root = checkout()
    if root is None:  # the repository that an environment may lie in is another one
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, errors="replace"
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def processor() -> str:
    """The processor's name, as the machine gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
