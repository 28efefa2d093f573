"""A tracking server that is away in the middle of a training, or longer than it lasts.

    python -m tests.faults.outage [--minutes 20] [--backbone resnet50 --image-size 64 --cells 600]

One training is left alone. In the middle of a second the server is killed, and started again after
so many minutes; a training that ends before waits, then says what it could not send. In a third
it stays away until the training has ended, and `leukemia sync` sends the rest. All three must leave
the same weights, history, predictions, figures and files. A line each; exit code 1 where anything
differs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leukemia.tracking import UNSENT
from tests.faults import trainings
from tests.service import MlflowServer

KINDS = ("in the middle", "outlasting")


@contextmanager
def serving(folder: Path) -> Iterator[MlflowServer]:
    """A server of its own for the block."""
    folder.mkdir()
    server = MlflowServer(folder)
    try:
        server.up()
        yield server
    finally:
        server.down()


def main() -> int:
    """The number of outages after which something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default, text in (
        ("minutes", 20.0, "that the server is away"),
        ("after", 0.0, "seconds of training until then; 0: a third of an undisturbed one"),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, help=text)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of outage, with commas")
    parser.add_argument("--technique", default="baseline", help="that is trained")
    parser.add_argument("--out", default="", help="folder that is kept; none: a temporary one")
    trainings.add_options(parser)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outage-") as made:
        base = Path(asked.out or made)
        trainings.sample(base, asked.cells)
        start = time.monotonic()
        with serving(base / "whole") as server:
            _train(server, asked).wait()
            whole = trainings.left(server.address)
        length = time.monotonic() - start
        print(f"undisturbed: {length:.0f} s, {whole.files} files", flush=True)
        after = asked.after or length / 3
        return sum(_tried(base, kind, asked, whole, after) for kind in asked.kinds.split(","))


def _tried(
    base: Path, kind: str, asked: argparse.Namespace, whole: trainings.Left, after_s: float
) -> bool:
    """One training with an outage: print how it went, and say whether anything differs."""
    with serving(base / kind.replace(" ", "_")) as server:
        training = _train(server, asked)
        time.sleep(after_s)
        server.down()
        start = time.monotonic()
        if kind == "in the middle":
            with suppress(subprocess.TimeoutExpired):
                training.wait(60 * asked.minutes)
            time.sleep(max(0.0, 60 * asked.minutes - (time.monotonic() - start)))
        else:
            training.wait()
        away = time.monotonic() - start
        server.up()
        code = training.wait()
        said = (server.folder / "errors.txt").read_text().splitlines()
        if code == UNSENT:
            sync = trainings.entry(server.folder, server.address, "sync", errors="sync.txt")
            said += [f"sync: exit code {sync.wait()}"]
            said += (server.folder / "sync.txt").read_text().splitlines()
        left = trainings.left(server.address)
    faults = left.differences(whole, 15.0)
    verdict = "; ".join(faults) or "the same, bit for bit"
    print(f"{kind}: away for {away:.0f} s; exit code {code}, {left.files} files: {verdict}\n"
          f"  costs, as shares: {trainings.shares(left.costs, whole.costs)}")  # fmt: skip
    for line in said:
        print(f"  {line}")
    sys.stdout.flush()
    return bool(faults)


def _train(server: MlflowServer, asked: argparse.Namespace) -> subprocess.Popen[bytes]:
    words = ["--data", str(server.folder.parent.absolute() / "sample"), *trainings.words(asked)]
    return trainings.entry(server.folder, server.address, "train", asked.technique, *words)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
