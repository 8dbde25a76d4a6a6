"""A loaded model for `generate`, `chat` and `Run.generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from burnish.errors import InputError
from burnish.methods import LIKELY_METHOD, make_method
from burnish.models.base import load_base, load_tokenizer
from burnish.models.config import model_kind
from burnish.models.device import PRECISIONS, arithmetic, choose_device, choose_precision
from burnish.models.generation import TextStreamer, generate_batch
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import AUTO, ModelSection, Recipe
from burnish.runs.folder import RunFolder, find_run
from burnish.tasks import CONVERSATION, make_task, task_facts, task_names
from burnish.tasks.task import Task

Write = Callable[[str], None]


class Session:
    """One model, loaded once, for any number of prompts.

    Args:
        recipe: names the model, task and method.
        run: the run whose result is used; None for the base model alone.
        base: use the base model instead of the run's result.
        kwargs: values for the chat template's variables, in place of the recipe's.

    Raises:
        RecipeError: the chat template never reads one of `kwargs`.
    """

    def __init__(
        self, recipe: Recipe, run: RunFolder | None, base: bool, kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self._has_kwargs = bool(kwargs)
        recipe = recipe.with_options(template={"kwargs": {**recipe.template.kwargs, **(kwargs or {})}})
        section = recipe.model
        self._device = choose_device(section.device)
        self._precision = choose_precision(section.precision, self._device)[0]
        location = locate_model(section)
        result = None if run is None else run.result
        if run is not None and result is None:
            raise InputError(
                f"the run `{run.name}` has no result yet",
                "Its training has not finished.",
                f"`burnish resume {run.path}`",
            )
        read_from = location if result is None else ModelLocation(location.name, result, False)
        self._tokenizer = load_tokenizer(read_from, section)
        self._recipe = recipe
        self._task = make_task(recipe.task, self._tokenizer, recipe)
        method = make_method(LIKELY_METHOD if recipe.method == AUTO else recipe.method)

        def load(where: ModelLocation) -> Any:
            loading = method.loading(PRECISIONS[self._precision], self._device)
            return load_base(where, section, self._tokenizer, self._device, loading, self._task.objective.head).network

        if result is None or base:
            self._network = load(location)
        else:
            self._network = method.open(load, location, result)
        self._network.eval()

    @property
    def network(self) -> Any:
        """The loaded network, in evaluation mode."""
        return self._network

    def generate(
        self, prompt: str, max_new_tokens: int = 256, temperature: float = 0.0, write: Write | None = None
    ) -> str:
        """Answers one prompt according to the run's task: as a chat turn, as a continuation of the text, or with the
        predicted label, tags or passage.

        Args:
            prompt: the text.
            max_new_tokens: maximum length of the answer.
            temperature: 0 for the most likely answer.
            write: called with each part of the answer as it is generated.
        """
        if self._has_kwargs and "template" not in self._task.sections:
            raise InputError(
                f"`template.kwargs` has no effect for the task `{self._task.name}`",
                "It answers a prompt without the chat template.",
                "Leave it out, or use `burnish chat`" if self._task.generates else "Leave it out",
            )
        if self._task.generates:
            return self._answer(self._task, prompt, max_new_tokens, temperature, write)
        with self._arithmetic(), torch.no_grad():
            answer = self._task.predictor.respond(self._network, prompt)
        if write is not None:
            write(answer)
        return answer

    def chat(
        self,
        messages: Sequence[dict[str, Any]],
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        write: Write | None = None,
    ) -> str:
        """Answers the last of several turns, rendered with the chat template that the model was trained with.

        Raises:
            InputError: the run's task does not generate text.
        """
        if not self._task.generates:
            raise InputError(
                f"the task `{self._task.name}` does not generate text",
                "Only a model that generates text can chat.",
                'Ask for its answer with `burnish generate RUN "text"`',
            )
        chat = self._task if self._task.reads_turns else make_task(CONVERSATION, self._tokenizer, self._recipe)
        return self._answer(chat, list(messages), max_new_tokens, temperature, write)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self._device, self._precision)

    def _answer(
        self,
        task: Task,
        prompt: str | list[dict[str, Any]],
        max_new_tokens: int,
        temperature: float,
        write: Write | None,
    ) -> str:
        streamer = TextStreamer(self._tokenizer, write, task.predictor.visible_ids) if write else None
        asked, inputs = task.predictor.prompt_ids(prompt), task.predictor.prompt_inputs(prompt)
        with self._arithmetic():
            (ids,) = generate_batch(
                self._network,
                self._tokenizer,
                [asked],
                task.predictor.stop_ids,
                max_new_tokens,
                temperature,
                streamer,
                inputs,
            )
        return self._tokenizer.decode(task.predictor.visible_ids(ids), skip_special_tokens=True).strip()


def open_session(name: str, base: bool = False, runs: str = "runs", kwargs: Mapping[str, Any] | None = None) -> Session:
    """Loads a run by name or path, or a base model by name.

    Args:
        name: a run, or a base model such as `seedling`.
        base: use the run's base model.
        runs: folder that holds the run folders.
        kwargs: values for the chat template's variables, in place of those saved with the run.

    Raises:
        InputError: there is neither a run nor a model of that name, or its chat template never reads one of `kwargs`.
    """
    try:
        run = find_run(name, runs)
    except InputError as missing:
        return _base_session(name, missing, kwargs)
    return Session(recipe_from_saved(run.recipe), run, base, kwargs)


def _base_session(name: str, missing: InputError, kwargs: Mapping[str, Any] | None) -> Session:
    """A session of the base model of that name; raises `missing` if there is none."""
    from pathlib import Path

    from burnish.recipe.schema import BUNDLED_MODELS

    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        raise missing
    section = ModelSection(name=name)
    kind = model_kind(read_config(locate_model(section), section))
    chatting = [task for task in map(task_facts, task_names()) if task.generates and task.reads_turns]
    task = next((task.name for task in chatting if kind in task.kinds), CONVERSATION)
    return Session(Recipe(task=task, model=section), None, True, kwargs)
