"""Evaluates models on held-out rows, with confidence intervals."""
