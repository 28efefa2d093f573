"""One cell of 210 px, asked of a warm server over HTTP, against `mlflow models serve` as it comes.

The peer is sent the decoded pixels as JSON, as MLflow's documentation shows; this project's server
is sent the image file, and decodes it. The seconds are the median of a round's requests.
"""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Contender, Goal, Job, Run

REQUESTS = 100  # a round
NEAR = 1e-2  # the most that the probability may differ
MODEL = "models:/leukemia-classifier@champion"


def prepare(folder: Path) -> Run:
    """A registered ResNet-50, trained for a moment on drawn cells."""
    data = str(folder / "sample")
    command(folder, "sample", "--cells", "72", "--subjects", "18", "--out", data)
    command(folder, "train", "baseline", "--data", data, "--budget", "quick",
             "--backbone-weights", "none")  # fmt: skip
    command(folder, "register", "--waive", "all")
    return lambda: None


def mlflow_serve(folder: Path) -> Run:
    """MLflow's own server and JSON."""
    from leukemia.data.decoding import read_image
    from leukemia.data.geometry import Geometry

    words = ["mlflow", "models", "serve", "-m", MODEL, "--env-manager", "local"]
    address = serve(folder, words, "ping")
    pixels = read_image(first_cell(folder), Geometry())[None].tolist()

    def ask(session) -> float:
        answer = session.post(f"{address}/invocations", json={"inputs": pixels}, timeout=60)
        return answer.json()["predictions"][0][0]

    return _asking(folder / "mlflow.npy", ask)


def ours(folder: Path) -> Run:
    """This project's server and the file itself."""
    address = serve(folder, ["entrypoints.serve"], "health")
    content = first_cell(folder).read_bytes()

    def ask(session) -> float:
        answer = session.post(f"{address}/cells", files={"files": content}, timeout=60)
        return answer.json()[0]["probability"]

    return _asking(folder / "ours.npy", ask)


def _asking(path: Path, ask: Callable) -> Run:
    import requests

    session = requests.Session()
    spent: list[float] = []

    def run() -> dict[str, float]:
        of_round = []
        for _ in range(REQUESTS):
            start = time.perf_counter()
            probability = ask(session)
            of_round.append(time.perf_counter() - start)
        spent.extend(of_round)
        np.save(path, [probability, *spent])
        return {"seconds": float(np.median(of_round))}

    for _ in range(5):  # warm
        ask(session)
    return run


def first_cell(folder: Path) -> Path:
    """A drawn cell's file."""
    return sorted((folder / "sample").rglob("*.bmp"))[0]


def command(folder: Path, name: str, *words: str) -> None:
    """Run an entry point in the folder's project."""
    subprocess.run(
        [sys.executable, "-m", f"entrypoints.{name}", *words],
        cwd=folder,
        env=environment(folder),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def serve(folder: Path, words: list[str], sign: str) -> str:
    """Start a server, ended with this process; its address once `sign` answers."""
    from tests.service import free_port, wait_for

    port, log = free_port(), folder / f"{sign}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "--port", str(port)],
            cwd=folder,
            env=environment(folder),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    atexit.register(os.killpg, process.pid, signal.SIGKILL)
    wait_for(f"http://127.0.0.1:{port}/{sign}", process, log)
    return f"http://127.0.0.1:{port}"


def environment(folder: Path) -> dict[str, str]:
    """Where the folder's project keeps its runs and its cache."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
    }


def check(folder: Path) -> str:
    """The same probability, and how long the slowest requests took."""
    (theirs, *slow), (mine, *quick) = (np.load(folder / f"{n}.npy") for n in ("mlflow", "ours"))
    assert abs(theirs - mine) < NEAR, f"{theirs:.4f} and {mine:.4f}"
    told = [f"{1000 * np.percentile(each, 99):.0f} ms" for each in (slow, quick)]
    return f"probabilities {abs(theirs - mine):.1e} apart; 99 of 100 within {told[0]} and {told[1]}"


JOB = Job(
    "One cell of 210 px of a warm server",
    {"mlflow models serve": Contender("mlflow_serve"), "ours": Contender("ours")},
    (Goal("ours", "mlflow models serve", 2.0),),
    3,
    check,
)
