"""Stage 2 as it is for a pretrained network: batch norm stays as it was learned."""

from pathlib import Path

from benchmarks.harness import Contender, Goal, Job, Run
from benchmarks.jobs import fine_tune
from benchmarks.jobs.fine_tune import BATCH, CELLS, FORWARD, KERAS, SIDE


def prepare(folder: Path) -> Run:
    """Cells, labels and the weights that all start from."""
    return fine_tune.prepare(folder)


def keras_fit(folder: Path) -> Run:
    """Keras' guide to transfer learning."""
    return fine_tune.keras_fit_fixed(folder)


def ours(folder: Path) -> Run:
    """This project's usual."""
    return fine_tune.ours_fixed(folder)


PRECISION = {KERAS: "float32", "ours, bfloat16": "bfloat16"}
JOB = Job(
    f"Stage 2 of a pretrained ResNet-50 at {SIDE} px, batch {BATCH}, {CELLS} cells",
    {KERAS: Contender("keras_fit"), "ours, bfloat16": Contender("ours")},
    (Goal("ours, bfloat16", KERAS, 1.8),),
    3,
    fine_tune.check,
    lambda: dict.fromkeys(PRECISION, 3 * FORWARD * CELLS),
    PRECISION,
)
