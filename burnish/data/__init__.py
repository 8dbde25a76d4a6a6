"""From files to batches: finds sources, reads rows, detects their shape, and splits off validation rows.

The path of a row: `files/sources` finds the files, `files/readers` parses them into rows, `rows/shapes` detects what a
row means and makes a record of it, and `rows/dataset` splits the records and ties these together.
"""
