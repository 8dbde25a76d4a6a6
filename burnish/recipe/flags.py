"""The named flags of a recipe on the command line, and the recipe in a command as it is typed."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from dataclasses import dataclass
from typing import Any, NoReturn

from burnish.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Flag:
    """One named flag: the option it sets, its type, the placeholder for its value, and its help."""

    option: str
    kind: type
    metavar: str
    help: str
    also: tuple[str, ...] = ()
    """Other spellings of the flag."""


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
    "epochs": Flag(
        "train.epochs",
        float,
        "NUMBER",
        "Passes over the training rows; fractions are allowed. `auto` is 3, up to 10 where few rows would make fewer "
        "than 100 steps, up to 15 for 900 steps where an output layer starts at random for a number or for more than "
        "eight labels, 2 above 10,000 rows and 1 above 100,000.",
    ),
    "max_steps": Flag("train.max_steps", int, "NUMBER", "Upper limit on optimizer steps, whatever `epochs` says."),
    "learning_rate": Flag(
        "train.learning_rate",
        float,
        "NUMBER",
        "Peak learning rate. `auto` depends on the method and the size of the model.",
        also=("--lr",),
    ),
    "batch_size": Flag(
        "batch.rows",
        int,
        "NUMBER",
        "Micro-batch size: rows of the context length in memory at once, and more of them if they are shorter. It "
        "changes speed and memory, never the result.",
    ),
    "context": Flag(
        "data.context",
        int,
        "TOKENS",
        "Longest example in tokens. `auto` is the model's own limit, at most 1024.",
    ),
    "seed": Flag("seed", int, "NUMBER", "Seed of the order of the rows, the initial adapter weights and dropout."),
    "track": Flag(
        "track",
        list,
        "TRACKER",
        "Trackers that keep the run's curves beside its own log, all of them on this machine: `tensorboard`, `wandb` "
        "(offline), `mlflow` or `trackio`.",
    ),
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


def flag_of(option: str) -> str | None:
    """The flag that sets an option of the recipe, as `--epochs`; None if there is none."""
    return next((f"--{name.replace('_', '-')}" for name, flag in RECIPE_FLAGS.items() if flag.option == option), None)


def number_or_text(text: str) -> int | float | str:
    """A number where the text is one; other text, such as `auto`, is left to the recipe, which says what it takes."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


_COMMANDS = ("train", "plan", "check")
"""Commands that take a recipe."""
_OUTPUT = ("--json", "--json-lines", "--quiet", "--verbose", "--debug")
"""Flags that decide what a command shows, not what it does."""


@dataclass(frozen=True, slots=True)
class WrittenCommand:
    """The recipe in a command, as `load_recipe` takes it."""

    data: list[str]
    values: dict[str, Any]
    """Of the named flags, by dotted name."""
    sets: list[str]


def is_command(text: str) -> bool:
    """Whether a text begins as a command of Burnish does, rather than as a recipe."""
    return text.split()[:1] == ["burnish"] or text.split()[:2] == ["$", "burnish"]


def read_command(text: str) -> WrittenCommand:
    """The recipe in a command such as `burnish train rows.jsonl --epochs 2 --set lora.rank=8`.

    Raises:
        RecipeError: it is no such command, or has a flag that is not of the recipe.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise RecipeError("this is not a command", f"{error}.", "Close every quote") from None
    words = words[1:] if words[:1] == ["$"] else words
    if words[:1] != ["burnish"] or words[1:2] not in [[name] for name in _COMMANDS]:
        named = ", ".join(f"`burnish {name}`" for name in _COMMANDS)
        raise RecipeError("this is not a command with a recipe", f"Those are {named}.", "Begin with `burnish train`")
    parser = _Parser(prog=f"burnish {words[1]}", add_help=False, allow_abbrev=False)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--set", action="append", default=[])
    for name, flag in RECIPE_FLAGS.items():
        spellings = (f"--{name.replace('_', '-')}", *flag.also)
        if flag.kind is bool:
            parser.add_argument(*spellings, dest=name, action=argparse.BooleanOptionalAction)
        elif flag.kind is list:
            parser.add_argument(*spellings, dest=name, action="append")
        else:
            parser.add_argument(*spellings, dest=name, type=number_or_text if flag.kind in (int, float) else str)
    found = vars(parser.parse_intermixed_args([word for word in words[2:] if word not in _OUTPUT]))
    values = {flag.option: found[name] for name, flag in RECIPE_FLAGS.items() if found[name] is not None}
    return WrittenCommand(found["data"], values, found["set"])


class _Parser(argparse.ArgumentParser):
    """A parser that raises its errors."""

    def error(self, message: str) -> NoReturn:
        """What is wrong with the words."""
        raise RecipeError(f"`{self.prog}`: {message}", "", f"See `{self.prog} --help`")
