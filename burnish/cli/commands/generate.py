"""`burnish generate RUN PROMPT...` and `burnish chat RUN`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Base, BaseModel, MaxNewTokens, Run, Runs, System, Temperature

if TYPE_CHECKING:
    from burnish.inference.session import Session


Prompts = Annotated[
    list[str],
    typer.Argument(metavar="PROMPT", help="What to answer; `-` reads it from standard input.", show_default=False),
]


def generate(  # noqa: PLR0913  one parameter per argument and flag
    console: Console,
    run: Run,
    prompts: Prompts,
    base: Base = False,
    system: System = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    base_model: BaseModel = None,
    runs: Runs = "runs",
) -> None:
    """Answer one or more prompts with a run's result."""
    session = open_model(console, run, base, runs, base_model)
    answers = []
    for prompt in prompts:
        text = sys.stdin.read().strip() if prompt == "-" else prompt
        stream = console.stream if console.is_terminal else None
        options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "write": stream}
        answer = _answer(session, text, system, options)
        console.result("" if stream else answer)
        answers.append({"prompt": text, "answer": answer})
    console.json({"run": run, "base": base, "answers": answers})


def _answer(session: Any, prompt: str, system: str | None, options: dict[str, Any]) -> str:
    if system is None:
        return session.generate(prompt, **options)
    return session.chat([{"role": "system", "content": system}, {"role": "user", "content": prompt}], **options)


_HELP = "/reset starts over, /exit (or Ctrl-D) quits"


def chat(
    console: Console,
    run: Run,
    base: Base = False,
    system: System = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    base_model: BaseModel = None,
    runs: Runs = "runs",
) -> None:
    """Chat with a run's result.

    Lines may also be piped in, one per turn.
    """
    session = open_model(console, run, base, runs, base_model)
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    messages = [{"role": "system", "content": system}] if system is not None else []
    console.note(f"Chatting with {'the base of ' if base else ''}`{run}`. {_HELP}.")
    try:
        talk(console, session, messages, options)
    except KeyboardInterrupt:
        console.say()
    console.json({"run": run, "base": base, "messages": messages})


def talk(console: Console, session: Any, messages: list[dict[str, str]], options: dict[str, Any]) -> None:
    """Takes turns until the user quits; `messages` grows with each."""
    opening = list(messages)
    while (line := console.ask("you> ")) is not None:
        text = line.strip()
        if text == "/exit":
            return
        if text == "/reset":
            messages[:] = opening
            console.note("Starting over.")
        elif text.startswith("/"):
            console.note(_HELP)
        elif text:
            messages.append({"role": "user", "content": text})
            stream = console.stream if console.is_terminal else None
            answer = session.chat(messages, **options, write=stream)
            console.result("" if stream else answer)
            messages.append({"role": "assistant", "content": answer})


def open_model(console: Console, name: str, base: bool, runs: str, base_model: str | None) -> Session:
    """Loads a run's result or a base model. A name that is neither is refused before anything heavy is loaded.

    Raises:
        InputError: there is neither a run nor a model with that name.
    """
    from burnish.recipe.schema import BUNDLED_MODELS
    from burnish.runs.folder import find_run

    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        find_run(name, runs)
    from burnish.inference.session import open_session

    return open_session(name, base, runs, base_model, console.warn)
