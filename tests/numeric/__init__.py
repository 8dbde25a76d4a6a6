"""The rules of arithmetic."""
