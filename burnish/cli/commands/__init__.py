"""One file a command. Each is a signature that typer reads, and a body that imports its workflow when it runs."""
