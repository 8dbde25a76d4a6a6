"""Better and worse answers: rows, and token ids."""
