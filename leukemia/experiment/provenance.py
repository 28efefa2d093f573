"""Where a result came from: code, environment and machine, as they were."""

import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, errors="replace"
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
