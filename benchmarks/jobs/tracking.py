"""Logging a run of 25 epochs, 16 metrics each, with pictures, to an MLflow server on loopback."""

import atexit
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, Goal, Job, Run

EPOCHS, METRICS, PICTURES, SIDE = 25, 16, 6, 400


def one_call_a_value(folder: Path) -> Run:
    """log_metric for each value and log_image for each picture, as MLflow's quickstart has it."""
    import mlflow

    _serve(folder / "peer")
    client = mlflow.MlflowClient()

    def run() -> None:
        with mlflow.start_run() as started:
            for epoch in range(1, EPOCHS + 1):
                for name, value in _values(epoch).items():
                    mlflow.log_metric(name, value, step=epoch)
            for name, picture in _pictures().items():
                mlflow.log_image(picture, f"{name}.png")
        _told(folder / "peer.txt", client, started.info.run_id)

    run()
    return run


def ours(folder: Path) -> Run:
    """This project's logbook."""
    import mlflow

    from leukemia.tracking import connection
    from leukemia.tracking.logbook import Logbook
    from leukemia.tracking.resumable import resumable_run

    _serve(folder / "ours")
    client, experiment_id = mlflow.MlflowClient(), connection.connect()

    def run() -> None:
        with resumable_run("train", "one", experiment_id, folder / "unfinished", {}) as kept:
            logbook = Logbook(kept.journal)
            for epoch in range(1, EPOCHS + 1):
                logbook(epoch, _values(epoch))
            logbook(EPOCHS, _pictures())
        _told(folder / "ours.txt", client, kept.run_id)

    run()
    return run


def _serve(folder: Path) -> None:
    import mlflow

    from tests.service import free_port, wait_for

    folder.mkdir()
    port, log = free_port(), folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
             "--artifacts-destination", str(folder / "artifacts")],
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    atexit.register(process.kill)
    wait_for(f"http://127.0.0.1:{port}/health", process, log)
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")


def _values(epoch: int) -> dict[str, float]:
    return {f"metric_{number}": number / epoch for number in range(METRICS)}


def _pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, SIDE)[:, None, None] * np.ones((1, SIDE, 3))
    return {f"picture_{n}": (ramp * rng.random()).astype(np.uint8) for n in range(PICTURES)}


def _told(path: Path, client, run_id: str) -> None:
    metrics = client.get_metric_history(run_id, "metric_3")
    path.write_text(repr(sorted((each.step, each.value) for each in metrics)))


def check(folder: Path) -> str:
    """The server has the same values."""
    ours, theirs = ((folder / f"{name}.txt").read_text() for name in ("ours", "peer"))
    assert ours == theirs, "the servers hold other values"
    return f"the servers hold the same {EPOCHS * METRICS} values and {PICTURES} pictures"


JOB = Job(
    f"Tracking a run: {EPOCHS} epochs of {METRICS} metrics, {PICTURES} pictures",
    {"one call a value": Contender("one_call_a_value"), "ours": Contender("ours")},
    (Goal("ours", "one call a value", 8.0),),
    5,
    check,
)
