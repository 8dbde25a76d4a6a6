"""`burnish selftest [DATA]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.flags import RecipeFlags

if TYPE_CHECKING:
    from burnish.evaluate.rule import RuleLine, RuleReport

MaybeData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="Rows to measure on, instead of bundled ones; or a recipe.yaml."),
]


def selftest(console: Console, flags: RecipeFlags, data: MaybeData = None) -> None:
    """Measure the rules of arithmetic on your model, rows and machine.

    Packed equals unpacked, accumulated equals one big batch, resumed equals uninterrupted, served tokens are the
    trained ones, and more: each with the difference that was measured and how large it may be. By LoRA, unless another
    method is named. Nothing is kept.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe

    loaded = load_recipe(data, flags.values, flags.sets, needs_data=False)
    with Progress(console) as progress:
        from burnish.workflows.selftest import selftest as measure

        report = measure(loaded.recipe, [progress])
    console.json(report.to_dict())
    if not console.output.quiet:
        _show(console, report)
    console.result(report.verdict)
    if report.failed:
        raise typer.Exit(report.exit_code)


def _show(console: Console, report: RuleReport) -> None:
    """A table of the rules, and below it what each compared or why it was left out."""
    from burnish.cli.tables import Table

    console.say(
        f"`{report.model}` on {report.device} in {report.precision}, task `{report.task}`, method `{report.method}`, "
        f"{report.rows} examples:"
    )
    rows = [[line.rule, *_figures(line), _told(line)] for line in report.lines]
    console.table(Table(["rule", "difference", "tolerance", "holds"], rows, is_figures=True))
    console.say()
    for line in report.lines:
        console.say(f"{line.rule}: {line.why}", "dim")
    if report.precision != "fp32":
        console.say()
        console.say("Narrower: burnish selftest --set model.precision=fp32", "cyan")
    console.say(f"measured in {report.seconds:.0f} s")


def _figures(line: RuleLine) -> tuple[str, str]:
    if line.difference is None:
        return "-", "-"
    bound = "> " if line.is_least else ""
    return _number(line.difference), bound + _number(line.tolerance)


def _number(value: float) -> str:
    """Counts and zeros as they are, everything else to two digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1e}"


def _told(line: RuleLine) -> str:
    return {True: "yes", False: "NO", None: "left out"}[line.passed]
