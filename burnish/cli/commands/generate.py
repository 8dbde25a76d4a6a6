"""`burnish generate RUN PROMPT...` and `burnish chat RUN`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import AnswerFlags, Run
from burnish.system.hangup import Ended

if TYPE_CHECKING:
    from burnish.inference.session import Session
    from burnish.recipe.schema import Recipe


Prompts = Annotated[
    list[str],
    typer.Argument(metavar="PROMPT", help="What to answer; `-` reads it from standard input.", show_default=False),
]


def generate(console: Console, flags: AnswerFlags, run: Run, prompts: Prompts) -> None:
    """Answer one or more prompts with a run's result."""
    session = open_model(console, run, flags)
    answers = []
    for prompt in prompts:
        text = sys.stdin.read().strip() if prompt == "-" else prompt
        stream = console.stream if console.is_terminal else None
        answer = _answer(session, text, flags.system, {**flags.sampling(), "write": stream})
        console.answer("" if stream else answer)
        answers.append({"prompt": text, "answer": answer, **(_columns(session, text) if console.output.json else {})})
    console.json({"run": run, "base": flags.base, "answers": answers})


def _answer(session: Any, prompt: str, system: str | None, options: dict[str, Any]) -> str:
    if system is None:
        return session.generate(prompt, **options)
    return session.chat([{"role": "system", "content": system}, {"role": "user", "content": prompt}], **options)


def _columns(session: Session, prompt: str) -> dict[str, Any]:
    """What a model that does not generate says, value by value, as `burnish predict` writes it."""
    if session.task.generates:
        return {}
    from burnish.inference.rows import RowAnswers

    return RowAnswers(session).of_prompt(prompt)


_HELP = "/reset starts over, Ctrl-C ends an answer, /exit (or Ctrl-D) quits"


def chat(console: Console, flags: AnswerFlags, run: Run) -> None:
    """Chat with a run's result.

    Lines may also be piped in, one per turn.
    """
    session = open_model(console, run, flags)
    messages = [{"role": "system", "content": flags.system}] if flags.system is not None else []
    console.note(f"Chatting with {'the base of ' if flags.base else ''}`{run}`. {_HELP}.")
    try:
        talk(console, session, messages, flags.sampling())
    except KeyboardInterrupt:
        console.say()
    console.json({"run": run, "base": flags.base, "messages": messages})


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
            messages.append({"role": "assistant", "content": _turn(console, session, messages, options)})


def _turn(console: Console, session: Any, messages: Sequence[dict[str, str]], options: dict[str, Any]) -> str:
    """The next answer, or as much of it as there is when Ctrl-C ends it."""
    pieces: list[str] = []

    def write(piece: str) -> None:
        pieces.append(piece)
        if console.is_terminal:
            console.stream(piece)

    try:
        answer = session.chat(messages, **options, write=write)
    except Ended:
        raise
    except KeyboardInterrupt:
        answer = "".join(pieces).strip()
        console.answer("" if console.is_terminal else answer)
        console.note("Stopped. The next line goes on from here.")
        return answer
    console.answer("" if console.is_terminal else answer)
    return answer


def open_model(console: Console, name: str, flags: AnswerFlags) -> Session:
    """Loads a run's result or a base model. What is wrong is refused before anything heavy is loaded, if it can be.

    Raises:
        InputError: there is neither a run nor a model with that name, or another option than `template.kwargs`
            is set.
    """
    from burnish.recipe.schema import BUNDLED_MODELS
    from burnish.runs.folder import find_run

    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        find_run(name, flags.runs, flags.trust, takes_step=True)
    kwargs = dict(only_options(flags.sets or (), "template.kwargs").template.kwargs)
    from burnish.inference.session import open_session

    return open_session(name, flags.base, flags.runs, flags.base_model, console.warn, kwargs, flags.trust)


def only_options(sets: Sequence[str], *names: str) -> Recipe:
    """A recipe in which nothing is set but some options, as `--set` gives them. Raises RecipeError if another is."""
    from burnish.errors import RecipeError
    from burnish.recipe.load import load_recipe
    from burnish.recipe.origins import DEFAULT

    loaded = load_recipe(None, {}, sets, needs_data=False)
    others = [name for name, origin in loaded.origins.items() if origin != DEFAULT and name not in names]
    if others:
        raise RecipeError(
            f"`{others[0]}` has no effect here",
            "How a result answers was decided when it was trained.",
            f"Only {' and '.join(f'`--set {name}.NAME=VALUE`' for name in names)} can be given",
        )
    return loaded.recipe
