"""Figures that judge predictions: pure functions of what was expected and what was given, numpy and nothing else."""
