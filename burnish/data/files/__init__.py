"""Reads files and datasets as rows: formats, encodings, and the location of each row."""
