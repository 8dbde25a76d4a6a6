"""The recipe: the one description of a run."""
