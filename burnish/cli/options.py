"""Arguments and flags that several commands share, each declared once."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder, the name of a hub dataset, or a recipe.yaml.")
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
    base_model: BaseModel = None
    trust: Trust = False
    runs: Runs = "runs"
    sets: TemplateSets = None

    def sampling(self) -> dict[str, Any]:
        """What decides an answer's length and variety."""
        return {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}


@dataclass(frozen=True, slots=True)
class Flag:
    """One named flag: the option it sets, its type, the placeholder for its value, and its help."""

    option: str
    kind: type
    metavar: str
    help: str


RECIPE_FLAGS = {
    "model": Flag(
        "model.name",
        str,
        "MODEL",
        "Base model: `seedling` or `acorn` (bundled), a local transformers folder, or a hub name such as `gpt2`. "
        "`auto` is `seedling` for tasks that generate text and `acorn` for those that label it. Or what to train "
        "further: a run, a checkpoint of one (`RUN@STEP`), or a folder with a PEFT adapter.",
    ),
    "method": Flag(
        "method",
        str,
        "METHOD",
        "Which weights are trained: `full`, `freeze`, `lora`, `qlora`, `int8-lora`, `prompt`, `prefix`, `p-tuning` or "
        "`ia3`. `auto` picks the best one for the model and the number of rows among those that fit into memory: "
        "`full`, `lora` or `qlora`.",
    ),
    "task": Flag(
        "task",
        str,
        "TASK",
        "What one example is: `text`, `chat`, `text-to-text`, `preference`, `reward`, `classify`, `score`, `tag`, "
        "`span`, `fill-mask` or `vision`. `auto` follows from the shape of the rows.",
    ),
    "name": Flag("name", str, "NAME", "Name of the run and of its folder."),
    "runs": Flag("runs", str, "FOLDER", "Folder that holds the run folders."),
    "seed": Flag("seed", int, "NUMBER", "Seed of the order of the rows, the initial adapter weights and dropout."),
    "allow_pickle": Flag(
        "model.allow_pickle",
        bool,
        "",
        "Also load weights stored as Python pickles, which can run any code. Only for models you trust.",
    ),
    "trust_remote_code": Flag(
        "model.trust_remote_code",
        bool,
        "",
        "Run the Python code that comes with the model. Only for models you trust.",
    ),
}

_SET_HELP = "Any option of the recipe, as `train.epochs=2`. Repeat it for several."


class RecipeFlags(NamedTuple):
    """The flags of one command line: values by dotted name, and the argument of each `--set`."""

    values: dict[str, Any]
    sets: list[str]


def recipe_parameters() -> list[inspect.Parameter]:
    """The flags as parameters of a typer command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for name, flag in RECIPE_FLAGS.items():
        option = typer.Option(f"--{name.replace('_', '-')}", metavar=flag.metavar, help=flag.help, show_default=False)
        kind = Annotated[flag.kind | None, option]
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
    return RecipeFlags({option: value for option, value in given.items() if value is not None}, list(sets))
