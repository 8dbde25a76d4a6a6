"""The figures that evaluate predictions."""
