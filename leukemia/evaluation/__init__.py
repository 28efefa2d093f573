"""Figures of merit and pictures: pure functions of labels, scores and subjects."""
