"""Examples as batches, and which batch is when."""
