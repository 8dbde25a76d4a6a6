"""Finds problems in the data before training."""
