"""The command line: reads words, calls a workflow, shows what comes of it."""
