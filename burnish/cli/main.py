"""The command line: `burnish COMMAND ...`, or `python -m burnish`."""

from __future__ import annotations

import errno
import functools
import inspect
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Annotated, Any

import typer

from burnish.cli.command import UsageError, command, name_of, usage_error
from burnish.cli.commands.check import check
from burnish.cli.commands.doctor import doctor, selftest
from burnish.cli.commands.evaluate import accept, compare, evaluate, reproduce
from burnish.cli.commands.explain import explain
from burnish.cli.commands.export import eject, export, merge, push
from burnish.cli.commands.generate import chat, generate
from burnish.cli.commands.launch_files import launch_files
from burnish.cli.commands.models import models
from burnish.cli.commands.options import init, options
from burnish.cli.commands.plan import plan
from burnish.cli.commands.predict import predict
from burnish.cli.commands.runs import report, runs, show
from burnish.cli.commands.serve import serve
from burnish.cli.commands.studio import studio
from burnish.cli.commands.sweep import sweep
from burnish.cli.commands.train import quickstart, resume, train
from burnish.cli.console import Console, Output
from burnish.cli.processes import hush_beside_main, is_reported_here, refuse_together
from burnish.errors import BurnishError, InputError, Interrupted, MachineError, is_panic, says_out_of_memory
from burnish.system.hangup import Ended, ending_signals, is_hangup, leave, terminals
from burnish.system.machine import collect_rarely, prepare_process, return_freed_memory
from burnish.version import __version__
from burnish.visible import visible

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Know before you run": (
        models,
        plan,
        check,
        doctor,
        selftest,
    ),
    "Train": (quickstart, init, train, sweep, resume, accept, launch_files),
    "Evaluate and use the result": (evaluate, compare, generate, chat, predict, serve, merge, export, push, eject),
    "Review runs": (runs, show, report, reproduce),
    "Learn, or use all of it in the browser": (explain, options, studio),
}

# Typer's own `--help` is off: `Help` replaces it, last among the options.
_SETTINGS: dict[str, Any] = {"help_option_names": [], "max_content_width": 100}
app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=_SETTINGS
)
for group in COMMANDS.values():
    for function in group:
        app.command(name_of(function), context_settings=_SETTINGS)(command(function))


@app.callback(invoke_without_command=True)
def start(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version")] = False,
    help: Annotated[bool, typer.Option("--help", "-h")] = False,  # noqa: A002  the option's own name
) -> None:
    """What `burnish` prints without a command."""
    if version:
        ctx.obj.result(__version__)
    elif help or ctx.invoked_subcommand is None:
        ctx.obj.result(overview(COMMANDS))
    if version or help:
        raise typer.Exit


@functools.cache
def _parser() -> Callable[..., Any]:
    """All commands as typer parses them. It goes through every signature, which is enough to do once in a process."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: what follows `burnish`; those of this process when None.
    """
    prepare_process()
    return_freed_memory()
    if arguments is None:  # the process runs nothing else
        collect_rarely()
        end_on_signals()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(Output.of(arguments), arguments=arguments)
    escape_library_messages()
    if not console.output.debug:
        hide_library_warnings()
        hush_beside_main()
    try:
        refuse_together(arguments)
        code = _parser()(arguments, prog_name="burnish", standalone_mode=False, obj=console)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        console.abandon_pipe()
        return 1
    except Exception as error:  # noqa: BLE001  the last resort: a user gets a message, never a traceback
        return fail(console, error)
    except BaseException as error:
        if not is_panic(error):
            raise
        return fail(console, RuntimeError(f"a library failed: {error}"))


def end_on_signals() -> None:
    """Lets SIGTERM and a closed terminal end a command as Ctrl-C does: locks are freed, and it says how to go on.

    Training replaces this by a handler that saves its state first.
    """
    open_now = terminals()

    def end(number: int, frame: FrameType | None) -> None:
        for one in ending_signals():  # a second one would interrupt what the first has begun to put away
            if one != signal.SIGINT:
                signal.signal(one, signal.SIG_IGN)
        if is_hangup(number):
            leave(open_now)
        raise Ended

    for number in ending_signals():
        if number != signal.SIGINT:  # for which Python has the same
            signal.signal(number, end)


def hide_library_warnings() -> None:
    """Keeps other libraries' warnings to developers off the user's terminal; `--debug` shows them."""
    warnings.filterwarnings("ignore", module=r"(torch|transformers|peft|accelerate|datasets|huggingface_hub)(\.|$)")


def escape_library_messages() -> None:
    """Makes what other libraries log or warn of harmless to a terminal: a model's files have words in their messages.

    Both are hooks that Python has for this.
    """
    logging.setLogRecordFactory(_VisibleRecord)
    if warnings.formatwarning is not _visible_warning:
        warnings.formatwarning = _visible_warning


class _VisibleRecord(logging.LogRecord):
    """A message of a library, without characters that act."""

    def getMessage(self) -> str:
        return visible(super().getMessage())


_format_warning = warnings.formatwarning


def _visible_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return visible(_format_warning(message, category, filename, lineno, line))


def fail(console: Console, error: Exception) -> int:
    """Shows an error and returns its exit code."""
    shown = as_burnish_error(error)
    if is_reported_here(shown):
        console.error(shown)
    if console.output.debug:
        console.traceback(error)
    return shown.exit_code


def as_burnish_error(error: Any) -> BurnishError:
    """Any error as one with a message for the user."""
    if isinstance(error, BurnishError):
        return error
    if isinstance(error, UsageError):
        return usage_error(error, {name_of(one): _summary(one) for group in COMMANDS.values() for one in group})
    if isinstance(error, typer.Abort):
        return Interrupted("stopped")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # whichever name it was
        name = str(error.filename or "")
        return InputError(
            f"`{name[:60]}…` is too long for the name of a file",
            f"It has {len(name):,} characters, and most systems take at most 255 bytes for a name, 4,096 for a path.",
            "Give a shorter name",
        )
    text = " ".join(str(error).split())[:500]
    if says_out_of_memory(error):
        return MachineError(
            "memory ran out",
            f"The error was: {text}." if text else "",
            "Look for an option that is far too large, or free some memory; `burnish plan` shows what a run takes",
        )
    return BurnishError(
        f"unexpected failure: {type(error).__name__}: {text}",
        fix="Run the command again with `--debug`, and report the traceback together with the command",
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

`burnish COMMAND --help` lists its arguments and options."""


def overview(groups: Mapping[str, Sequence[Callable[..., None]]]) -> str:
    """The page that `burnish --help` prints.

    Args:
        groups: commands by heading; the first line of a command's docstring is its summary.
    """
    width = max(len(name_of(function)) for group in groups.values() for function in group) + 2
    parts = [_HEAD]
    for heading, group in groups.items():
        lines = [f"  {name_of(function):<{width}}{_summary(function)}\n" for function in group]
        parts.append(f"{heading}:\n{''.join(lines)}")
    return "\n".join([*parts, _FOOT])


def _summary(function: Callable[..., None]) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]
