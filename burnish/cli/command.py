"""What every command shares: `--json`, `--quiet` and `--debug`, and the console that obeys them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from burnish.cli.flags import RecipeFlags, recipe_parameters, take_recipe_flags
from burnish.errors import Interrupted

_OUTPUT = {
    "json": "Print one JSON object and nothing else.",
    "quiet": "Print only the bare result.",
    "debug": "Show where an error came from.",
}


def show_help(ctx: typer.Context, is_wanted: bool) -> None:
    """Prints the help of a command and ends it."""
    if is_wanted:
        usage, rest = ctx.get_help().split("\n", 1)
        # Newer versions of typer write `{DATA}` for what must be given; the usual form is `DATA`.
        ctx.obj.result(usage.translate({ord("{"): None, ord("}"): None}) + "\n" + rest)
        raise typer.Exit


Help = Annotated[
    bool,
    typer.Option("--help", "-h", metavar="", help="Show this help.", is_eager=True, callback=show_help),
]
"""Declared like every other option, so that it stands among them."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a typer command of `function(console, ...)`.

    The console is handed over; a parameter of type `RecipeFlags` becomes the flags of the recipe; the output flags,
    which `Console` reads before anything else, are added.
    """
    signature = inspect.signature(function, eval_str=True)
    takes_flags = [name for name, parameter in signature.parameters.items() if parameter.annotation is RecipeFlags]

    def run(**values: Any) -> None:
        context: typer.Context = values.pop("ctx")
        for name in ("help", *_OUTPUT):
            values.pop(name)
        for name in takes_flags:
            values[name] = take_recipe_flags(values)
        try:
            function(context.obj, **values)
        except KeyboardInterrupt:
            raise Interrupted("stopped") from None

    parameters = _parameters(signature)
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The parameters that typer sees."""
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own: list[inspect.Parameter] = []
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.annotation is RecipeFlags:
            own += recipe_parameters()
        else:
            own.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    help_option = inspect.Parameter("help", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Help)
    return [context, *own, *map(_output_parameter, _OUTPUT), help_option]


def _output_parameter(name: str) -> inspect.Parameter:
    option = typer.Option(f"--{name}", metavar="", help=_OUTPUT[name])
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
