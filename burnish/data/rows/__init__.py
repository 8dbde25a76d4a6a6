"""Turns rows into records: columns, shapes, records, and the split."""
