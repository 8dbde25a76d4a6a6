"""Loads a run and generates answers."""
