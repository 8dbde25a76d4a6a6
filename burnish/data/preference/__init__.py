"""Preference data: rows and token ids."""
