"""`burnish serve`: models behind OpenAI's HTTP interface."""
