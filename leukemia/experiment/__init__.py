"""One experiment, from settings to outcome: config, preparation, the run, and what it leaves.

Here are the names of the files that a run leaves; importing them costs nothing.
"""

PREDICTIONS = "predictions"  # folder of a run's scores, one CSV a split
CLASSES = "class_counts.csv"  # cells of each split and class, before and after balancing
SUBJECTS = "test_subjects.csv"  # a row for each test subject
ERRORS = "errors.html"  # table of the test cells that were called wrongly
SYNTHETIC = "synthetic_cells.zip"
GOLDEN = "golden.npz"  # a few test cells and what the classifier answered when it was measured
