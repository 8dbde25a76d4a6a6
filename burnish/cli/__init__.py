"""The command line: parses arguments, calls a workflow, shows its result."""
