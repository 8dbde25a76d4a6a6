"""`burnish predict RUN DATA OUT`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.commands.generate import only_options
from burnish.cli.console import Console
from burnish.cli.options import Base, BaseModel, MaxNewTokens, Run, Runs, Temperature, Trust
from burnish.errors import InputError

_SUFFIX = ".jsonl"
MAX_NEW_TOKENS = 256

Rows = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Rows in the form of the training rows, with or without answers.", show_default=False
    ),
]
Out = Annotated[
    Path, typer.Argument(metavar="OUT", help="The file to write, with the suffix `.jsonl`.", show_default=False)
]
Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of what `--temperature` draws.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="A column of DATA that has another name than in training, as `data.columns.text=body`, or a variable of "
        "the chat template, as `template.kwargs.enable_thinking=false`.",
        show_default=False,
    ),
]

Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="COLUMN",
        help="A column of DATA whose values are copied into OUT, such as a row's own number.",
        show_default=False,
    ),
]


def predict(
    console: Console,
    run: Run,
    data: Rows,
    out: Out,
    max_new_tokens: MaxNewTokens = MAX_NEW_TOKENS,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    keep: Keep = None,
    base: Base = False,
    base_model: BaseModel = None,
    sets: Sets = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Predict for every row of a file.

    Writes one line of JSON per row. If it is interrupted, the same command continues.
    """
    from burnish.cli.progress import Progress
    from burnish.cli.results import short
    from burnish.lineage.saved_recipe import open_recipe
    from burnish.prepare.first_checks import check_sources
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import check_usable, find_run
    from burnish.tasks import task_facts

    folder = find_run(run, runs, trust, takes_step=True)
    if out.suffix.lower() != _SUFFIX:
        raise InputError(
            f"`{out}` has no suffix `{_SUFFIX}`",
            "Predictions are written as JSON Lines, an object per row.",
            f"Name it `{out.with_suffix(_SUFFIX)}`",
        )
    check_target(out)
    check_sources(data)
    check_usable(folder)
    recipe = open_recipe(folder, base_model)
    if base and not task_facts(recipe.task).generates:
        raise InputError(
            f"the base model has no answers for the task `{recipe.task}`",
            "Its labels or numbers were only learned in training.",
            "Leave out `--base`",
        )
    idle = {"--max-new-tokens": max_new_tokens != MAX_NEW_TOKENS, "--temperature": temperature > 0, "--seed": seed > 0}
    given = [flag for flag, is_given in idle.items() if is_given]
    if given and not task_facts(recipe.task).generates:
        raise InputError(
            f"`{given[0]}` has no effect for the task `{recipe.task}`", "Nothing is written or drawn.", "Leave it out"
        )
    if seed and not temperature:
        raise InputError("`--seed` has no effect without `--temperature`", "The most likely answer is not drawn.", "")
    options = only_options(sets or (), "data.columns", "template.kwargs")
    with Progress(console) as progress:
        from burnish.inference.session import open_session
        from burnish.workflows.predict import Choices
        from burnish.workflows.predict import predict as run_prediction

        kwargs = dict(options.template.kwargs)
        session = open_session(folder.named, base, runs, base_model, console.warn, kwargs, trust)
        choices = Choices(max_new_tokens, temperature, seed, dict(options.data.columns), tuple(keep or ()))
        predicted = run_prediction(session, data, out, choices, [progress])
    console.json({"run": run, **asdict(predicted)})
    console.result(short(out))
