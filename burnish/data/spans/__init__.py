"""Questions answered by a piece of a text."""
