"""Knowing before running."""
