"""A tracking server that is away in the middle of a training, or longer than it lasts.

    python -m tests.faults.outage [--minutes 20] [--backbone resnet50 --image-size 64 --cells 600]

One training is left alone. In the middle of a second the server is killed, and started again after
so many minutes; a training that ends before waits, then says what it could not send. In a third
it stays away until the training has ended, and `leukemia sync` sends the rest. All three must leave
the same weights, history, predictions, figures and files. A line each; exit code 1 where anything
differs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from leukemia.tracking import UNSENT
from tests.faults import trainings
from tests.service import free_port

KINDS = ("in the middle", "outlasting")
BIN = Path(sys.executable).parent


@dataclass(kw_only=True)
class Server:
    """MLflow's server on a folder: killed and started again at the same address."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Start it, and wait until it answers."""
        words = [
            str(BIN / "mlflow"), "server", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder.absolute()}/mlflow.db",
            "--artifacts-destination", str(self.folder.absolute() / "artifacts"),
        ]  # fmt: skip
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )  # fmt: skip
        while self.process.poll() is None:
            with suppress(requests.RequestException):
                if requests.get(f"{self.address}/health", timeout=2).ok:
                    return
            time.sleep(0.3)
        raise SystemExit(f"Error: the server did not start; see {self.folder}/server.log")

    def kill(self) -> None:
        """As a power cut does."""
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server of its own for the block."""
    folder.mkdir()
    server = Server(folder=folder)
    try:
        server.up()
        yield server
    finally:
        server.kill()


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
            whole, files = trainings.left(server.address), trainings.count_of_files(server.address)
        length = time.monotonic() - start
        print(f"undisturbed: {length:.0f} s, {files} files", flush=True)
        after = asked.after or length / 3
        return sum(_tried(base, kind, asked, whole, after) for kind in asked.kinds.split(","))


def _tried(
    base: Path, kind: str, asked: argparse.Namespace, whole: trainings.Left, after_s: float
) -> bool:
    """One training with an outage: print how it went, and say whether anything differs."""
    with serving(base / kind.replace(" ", "_")) as server:
        training = _train(server, asked)
        time.sleep(after_s)
        server.kill()
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
        left, files = trainings.left(server.address), trainings.count_of_files(server.address)
    faults = left.differences(whole, 15.0)
    verdict = "; ".join(faults) or "the same, bit for bit"
    print(f"{kind}: away for {away:.0f} s; exit code {code}, {files} files: {verdict}\n"
          f"  costs, as shares: {trainings.shares(left.costs, whole.costs)}")  # fmt: skip
    for line in said:
        print(f"  {line}")
    sys.stdout.flush()
    return bool(faults)


def _train(server: Server, asked: argparse.Namespace) -> subprocess.Popen[bytes]:
    words = ["--data", str(server.folder.parent.absolute() / "sample"), *trainings.words(asked)]
    return trainings.entry(server.folder, server.address, "train", asked.technique, *words)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
