"""Batches, and the plan of which examples each step gets."""
