"""What a run was made from, whether that is unchanged, and the run opened again: to go on, answer or be repeated."""
