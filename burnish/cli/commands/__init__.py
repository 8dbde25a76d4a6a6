"""One file per group of commands: a signature that typer parses, and a body that imports its workflow when it runs."""
