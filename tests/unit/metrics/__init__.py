"""The figures that judge predictions."""
