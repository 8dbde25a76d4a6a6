"""One page a verb: what each command does, from top to bottom."""
