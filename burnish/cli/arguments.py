"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder, the name of a hub dataset, or a recipe.yaml.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or its name.", show_default=False)]
Runs = Annotated[str, typer.Option("--runs", metavar="FOLDER", help="Folder that holds the run folders.")]
Base = Annotated[bool, typer.Option("--base", metavar="", help="Ask the base model instead of the tuned one.")]
System = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="System message before the prompt.", show_default=False)
]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", metavar="TOKENS", min=1, help="Longest answer.")]
Temperature = Annotated[
    float, typer.Option("--temperature", metavar="NUMBER", min=0.0, help="0 always takes the likeliest token.")
]
