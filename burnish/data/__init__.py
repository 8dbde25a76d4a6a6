"""From files to records: sources are found, rows read, their shape detected, and some held out for validation.

The way of one row: `sources` finds the files, `readers` turns them into rows, `shapes` says what a row means and makes
a record of it, `split` holds records out, and `dataset.load_records` ties these together.
"""
