"""Knowing before running: every `auto` of the recipe filled in, each with its reason."""
