"""Plans a run: its method, micro-batches, memory and time."""
