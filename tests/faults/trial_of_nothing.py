"""A trial of the soak: writes at once what a training of so many minutes writes over them."""

import logging
import os
import sys
import time
from pathlib import Path

import numpy as np

from leukemia.tracking import connection, machine, resumable, unfinished

EPOCHS = 25


def main(minutes: float) -> None:
    """What a training of so many minutes writes, all at once."""
    logging.basicConfig(format="%(message)s")
    experiment_id = connection.connect()
    key = os.environ["MLFLOW_RUN_ID"]
    place = unfinished.folder(Path(os.environ["LEUKEMIA_CACHE"]), experiment_id, key)
    with resumable.resumable_run("soak", "a trial of nothing", experiment_id, place, {}) as run:
        now, journal = int(time.time() * 1000), run.journal
        names = [f"{machine.PREFIX}reading_{number}" for number in range(15)]
        for step in range(round(60 * minutes / machine.SECONDS)):
            journal.write("batch", points=[(name, 1.0 * step, now, step) for name in names])
        for step in range(EPOCHS):
            journal.write("batch", points=[("train_loss", 1 / (step + 1), now, step)])
        room = journal.room()
        (room / "predictions.csv").write_text("cell_id,score\n" * 10_000)
        journal.write("files", folder=room.name)
        np.save(place / "checkpoint.npy", np.zeros(1_000_000))


if __name__ == "__main__":
    main(float(sys.argv[1]))
