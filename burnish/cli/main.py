"""The command line: `burnish COMMAND ...`, or `python -m burnish`."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from burnish.cli.command import UsageError, command, usage_error
from burnish.cli.commands.check import check
from burnish.cli.commands.doctor import doctor, selftest
from burnish.cli.commands.evaluate import compare, evaluate, reproduce
from burnish.cli.commands.explain import explain
from burnish.cli.commands.export import eject, merge
from burnish.cli.commands.generate import chat, generate
from burnish.cli.commands.plan import plan
from burnish.cli.commands.runs import report, runs, show
from burnish.cli.commands.train import quickstart, resume, train
from burnish.cli.console import Console, Output
from burnish.errors import BurnishError, Interrupted
from burnish.system.machine import collect_seldom, return_freed_memory, share_cores
from burnish.version import __version__

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Know before you run": (
        plan,
        check,
        doctor,
        selftest,
    ),
    "Make a specialist": (quickstart, train, resume),
    "Judge and use it": (evaluate, compare, generate, chat, merge, eject),
    "Look at runs": (runs, show, report, reproduce),
    "Learn": (explain,),
}

# Typer's own `--help` is off: `Help` stands in its place, last among the options.
_SETTINGS: dict[str, Any] = {"help_option_names": [], "max_content_width": 100}
app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=_SETTINGS
)
for group in COMMANDS.values():
    for function in group:
        app.command(function.__name__, context_settings=_SETTINGS)(command(function))


@app.callback(invoke_without_command=True)
def start(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version")] = False,
    help: Annotated[bool, typer.Option("--help", "-h")] = False,  # noqa: A002  the option's own name
) -> None:
    """What `burnish` does without a command."""
    if version:
        ctx.obj.result(__version__)
    elif help or ctx.invoked_subcommand is None:
        ctx.obj.result(overview(COMMANDS))
    if version or help:
        raise typer.Exit


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        words: the words after `burnish`; those of this process when None.
    """
    share_cores()
    return_freed_memory()
    if words is None:  # the process is this command's
        collect_seldom()
    words = list(sys.argv[1:] if words is None else words)
    console = Console(Output.of(words))
    if not console.output.debug:
        hush_libraries()
    try:
        code = app(words, prog_name="burnish", standalone_mode=False, obj=console)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        console.give_up()
        return 1
    except Exception as error:  # noqa: BLE001  the last resort: whatever it is, the user reads words, not a traceback
        return fail(console, error)


def hush_libraries() -> None:
    """Keeps other libraries' advice to developers off the user's terminal; `--debug` shows it."""
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate|datasets|huggingface_hub)(\.|$)")


def fail(console: Console, error: Exception) -> int:
    """Tells an error and returns the exit code that belongs to it."""
    told = in_words(error)
    console.error(told)
    if console.output.debug:
        console.traceback(error)
    return told.exit_code


def in_words(error: Any) -> BurnishError:
    """Any error as one that a user can read."""
    if isinstance(error, BurnishError):
        return error
    if isinstance(error, UsageError):
        return usage_error(error, [function.__name__ for group in COMMANDS.values() for function in group])
    if isinstance(error, typer.Abort):
        return Interrupted("stopped")
    text = " ".join(str(error).split())[:500]
    return BurnishError(
        f"something failed that Burnish did not expect: {type(error).__name__}: {text}",
        fix="Run it again with `--debug` and report what it shows, together with the command",
    )


_HEAD = """\
Usage: burnish COMMAND ...

  Fine-tune language models on the machine you have,
  with proof that the result is better than the base.
"""
_FOOT = """\
Options:
  --version   Print the version.
  -h, --help  Show this help.

`burnish COMMAND --help` tells what a command takes."""


def overview(groups: Mapping[str, Sequence[Callable[..., None]]]) -> str:
    """The page.

    Args:
        groups: commands by the heading they stand under; the first line of a docstring says what a command does.
    """
    width = max(len(function.__name__) for group in groups.values() for function in group) + 2
    parts = [_HEAD]
    for heading, group in groups.items():
        lines = [f"  {function.__name__:<{width}}{_summary(function)}\n" for function in group]
        parts.append(f"{heading}:\n{''.join(lines)}")
    return "\n".join([*parts, _FOOT])


def _summary(function: Callable[..., None]) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]
