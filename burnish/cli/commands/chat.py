"""`burnish chat RUN`."""

from __future__ import annotations

from typing import Any

from burnish.cli.answering import open_model
from burnish.cli.arguments import Base, MaxNewTokens, Run, Runs, System, Temperature
from burnish.cli.console import Console

_HELP = "/reset begins anew, /exit leaves (so does Ctrl-D)"


def chat(
    console: Console,
    run: Run,
    base: Base = False,
    system: System = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    runs: Runs = "runs",
) -> None:
    """Talk with a run's result, turn by turn.

    Lines may also be piped in, one a turn.
    """
    session = open_model(run, base, runs)
    options = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    messages = [{"role": "system", "content": system}] if system is not None else []
    console.note(f"Talking with {'the base of ' if base else ''}`{run}`. {_HELP}.")
    try:
        talk(console, session, messages, options)
    except KeyboardInterrupt:
        console.say()
    console.json({"run": run, "base": base, "messages": messages})


def talk(console: Console, session: Any, messages: list[dict[str, str]], options: dict[str, Any]) -> None:
    """Turns until the user leaves; `messages` grows with each."""
    opening = list(messages)
    while (line := console.ask("you> ")) is not None:
        words = line.strip()
        if words == "/exit":
            return
        if words == "/reset":
            messages[:] = opening
            console.note("Begun anew.")
        elif words.startswith("/"):
            console.note(_HELP)
        elif words:
            messages.append({"role": "user", "content": words})
            stream = console.stream if console.is_terminal else None
            answer = session.chat(messages, **options, write=stream)
            console.result("" if stream else answer)
            messages.append({"role": "assistant", "content": answer})
