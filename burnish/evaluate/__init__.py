"""Judging a model on rows it has not seen, with intervals."""
