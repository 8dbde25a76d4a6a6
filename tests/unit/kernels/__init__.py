"""Fast arithmetic."""
