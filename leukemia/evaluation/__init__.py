"""Figures of merit and plots: pure functions of labels, scores and subjects."""

PRIMARY = ("bal_acc", "wf1", "f1", "acc", "auroc", "auprc")  # what a ranking can go by
