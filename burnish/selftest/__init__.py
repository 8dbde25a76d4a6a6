"""Measures the rules of arithmetic on the user's model, rows and machine."""
