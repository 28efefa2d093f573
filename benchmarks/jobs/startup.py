"""What a user waits for a help text, in seconds: no peer; the goal is 0.5 s."""

import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT, Contender, Job, Run


def help_texts(folder: Path) -> Run:
    """The slowest entry point's --help."""

    def run() -> dict[str, float]:
        import time

        spent = []
        for path in sorted((ROOT / "entrypoints").glob("*.py")):
            if "@click.command" not in path.read_text() and "@click.group" not in path.read_text():
                continue
            start = time.perf_counter()
            words = [sys.executable, "-m", f"entrypoints.{path.stem}", "--help"]
            subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
            spent.append(time.perf_counter() - start)
        return {"seconds": max(spent)}

    return run


JOB = Job(
    "--help of the slowest entry point (goal: under 0.5 s)",
    {"ours": Contender("help_texts")},
    (),
    3,
    lambda folder: "TensorFlow, MLflow and pandas are not loaded (a test)",
)
