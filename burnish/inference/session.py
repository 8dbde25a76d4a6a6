"""A loaded model for `generate`, `chat` and `Run.generate`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from burnish.errors import InputError, MissingRun
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.methods import LIKELY_METHOD, make_method
from burnish.methods.method import Method
from burnish.models.answering import arrange_for_answers
from burnish.models.base import load_base, load_tokenizer
from burnish.models.config import model_kind
from burnish.models.device import PRECISIONS, arithmetic, choose_device, choose_precision
from burnish.models.generation import MAX_NEW_TOKENS, Decoding, generate_batch, longest_answer, prompt_room
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.models.text_stream import TextStreamer
from burnish.prepare.start import start_folder
from burnish.recipe.schema import AUTO, ModelSection, Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.events import Event
from burnish.runs.folder import RunFolder, find_run
from burnish.tasks import CONVERSATION, make_task, task_facts, task_names
from burnish.tasks.questions import answer_batches
from burnish.tasks.task import Question, Task

Write = Callable[[str], None]
Opener = Callable[[Method, Callable[[ModelLocation], Any], ModelLocation, Path | None, str], Any]
"""Returns the network of a model: from its method, what loads a base, where that is, the trained result, and the
precision. None where another program answers, so that only prompts are made and answers are read."""


def open_alone(
    method: Method, load: Callable[[ModelLocation], Any], location: ModelLocation, result: Path | None, precision: str
) -> Any:
    """The network of a model that shares nothing with others."""
    return load(location) if result is None else method.open(load, location, result)


class Session:
    """One model, loaded once, for any number of prompts.

    Args:
        recipe: names the model, task and method.
        run: the run whose result is used; None for the base model alone.
        base: use the base model instead of the run's result.
        warn: receives what the user should know of an answer, as sentences.
        kwargs: values for the chat template's variables, in place of the recipe's.
        opener: loads the network, or takes one that is loaded already.
        base_model: folder of the run's base model, if it has been moved.

    Raises:
        InputError: the run has no result yet.
        ModelError: the base model is needed, and is not the one that the run was trained on.
        RecipeError: the chat template never reads one of `kwargs`.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder | None,
        base: bool,
        warn: Write = warnings.warn,
        kwargs: Mapping[str, Any] | None = None,
        opener: Opener = open_alone,
        base_model: str | None = None,
    ) -> None:
        self.run = run
        """Whose result it is, or whose base; None for a base model alone."""
        self.is_base = run is None or base
        """Whether it is a base model, without what a run learned."""
        self._warn = warn
        self._has_kwargs = bool(kwargs)
        recipe = recipe.with_options(template={"kwargs": {**recipe.template.kwargs, **(kwargs or {})}})
        section = recipe.model
        self._device = choose_device(section.device)
        self._precision = choose_precision(section.precision, self._device)[0]
        result = None if run is None else ready_result(run, _unheard, base_model)
        if base and recipe.start.how == CONTINUE:
            # the model that such a run began as is an adapter, too
            result, base = start_folder(recipe), False
        method = make_method(LIKELY_METHOD if recipe.method == AUTO else recipe.method)
        if run is not None and method.trains_base and not base:
            location = ModelLocation(section.name, run.path, False)  # the result is complete without its base
        else:
            if run is not None:
                check_present(run, recipe)
            location = locate_model(section)
            if run is not None:
                check_base(run, location)
        read_from = location if result is None else ModelLocation(location.name, result, False)
        self._tokenizer = load_tokenizer(read_from, section)
        self._recipe = recipe
        self._task = make_task(recipe.task, self._tokenizer, recipe)

        def load(where: ModelLocation) -> Any:
            loading = method.loading(PRECISIONS[self._precision], self._device)
            return load_base(where, section, self._tokenizer, self._device, loading, self._task.objective.head).network

        self._network = opener(method, load, location, None if base else result, self._precision)
        if self._network is not None:
            self._network.eval()
        if self._network is not None and self._task.generates:
            arrange_for_answers(self._network, self._precision)
        self.created = (location.folder if result is None else result).stat().st_mtime
        """When the model was written, in seconds since 1970."""

    @property
    def network(self) -> Any:
        """The loaded network, in evaluation mode; None where another program has the weights."""
        return self._network

    @property
    def task(self) -> Task:
        """What the model was trained for."""
        return self._task

    @property
    def tokenizer(self) -> Any:
        """Of the model."""
        return self._tokenizer

    @property
    def recipe(self) -> Recipe:
        """Of the run, or of a base model alone."""
        return self._recipe

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        return self._precision

    def generate(
        self,
        prompt: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        write: Write | None = None,
        decoding: Decoding | None = None,
    ) -> str:
        """Answers one prompt according to the run's task: as a chat turn, as a continuation of the text, or with the
        predicted label, tags or passage.

        Args:
            prompt: the text.
            max_new_tokens: maximum length of the answer.
            temperature: 0 for the most likely answer.
            write: called with each part of the answer as it is generated.
            decoding: how tokens are chosen, in place of `temperature`.
        """
        self.check_kwargs()
        if self._task.generates:
            return self._answer(self._task, prompt, max_new_tokens, decoding or Decoding(temperature), write)
        if lost := self._task.predictor.num_cut(prompt):
            self._warn(
                f"The text is {lost} tokens longer than `data.context` of the run, so it is answered without them, as "
                "in training."
            )
        with self._arithmetic(), torch.no_grad():
            answer = self._task.predictor.respond(self._network, prompt)
        if write is not None:
            write(answer)
        return answer

    def check_kwargs(self) -> None:
        """Raises InputError if values for the chat template were given, and prompts are answered without it."""
        if self._has_kwargs and "template" not in self._task.sections:
            raise InputError(
                f"`template.kwargs` has no effect for the task `{self._task.name}`",
                "It answers a prompt without the chat template.",
                "Leave it out, or use `burnish chat`" if self._task.generates else "Leave it out",
            )

    def predict(self, rows: Sequence[Sequence[str]]) -> list[Any]:
        """What a model that does not generate says of texts: see `TextsPredictor.predict`, with its errors."""
        predictor: Any = self._task.predictor
        with self._arithmetic(), torch.no_grad():
            return predictor.predict(self._network, rows)

    def answer(self, questions: Sequence[Question], max_new_tokens: int, temperature: float) -> list[tuple[str, bool]]:
        """Answers several questions as `burnish evaluate` does: prompts of similar length together.

        Args:
            questions: their known answers are not used.
            max_new_tokens: maximum length of an answer.
            temperature: 0 for the most likely answer; else drawn with torch's generator.

        Returns:
            Per question the answer, and whether it was cut at its maximum length.
        """
        found: dict[int, tuple[str, bool]] = {}
        predictor = self._task.predictor
        for chosen in answer_batches(questions):
            load, prompts = questions[chosen[0]].inputs, [questions[index].prompt_ids for index in chosen]
            inputs = load() if load else None
            longest = longest_answer(self._network, prompts, max_new_tokens, inputs is not None)
            with self._arithmetic():
                answers = generate_batch(
                    self._network,
                    self._tokenizer,
                    prompts,
                    predictor.stop_ids,
                    max_new_tokens,
                    Decoding(temperature),
                    inputs=inputs,
                )
            for index, ids in zip(chosen, answers, strict=True):
                text = self._tokenizer.decode(predictor.visible_ids(ids), skip_special_tokens=True)
                found[index] = predictor.answer_text(text), len(ids) >= longest
        return [found[index] for index in range(len(questions))]

    def chat(
        self,
        messages: Sequence[dict[str, Any]],
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        write: Write | None = None,
        decoding: Decoding | None = None,
    ) -> str:
        """Answers the last of several turns, rendered with the chat template that the model was trained with.

        The arguments are those of `generate`.

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
        return self._answer(chat, list(messages), max_new_tokens, decoding or Decoding(temperature), write)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self._device, self._precision)

    def _answer(
        self,
        task: Task,
        prompt: str | list[dict[str, Any]],
        max_new_tokens: int,
        decoding: Decoding,
        write: Write | None,
    ) -> str:
        streamer = TextStreamer(self._tokenizer, write, task.predictor.visible_ids) if write else None
        asked, inputs = task.predictor.prompt_ids(prompt), task.predictor.prompt_inputs(prompt)
        room = prompt_room(self._network, max_new_tokens)
        if inputs is None and room is not None and len(asked) > room:
            self._warn(
                f"The prompt has {len(asked):,} tokens, and this model has room for {room:,} besides an answer: the "
                f"first {len(asked) - room:,} are left out."
            )
        with self._arithmetic():
            (ids,) = generate_batch(
                self._network,
                self._tokenizer,
                [asked],
                task.predictor.stop_ids,
                max_new_tokens,
                decoding,
                streamer,
                inputs,
            )
        return self._tokenizer.decode(task.predictor.visible_ids(ids), skip_special_tokens=True).strip()


def _unheard(event: Event) -> None:
    """Writing the result of a checkpoint has nothing to say that a prompt needs."""


def seed_answers(seed: int) -> None:
    """Seeds what is drawn for all further answers of this process."""
    torch.manual_seed(seed)


def open_session(
    name: str,
    base: bool = False,
    runs: str = "runs",
    base_model: str | None = None,
    warn: Write = warnings.warn,
    kwargs: Mapping[str, Any] | None = None,
    trusts_code: bool = False,
    opener: Opener = open_alone,
) -> Session:
    """Loads a run by name or path, or a base model by name.

    Args:
        name: a run, or a base model such as `seedling`.
        base: use the run's base model.
        runs: folder that holds the run folders.
        base_model: folder of the run's base model, if it has been moved.
        warn: receives what the user should know of an answer, as sentences.
        kwargs: values for the chat template's variables, in place of those saved with the run.
        trusts_code: whether a run that was begun elsewhere may run the code that its recipe names.
        opener: loads the network, or takes one that is loaded already.

    Raises:
        InputError: there is neither a run nor a model of that name, or its chat template never reads one of `kwargs`.
    """
    try:
        run = find_run(name, runs, trusts_code, takes_step=True)
    except MissingRun as missing:
        return _base_session(name, missing, warn, kwargs, opener)
    return Session(open_recipe(run, base_model), run, base, warn, kwargs, opener, base_model)


def _base_session(
    name: str, missing: MissingRun, warn: Write, kwargs: Mapping[str, Any] | None, opener: Opener
) -> Session:
    """A session of the base model of that name; raises `missing` if there is none."""
    from burnish.recipe.schema import BUNDLED_MODELS

    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        raise missing
    section = ModelSection(name=name)
    kind = model_kind(read_config(locate_model(section), section))
    chatting = [task for task in map(task_facts, task_names()) if task.generates and task.reads_turns]
    fitting = [task.name for task in chatting if kind in task.kinds]
    task = CONVERSATION if CONVERSATION in fitting or not fitting else fitting[0]
    return Session(Recipe(task=task, model=section), None, True, warn, kwargs, opener)
