"""Files and datasets as rows: formats, encodings, and the place of each row."""
