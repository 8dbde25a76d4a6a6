"""Training further: which run or adapter a recipe starts from, and whether its adapter goes on or is merged first.

A recipe names it as its model. From then on `model.name` is the base model, `start.path` what training goes on from,
and `start.how` how. Nothing heavy is imported, so that a mistake shows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError, ModelError, RecipeError
from burnish.methods import FREE_OPTIONS, can_merge, least_copies, method_sections, quantizes
from burnish.models.location import ModelLocation, has_tokenizer, locate_model
from burnish.models.weight_files import check_adapter_files
from burnish.prepare.peft_folder import PeftFolder, read_peft_folder
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.names import options, shown
from burnish.recipe.origins import DEFAULT
from burnish.recipe.schema import AUTO, BUNDLED_MODELS, Recipe
from burnish.recipe.section import CONTINUE, MERGE
from burnish.runs.events import Resolved
from burnish.runs.folder import RunFolder, begun_at, check_usable, find_run
from burnish.runs.paths import split_step
from burnish.system.machine import expanded
from burnish.system.shell import quoted
from burnish.tasks import task_sections, writes_text
from burnish.visible import parse_json

Report = Callable[[Resolved], None]
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Start:
    """What training goes on from: a run of Burnish, one of its checkpoints, or an adapter of another tool."""

    path: str
    """As a recipe names it: absolute."""
    run: RunFolder | None
    """None for an adapter of another tool."""
    recipe: Recipe | None
    """Of the run."""
    adapter: PeftFolder | None
    """Of another tool."""

    @property
    def called(self) -> str:
        """How messages name it."""
        return f"the run `{self.run.name}`" if self.run else f"the adapter `{self.path}`"

    @property
    def method(self) -> str:
        """The method that trained it."""
        return self.recipe.method if self.recipe else self.adapter.method if self.adapter else ""

    @property
    def folder(self) -> Path:
        """Where its weights are; for a checkpoint, where they will be once its result is written."""
        if self.run is None:
            return Path(self.path)
        return self.run.model if least_copies(self.method) else self.run.adapter

    @property
    def base(self) -> str:
        """The name of its base model."""
        return self.recipe.model.name if self.recipe else self.adapter.base if self.adapter else ""


def find_start(recipe: Recipe) -> Start | None:
    """The run or adapter that a recipe names as its model or in `start.path`; None if it begins with a base model.

    Raises:
        MissingRun: there is no run of that name.
        InputError: the run has no result, or not this checkpoint.
        ModelError: the folder is an adapter that cannot be trained further.
    """
    if recipe.start.path is not None:
        found = _start_at(recipe.start.path, recipe.runs)
        if found is None:
            raise RecipeError(
                f"`start.path` is `{recipe.start.path}`, where there is neither a run nor an adapter",
                "Training goes on from the folder of a run, a checkpoint of one, or a folder with a PEFT adapter.",
                "Put it back, correct the path, or leave `start.path` out and give a base model with `--model`",
            )
        return found
    name = recipe.model.name
    return None if name in (AUTO, *BUNDLED_MODELS) else _start_at(name, recipe.runs)


def _start_at(name: str, runs: str) -> Start | None:
    place = expanded(name)
    if begun_at(RunFolder(place)) is None and place.is_dir():
        if not (place / ADAPTER_CONFIG).is_file() or (place / "config.json").is_file():
            return None  # a base model, or what will be refused as one
        owner = RunFolder(place.absolute().parent)
        if begun_at(owner) is None or owner.adapter != place.absolute():
            check_adapter_files(place)
            return Start(str(place.absolute()), None, None, read_peft_folder(place))
        place = owner.path
    stem, step = split_step(str(place))
    if step is None and not any(begun_at(RunFolder(path)) for path in (place, Path(runs) / stem)):
        return None
    run = find_run(str(place), runs, takes_step=True)
    check_usable(run)
    run = RunFolder(run.path.absolute(), step=run.step)
    return Start(run.named, run, recipe_from_saved(run.recipe), None)


def locate_base(recipe: Recipe) -> ModelLocation:
    """Finds the base model of a recipe, see `locate_model`.

    Raises:
        ModelError: there is none; where an adapter of another tool names it, with how to say where it is.
    """
    with naming_adapter(recipe):
        return locate_model(recipe.model)


@contextmanager
def naming_adapter(recipe: Recipe) -> Iterator[None]:
    """Where a base model is not found that an adapter of another tool names, the error says so, and what to do."""
    try:
        yield
    except ModelError as error:
        adapter = Path(recipe.start.path) if recipe.start.path else None
        if adapter is None or not (adapter / ADAPTER_CONFIG).is_file():
            raise
        named = parse_json((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        if named != recipe.model.name:
            raise  # the user names another
        raise ModelError(
            error.what,
            f"`{adapter / ADAPTER_CONFIG}` names it as the base of the adapter. {error.why}",
            "Give the base model yourself, in the same size and from the same source: `--model BASE --set "
            f"start.path={quoted(str(adapter))}`",
        ) from error


def settle_start(recipe: Recipe, origins: Mapping[str, str] | None = None, report: Report | None = None) -> Recipe:
    """A recipe whose model is a base model, with what it starts from named apart and decided on.

    Args:
        recipe: may name a run, a checkpoint or an adapter as its model.
        origins: where each option came from.
        report: receives each choice.

    Raises:
        RecipeError: the adapter cannot be used as the recipe says.
        InputError: see `find_start`.
    """
    start = find_start(recipe)
    if start is None:
        if recipe.start.how not in (AUTO, None):
            raise RecipeError(
                f"`start.how` is `{recipe.start.how}`, and this run starts from a base model",
                "It says what becomes of the adapter of the run that training goes on from.",
                "Leave it out, or give a run with `--model`",
            )
        return recipe
    return _Settling(recipe, start, origins or {}, report or _unreported).settle()


def _unreported(choice: Resolved) -> None:
    """For a recipe that is only checked."""


@dataclass(slots=True)
class _Settling:
    """A recipe that takes over what it starts from."""

    recipe: Recipe
    start: Start
    origins: Mapping[str, str]
    report: Report

    def settle(self) -> Recipe:
        """The recipe with all that follows from the start."""
        start, why = self.start, f"as in {self.start.called}"
        self._name_base()
        if self.recipe.method == AUTO and not least_copies(start.method):
            self._set("method", start.method, why)
        if self.recipe.task == AUTO and start.recipe is not None and not writes_text(start.recipe.task):
            self._set("task", start.recipe.task, why)
        how, reason = self._decide()
        self._set("start.how", how, reason)
        if how == CONTINUE:
            for option, value in self._form().items():
                self._set(option, value, why)
        if start.recipe is not None:
            self._take_over(start.recipe, why, is_same_head=how == CONTINUE)
        return self.recipe

    def _name_base(self) -> None:
        """Names the base model in place of the run, unless the user says where it is now."""
        start, model = self.start, self.recipe.model
        changed: dict[str, Any] = {}
        if self.recipe.start.path is None or model.name == AUTO:
            changed["name"] = start.base
            if start.recipe is not None:
                changed["revision"] = start.recipe.model.revision
        if not changed.get("name", model.name):
            raise ModelError(
                f"the adapter `{start.path}` does not say which base model it belongs to",
                f"`base_model_name_or_path` in its `{ADAPTER_CONFIG}` is empty.",
                f"Name it: `--model BASE --set start.path={start.path}`",
            )
        self.recipe = self.recipe.with_options(model=changed, start={"path": start.path})

    def _decide(self) -> tuple[str, str]:
        """How the start is used, and why.

        Raises:
            RecipeError: neither way is possible, or not the one that the recipe asks for.
        """
        asked, start = self.recipe.start.how or AUTO, self.start  # nothing in a saved recipe that began with a base
        if least_copies(start.method):
            if asked == CONTINUE:
                raise RecipeError(
                    f"{start.called} has no adapter that could go on",
                    f"The method `{start.method}` trained the base model itself; its result is a whole model.",
                    "Leave `start.how` out: the result is the base of the new run",
                )
            return MERGE, f"`{start.method}` trained the base model itself: its result is a whole model already"
        if not can_merge(start.method):
            raise RecipeError(
                f"{start.called} cannot be trained further",
                f"What the method `{start.method}` trains is a prefix to the text: it can neither go on nor be merged.",
                "Start from its base model, or train it again with `--method lora`",
            )
        obstacle = self._obstacle()
        if asked == CONTINUE and obstacle:
            raise RecipeError(
                f"the adapter of {start.called} cannot go on training here",
                f"{obstacle[0].upper()}{obstacle[1:]}.",
                "Leave the option out, or merge first: `--set start.how=merge`",
            )
        if asked == CONTINUE or (asked == AUTO and not obstacle):
            return CONTINUE, "as asked" if asked == CONTINUE else "same method and settings: the adapter goes on"
        if asked == AUTO:
            self._check_quantized(obstacle)
        return MERGE, "as asked" if asked == MERGE else obstacle

    def _check_quantized(self, obstacle: str) -> None:
        """Refuses to merge into other weights than those that an adapter was trained on, unless it is asked for."""
        start = self.start
        if quantizes(start.method):
            raise RecipeError(
                f"the adapter of {start.called} was trained on a quantized base, and it cannot go on here",
                f"{obstacle[0].upper()}{obstacle[1:]}, so it would be merged, into weights that it was not trained on.",
                f"Use `--method {start.method}` with the same settings, or accept the difference with "
                "`--set start.how=merge`",
            )

    def _obstacle(self) -> str:
        """Why the adapter cannot go on, as a clause; empty if it can."""
        recipe, start = self.recipe, self.start
        is_alike = start.run is None and method_sections(recipe.method) == method_sections(start.method)
        if recipe.method != start.method and not is_alike:
            return f"the method is `{recipe.method}`, and `{start.method}` trained it"
        if start.adapter is not None and start.adapter.obstacle:
            return start.adapter.obstacle
        if start.recipe is not None and recipe.task not in (AUTO, start.recipe.task):
            before = start.recipe.task
            if not (writes_text(before) and writes_text(recipe.task)):
                return f"the tasks `{recipe.task}` and `{before}` have different output layers"
        if start.recipe is not None and start.recipe.lora.init != "default" and start.recipe.lora.rslora:
            return "its matrices were split off the base weights, and with `lora.rslora` their scale is no whole number"
        for option, value in self._form().items():
            section, _, name = option.partition(".")
            asked, default = (
                getattr(getattr(recipe, section), name),
                options()[option].get_default(call_default_factory=True),
            )
            is_asked = self.origins.get(option, DEFAULT) != DEFAULT or asked != default
            if is_asked and asked != AUTO and not _is_same(asked, value):
                return f"`{option}` is {shown(asked)}, and {shown(value)} in the adapter"
        return ""

    def _form(self) -> dict[str, Any]:
        """The options that decide which weights the adapter has, by dotted name."""
        if self.start.recipe is None:
            return dict(self.start.adapter.options) if self.start.adapter else {}
        saved = self.start.recipe
        found = {
            f"{section}.{name}": value
            for section in method_sections(self.start.method)
            for name, value in getattr(saved, section)
            if f"{section}.{name}" not in FREE_OPTIONS
        }
        if found.get("lora.init", "default") != "default":
            # saved with the initial matrices beside the trained ones, see `methods.lora.write_as_plain`
            found |= {"lora.init": "default", "lora.rank": 2 * saved.lora.rank, "lora.alpha": 2 * saved.lora.alpha}
        return found

    def _take_over(self, saved: Recipe, why: str, is_same_head: bool) -> None:
        """Takes over template values, and of the same task what its output layer means."""
        shared = set(task_sections(saved.task))
        renders = self.recipe.task in (AUTO, saved.task) or "template" in task_sections(self.recipe.task)
        if renders and saved.template.kwargs and not self.recipe.template.kwargs:
            self._set("template.kwargs", saved.template.kwargs, why)
        if not is_same_head or self.recipe.task != saved.task:
            return
        for section in sorted(shared - {"template"}):
            if getattr(saved, section).is_of_stage:
                continue
            for name, value in getattr(saved, section):
                if getattr(getattr(self.recipe, section), name) == AUTO:
                    self._set(f"{section}.{name}", value, why)
        if self.recipe.data.labels == AUTO and saved.data.labels:
            self._set("data.labels", saved.data.labels, why)

    def _set(self, option: str, value: Any, reason: str) -> None:
        section, _, name = option.rpartition(".")
        holder = getattr(self.recipe, section) if section else self.recipe
        if getattr(holder, name) == value:
            return
        if section:
            self.recipe = self.recipe.with_options(**{section: {name: value}})
        else:
            self.recipe = self.recipe.model_copy(update={name: value})
        self.report(Resolved(option, value, reason))


def _is_same(asked: Any, value: Any) -> bool:
    """Whether two values of an option mean the same weights: the order of layers does not matter."""
    if isinstance(asked, list) and isinstance(value, list):
        return sorted(map(str, asked)) == sorted(map(str, value))
    return asked == value


def start_folder(recipe: Recipe) -> Path:
    """The folder of the weights that a run starts from.

    Raises:
        InputError: it is no longer there.
    """
    check_start(recipe)
    found = find_start(recipe)
    return found.folder if found is not None else Path()


def tokenizer_place(recipe: Recipe, location: ModelLocation) -> ModelLocation:
    """Where the tokenizer of a run is: beside the adapter that goes on training, if that has one, or with the base."""
    if recipe.start.how == CONTINUE and has_tokenizer(place := start_folder(recipe)):
        return ModelLocation(location.name, place, False)
    return location


def check_start(recipe: Recipe) -> None:
    """Refuses a run whose start is no longer there.

    Raises:
        InputError: naming it.
    """
    if recipe.start.path is None or recipe.start.how != CONTINUE:
        return
    try:
        found = find_start(recipe)
    except InputError as error:
        found, why = None, error.what
    else:
        why = "There is nothing of that name"
    if found is None:
        raise InputError(
            f"what this run was started from is no longer at `{recipe.start.path}`",
            f"{why[0].upper()}{why[1:]}. Its adapter is where training began, and what the result is compared with.",
            "Put it back, or write its new place into `start.path` of the run's `recipe.yaml`",
        )
