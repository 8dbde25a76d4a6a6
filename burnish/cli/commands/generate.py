"""`burnish generate RUN PROMPT...`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from burnish.cli.answering import open_model
from burnish.cli.arguments import Base, MaxNewTokens, Run, Runs, System, Temperature
from burnish.cli.console import Console

Prompts = Annotated[
    list[str],
    typer.Argument(metavar="PROMPT", help="What to answer; `-` reads it from standard input.", show_default=False),
]


def generate(
    console: Console,
    run: Run,
    prompts: Prompts,
    base: Base = False,
    system: System = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    runs: Runs = "runs",
) -> None:
    """Answer a prompt, or several, with a run's result."""
    session = open_model(run, base, runs)
    told = []
    for prompt in prompts:
        asked = sys.stdin.read().strip() if prompt == "-" else prompt
        stream = console.stream if console.is_terminal else None
        options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "write": stream}
        answer = _answer(session, asked, system, options)
        console.result("" if stream else answer)
        told.append({"prompt": asked, "answer": answer})
    console.json({"run": run, "base": base, "answers": told})


def _answer(session: Any, prompt: str, system: str | None, options: dict[str, Any]) -> str:
    if system is None:
        return session.generate(prompt, **options)
    return session.chat([{"role": "system", "content": system}, {"role": "user", "content": prompt}], **options)
