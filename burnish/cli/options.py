"""Arguments and flags that several commands share, each declared once."""

from __future__ import annotations

import contextlib
import inspect
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from burnish.recipe.flags import RECIPE_FLAGS, number_or_text

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder, the name of a hub dataset, or a recipe.yaml.")
]
AllData = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="A file, a folder, the name of a hub dataset, or a recipe.yaml. Of several, the rows are used together.",
        show_default=False,
    ),
]
SomeData = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA",
        help="A file, a folder, the name of a hub dataset, or a recipe.yaml. Of several, the rows are used together.",
        show_default=False,
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or its name.", show_default=False)]
Runs = Annotated[str, typer.Option("--runs", metavar="FOLDER", help="Folder that holds the run folders.")]
Base = Annotated[bool, typer.Option("--base", metavar="", help="Use the base model instead of the tuned one.")]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base-model", metavar="FOLDER", help="Where the run's base model is now, if it was moved.", show_default=False
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="NUMBER",
        min=1,
        help="Train in so many processes of this machine, each on a GPU of its own, or on its share of the cores. On "
        "several machines, start the command with torchrun.",
        show_default=False,
    ),
]
AUTO_PROCESSES = "auto"


def _number_of_processes(text: str) -> int | str:
    """A number from 1, or `auto`."""
    if text == AUTO_PROCESSES:
        return text
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= 1:
            return number
    raise typer.BadParameter(f"'{text}' is neither a number from 1 nor `{AUTO_PROCESSES}`.")


ProcessesOrAuto = Annotated[
    Any,
    typer.Option(
        "--processes",
        metavar="NUMBER|auto",
        parser=_number_of_processes,
        help="Train in so many processes of this machine, each on a GPU of its own, or on its share of the cores. "
        "`auto` is one for each GPU; without a GPU, the first steps are measured in one process and in more. On "
        "several machines, start the command with torchrun.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        metavar="",
        help="Run the code that the run's recipe names: Python code of its model, pickled weights, a metric. Only for "
        "runs from people you trust; your own need no flag.",
    ),
]
System = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help="System message before the prompt.", show_default=False)
]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", metavar="TOKENS", min=1, help="Maximum length of an answer.")
]
Temperature = Annotated[
    float, typer.Option("--temperature", metavar="NUMBER", min=0.0, help="0 always picks the most likely token.")
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Sample only from the most likely tokens with this total probability.",
    ),
]
TopK = Annotated[
    int,
    typer.Option(
        "--top-k", metavar="NUMBER", min=0, help="Sample only from this many of the most likely tokens; 0 for all."
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(
        "--repetition-penalty",
        metavar="NUMBER",
        min=0.01,
        help="Above 1, tokens already in the prompt or answer become less likely.",
    ),
]
AnswerSeed = Annotated[
    int | None,
    typer.Option("--seed", metavar="NUMBER", min=0, help="Seed for sampling.", show_default=False),
]
TemplateSets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="Value for a variable of the chat template, as `template.kwargs.enable_thinking=false`, in place of the "
        "run's.",
        show_default=False,
    ),
]


class AnswerFlags(NamedTuple):
    """The flags of the commands that let a result answer."""

    base: Base = False
    system: System = None
    max_new_tokens: MaxNewTokens = 256
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    repetition_penalty: RepetitionPenalty = 1.0
    seed: AnswerSeed = None
    base_model: BaseModel = None
    trust: Trust = False
    runs: Runs = "runs"
    sets: TemplateSets = None

    def sampling(self) -> dict[str, Any]:
        """What decides an answer's length and variety, as a session takes it; loads torch."""
        from burnish.decoding.sampling import Sampling

        sampling = Sampling(self.temperature, self.top_p, self.top_k, repetition_penalty=self.repetition_penalty)
        return {"max_new_tokens": self.max_new_tokens, "sampling": sampling}

    def idle(self) -> list[str]:
        """Flags that have no effect because nothing is drawn."""
        given = {"--top-p": self.top_p != 1.0, "--top-k": self.top_k != 0, "--seed": self.seed is not None}
        return [] if self.temperature else [flag for flag, is_given in given.items() if is_given]


_SET_HELP = "Any option of the recipe, as `train.warmup=0.1`. Repeat it for several; `burnish options` lists them."


class RecipeFlags(NamedTuple):
    """The flags of one command line: values by dotted name, and the argument of each `--set`."""

    values: dict[str, Any]
    sets: list[str]


def recipe_parameters() -> list[inspect.Parameter]:
    """The flags as parameters of a typer command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for name, flag in RECIPE_FLAGS.items():
        spellings = (f"--{name.replace('_', '-')}", *flag.also)
        parser = number_or_text if flag.kind in (int, float) else None
        option = typer.Option(*spellings, metavar=flag.metavar, help=flag.help, show_default=False, parser=parser)
        taken = Any if parser else list[str] if flag.kind is list else flag.kind
        kind = Annotated[taken | None, option]
        parameters.append(inspect.Parameter(name, keyword, default=None, annotation=kind))
    option = typer.Option("--set", metavar="OPTION=VALUE", help=_SET_HELP, show_default=False)
    parameters.append(inspect.Parameter("set", keyword, default=None, annotation=Annotated[list[str] | None, option]))
    return parameters


def answer_parameters() -> list[inspect.Parameter]:
    """The fields of `AnswerFlags` as parameters of a typer command."""
    defaults, kinds = AnswerFlags._field_defaults, get_type_hints(AnswerFlags, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword, default=defaults[name], annotation=kinds[name]) for name in kinds]


def take_answer_flags(values: dict[str, Any]) -> AnswerFlags:
    """Takes the flags out of a command's parsed values."""
    return AnswerFlags(*(values.pop(name) for name in AnswerFlags._fields))


def take_recipe_flags(values: dict[str, Any]) -> RecipeFlags:
    """Takes the flags out of a command's parsed values; those not given are left out."""
    sets = values.pop("set", None) or []
    given = {flag.option: values.pop(name, None) for name, flag in RECIPE_FLAGS.items()}
    return RecipeFlags({option: value for option, value in given.items() if value not in (None, [])}, list(sets))
