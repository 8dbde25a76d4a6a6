"""Extractive question answering: rows and windows."""
