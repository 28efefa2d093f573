"""Metrics and plots: pure functions of labels, scores and subjects."""

from leukemia.evaluation.metrics import PRIMARY as PRIMARY  # what a ranking may go by
