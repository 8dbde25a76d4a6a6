"""What every command shares: `--json`, `--quiet`, `--verbose`, `--debug`, and errors about mistyped arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from burnish.cli.options import (
    AnswerFlags,
    RecipeFlags,
    answer_parameters,
    recipe_parameters,
    take_answer_flags,
    take_recipe_flags,
)
from burnish.cli.suggestions import command_meant, flag_meant
from burnish.errors import InputError, Interrupted

_OUTPUT = {
    "json": "Print one JSON object and nothing else.",
    "json_lines": "Print each event as a line of JSON, then the result.",
    "quiet": "Print only the bare result.",
    "verbose": "Also show every choice with its reason, and every metric.",
    "debug": "Show the traceback of an error.",
}


def show_help(ctx: typer.Context, is_wanted: bool) -> None:
    """Prints the help of a command and exits."""
    if is_wanted:
        usage, rest = ctx.get_help().split("\n", 1)
        # Newer versions of typer write a required argument as `{DATA}`; the usual form is `DATA`.
        ctx.obj.result(usage.translate({ord("{"): None, ord("}"): None}) + "\n" + rest)
        raise typer.Exit


Help = Annotated[
    bool,
    typer.Option("--help", "-h", metavar="", help="Show this help.", is_eager=True, callback=show_help),
]
"""Declared like every other option, so that it is listed among them."""


_GROUPS: dict[Any, tuple[Callable[[], list[inspect.Parameter]], Callable[[dict[str, Any]], Any]]] = {
    RecipeFlags: (recipe_parameters, take_recipe_flags),
    AnswerFlags: (answer_parameters, take_answer_flags),
}
"""Types of parameters that represent several flags: the flags, and what takes their values."""


def name_of(function: Callable[..., None]) -> str:
    """The name of the command that a function is: `launch_files` is `burnish launch-files`."""
    return function.__name__.replace("_", "-")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Turns `function(console, ...)` into a typer command.

    The console is passed in; a parameter of type `RecipeFlags` or `AnswerFlags` becomes several flags; and the output
    flags are added, which `Console` has already read from the raw arguments.
    """
    signature = inspect.signature(function, eval_str=True)
    takers = {
        name: _GROUPS[parameter.annotation][1]
        for name, parameter in signature.parameters.items()
        if parameter.annotation in _GROUPS
    }

    def run(**values: Any) -> None:
        context: typer.Context = values.pop("ctx")
        for name in ("help", *_OUTPUT):
            values.pop(name)
        for name, take in takers.items():
            values[name] = take(values)
        try:
            function(context.obj, **values)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped", fix=str(error)) from None

    parameters = _parameters(signature)
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters as typer needs them."""
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own: list[inspect.Parameter] = []
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.annotation in _GROUPS:
            own += _GROUPS[parameter.annotation][0]()
        else:
            own.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    help_option = inspect.Parameter("help", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Help)
    return [context, *own, *map(_output_parameter, _OUTPUT), help_option]


def _output_parameter(name: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", metavar="", help=_OUTPUT[name])
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])


# Typer exports only this subclass; its base is what every mistake in the arguments raises.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def usage_error(error: Any, commands: Mapping[str, str]) -> InputError:
    """The user's mistake as one of our errors, with what was most likely meant.

    Args:
        error: a `UsageError`.
        commands: the summary of every command, by its name.
    """
    path = error.ctx.command_path if error.ctx else "burnish"
    see = f"See `{path} --help`"
    unknown = re.search(r"No such command '(.*)'", error.format_message())
    if unknown:
        name = unknown.group(1).split("'")[0]
        return InputError(f"there is no command `{name}`", fix=command_meant(name, commands))
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        flags = _options(error.ctx)
        meant = flag_meant(option, flags, takes_recipe="--set" in flags and "--method" in flags)
        return InputError(f"`{path}` has no option `{option}`", fix=meant or see)
    missing = re.match(r"Missing (?:argument|option) '(.*?)'", error.format_message())
    if missing:
        return InputError(f"`{path}` needs {missing.group(1)}", fix=see)
    message = error.format_message().rstrip(".")
    return InputError(f"`{path}`: {message[:1].lower()}{message[1:]}", fix=see)


def _options(context: Any) -> list[str]:
    """Every option of the command."""
    if context is None:
        return []
    return [
        option for parameter in context.command.get_params(context) for option in parameter.opts if option[:2] == "--"
    ]
