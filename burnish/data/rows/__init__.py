"""Rows become records: columns, shapes, records, and the split."""
