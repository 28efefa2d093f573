"""Runs in MLflow: begun and ended, logged, read back, and shown as a ranking.

Here are names that several modules share; importing them costs nothing.
"""

MODEL = "model"  # name of the logged classifier within its run
MANIFEST = "manifest.json"  # what a run left, bound together; its SHA-256 is a tag of that name
# Environment of a run that a study started: how many runs shared the machine.
WORKERS = "LEUKEMIA_WORKERS"
UNSENT = 75  # exit code of a training whose results wait on this machine: "try again later"
PARENT = "LEUKEMIA_PARENT"  # environment of a run that a study started: the study's process
