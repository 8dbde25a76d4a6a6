"""The rules of arithmetic, measured on one's own model, rows and machine."""
