"""Thin commands: parse, call, report. Each is `python -m entrypoints.NAME --help`."""

import os

# TensorFlow speaks of its build and of every missing GPU unless told otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
