"""A loaded model for `generate`, `chat` and `Run.generate`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from burnish.decoding.context import longest_answer, prompt_room
from burnish.decoding.generate import MAX_NEW_TOKENS, Generator, generate_batch
from burnish.decoding.sampling import Sampling
from burnish.decoding.text_stream import Decoder
from burnish.errors import InputError
from burnish.lineage.opened import Opened, Opener, open_alone, open_named
from burnish.models.device import arithmetic
from burnish.tasks.questions import answer_batches
from burnish.tasks.task import Question, Task

Write = Callable[[str], None]
_KEPT_BYTES = 1 << 28
"""Of the keys and values of a chat's turns."""


class Session:
    """One model, loaded once, for any number of prompts.

    Args:
        opened: the model.
        warn: receives what the user should know of an answer, as sentences.
        has_kwargs: whether the user gave values for the chat template's variables.
    """

    def __init__(self, opened: Opened, warn: Write = warnings.warn, has_kwargs: bool = False) -> None:
        self.opened = opened
        """The model."""
        self._task, self._tokenizer, self._network = opened.task, opened.tokenizer, opened.network
        self._warn, self._has_kwargs = warn, has_kwargs
        self._chatting: Generator | None = None
        """Keeps the turns of a chat, with which the next begins."""

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

    def generate(
        self,
        prompt: str,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        write: Write | None = None,
        sampling: Sampling | None = None,
    ) -> str:
        """Answers one prompt according to the run's task: as a chat turn, as a continuation of the text, or with the
        predicted label, tags or passage.

        Args:
            prompt: the text.
            max_new_tokens: maximum length of the answer.
            temperature: 0 for the most likely answer.
            write: called with each part of the answer as it is generated.
            sampling: how tokens are chosen, in place of `temperature`.
        """
        self.check_kwargs()
        if self._task.generates:
            return self._answer(self._task, prompt, max_new_tokens, sampling or Sampling(temperature), write)
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
            answers = generate_batch(
                self._network,
                self._tokenizer,
                prompts,
                predictor.stop_ids,
                max_new_tokens,
                self.opened.precision,
                Sampling(temperature),
                inputs=inputs,
            )
            for index, prompt, ids in zip(chosen, prompts, answers, strict=True):
                longest = longest_answer(self._network, len(prompt), max_new_tokens, inputs is not None)
                text = self._tokenizer.decode(predictor.visible_ids(ids), skip_special_tokens=True)
                found[index] = predictor.answer_text(text), len(ids) >= longest
        return [found[index] for index in range(len(questions))]

    def chat(
        self,
        messages: Sequence[dict[str, Any]],
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        write: Write | None = None,
        sampling: Sampling | None = None,
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
        chat = self._task if self._task.reads_turns else self.opened.conversation()
        if self._chatting is None:
            self._chatting = Generator(self._network, self._tokenizer, self.opened.precision, _KEPT_BYTES)
        chosen = sampling or Sampling(temperature)
        return self._answer(chat, list(messages), max_new_tokens, chosen, write, self._chatting)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self.opened.device, self.opened.precision)

    def _answer(
        self,
        task: Task,
        prompt: str | list[dict[str, Any]],
        max_new_tokens: int,
        sampling: Sampling,
        write: Write | None,
        generator: Generator | None = None,
    ) -> str:
        decoder = Decoder(self._tokenizer, task.predictor.visible_ids)

        def add(token: int) -> None:
            if write is not None and token not in stop_ids and (text := decoder.add(token)):
                write(text)

        asked, inputs = task.predictor.prompt_ids(prompt), task.predictor.prompt_inputs(prompt)
        stop_ids = task.predictor.stop_ids
        room = prompt_room(self._network, max_new_tokens)
        if inputs is None and room is not None and len(asked) > room:
            self._warn(
                f"The prompt has {len(asked):,} tokens, and only {room:,} fit next to an answer: the "
                f"first {len(asked) - room:,} are left out."
            )
        generator = generator or Generator(self._network, self._tokenizer, self.opened.precision)
        (ids,) = generator.answer([asked], stop_ids, max_new_tokens, sampling, inputs, add)
        if write is not None and (rest := decoder.rest()):
            write(rest)
        return self._tokenizer.decode(task.predictor.visible_ids(ids), skip_special_tokens=True).strip()


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
    return Session(open_named(name, base, runs, base_model, kwargs, trusts_code, opener), warn, bool(kwargs))
