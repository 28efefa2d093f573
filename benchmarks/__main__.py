"""Every comparison in one go: `make bench`, or `python -m benchmarks stage_one decoding`.

Writes a Markdown and a JSON table (median, least and most seconds, how many times as fast,
share of the machine's own ceiling, largest memory, versions) into a folder.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import harness
from leukemia.experiment.provenance import processor

JOBS = ["stage_one", "fine_tune", "fine_tune_fixed", "inference", "adasyn", "adasyn_thesis",
        "augmentation", "gan_step", "decoding", "tracking", "one_cell", "memory",
        "startup", "study"]  # fmt: skip
TOLD = ["tensorflow", "keras", "openvino", "mlflow", "imbalanced-learn", "numpy"]
OF_PEERS = ["torch", "torchvision"]


def main() -> None:
    """Run the jobs, one after the other, and write what was measured after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", default=JOBS, help=f"of {', '.join(JOBS)}")
    parser.add_argument("--rounds", type=int, help="of each job, in place of its own number")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder for the tables")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    found: list[dict[str, Any]] = []
    for name in options.jobs:
        try:
            found.append(harness.run(name, options.rounds))
        except AssertionError as error:
            print(f"{name}: NOT THE SAME WORK: {error}", file=sys.stderr)
            found.append({"job": name, "refused": str(error)})
        text = table(found)
        (options.out / "table.md").write_text(text)
        record = {"machine": machine(), "versions": versions(), "jobs": found}
        (options.out / "table.json").write_text(json.dumps(record, indent=1))
    print(text)


def table(found: list[dict[str, Any]]) -> str:
    """The records as Markdown."""
    told = ", ".join(f"{name} {what}" for name, what in versions().items())
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {machine()}; {told}.",
        "",
        "| job | who | median s | least to most | times as fast | goal | of the ceiling | GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for record in found:
        if "refused" in record:
            lines.append(f"| {record['job']} | not the same work: {record['refused']} |||||||")
            continue
        lines += _rows(record)
        ceilings = record["ceilings"]
        notes.append(
            f"- {record['title']}: {record['same']}. Beside it the machine multiplied at "
            f"{ceilings['float32'] / 1e9:.0f} (float32) and {ceilings['bfloat16'] / 1e9:.0f} "
            f"(bfloat16) GFLOP/s and copied {ceilings['copy'] / 1e9:.0f} GB/s."
        )
    return "\n".join([*lines, "", *notes]) + "\n"


def _rows(record: dict[str, Any]) -> list[str]:
    rows, title = [], record["title"]
    peer = next(iter(record["seconds"]))
    for name, seconds in record["seconds"].items():
        median = statistics.median(seconds)
        goals = [_goal(goal, peer) for goal in record["goals"] if goal["ours"] == name]
        precision = record["precision"].get(name)
        share = "-"
        if precision:
            share = f"{record['work'][name] / median / record['ceilings'][precision]:.0%}"
        times = f"{harness.ratio(record['seconds'], name, peer):.2f}" if record["goals"] else "-"
        rows.append(
            f"| {title} | {name} | {_digits(median)} | {_digits(min(seconds))} to "
            f"{_digits(max(seconds))} | {times} | {'; '.join(goals) or '-'} | "
            f"{share} | {record['peak_gib'][name]:.2f} |"
        )
        title = ""
    return rows


def _goal(goal: dict[str, Any], peer: str) -> str:
    """The goal, beside the times as fast as `peer`; what was reached against another is said."""
    told = f"{goal['times']:g}"
    if goal["peer"] != peer:
        told += f" times {goal['peer']}: {goal['reached']:.2f}"
    return told if goal["reached"] >= goal["times"] else f"{told}, **falls short**"


def _digits(seconds: float) -> str:
    """Three, or all that stand before the point."""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def machine() -> str:
    """Processor, cores and system."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}"


def versions() -> dict[str, str]:
    """Of what was measured."""
    found = {"python": platform.python_version(), **{name: version(name) for name in TOLD}}
    if harness.PEERS.exists():
        code = f"from importlib.metadata import version; print(*map(version, {OF_PEERS}))"
        said = subprocess.run([harness.PEERS, "-c", code], capture_output=True, text=True)
        found |= dict(zip(OF_PEERS, said.stdout.split(), strict=False))
    return found


if __name__ == "__main__":
    main()
