"""Answers about uploaded images with a registered classifier."""
