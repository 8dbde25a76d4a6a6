"""Task `vision`: conversations about pictures; only the answers are trained on, never a picture's tokens."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.chat.format import ChatFormat
from burnish.data.images.images import Album, Picture
from burnish.data.images.inputs import PictureBatch, PictureExample, PictureInputs, PictureTemplate
from burnish.data.images.rows import MARK, make_record, read_prompt
from burnish.data.rows.records import ChatRecord, PictureRecord
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.data.tokens.tokens import TokenRequests
from burnish.errors import InputError
from burnish.models.heads import Head
from burnish.models.processor import IMAGE_TEXT, copy_processor, image_tower, load_processor
from burnish.recipe.schema import Recipe
from burnish.tasks.chat import ChatTask
from burnish.tasks.task import EncodedRow, Question


class VisionTask(ChatTask):
    """Learns to answer questions about pictures."""

    name: ClassVar[str] = "vision"
    trainer: ClassVar[str] = ""
    snippets: ClassVar[tuple[str, str]] = ("", "")
    learned: ClassVar[str] = "answers questions about pictures"
    pipeline: ClassVar[str] = "image-text-to-text"
    usual_rows: ClassVar[tuple[int, int] | None] = None
    sections: ClassVar[tuple[str, ...]] = ("vision",)
    kinds: ClassVar[tuple[str, ...]] = ("image-text",)
    can_pack: ClassVar[bool] = False

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._processor = load_processor(tokenizer)
        self._inputs = PictureInputs(self._processor, Album(recipe.vision.longest_side))
        self._template = PictureTemplate(tokenizer, self._inputs.placeholder, self._inputs.around)
        self._format = ChatFormat(tokenizer, self._template)
        self._tokens = self._format.tokens
        self._tokenizer = tokenizer
        self._trains_tower = recipe.vision.train_tower

    @property
    def head(self) -> Head:
        """A language model that sees."""
        return IMAGE_TEXT

    @property
    def notes(self) -> list[str]:
        """What the template could not say and how it is said instead."""
        return [*self._template.notes, *self._format.notes]

    def adapt(self, network: Any) -> list[str]:
        """Says which part of the model is left as it is."""
        tower = ", ".join(f"`{name}`" for name in image_tower(network))
        if self._trains_tower:
            return []
        return [
            f"The part that sees ({tower}) is not trained; `vision.train_tower=true` would train it."
            if tower
            else "The part of this model that sees was not found, so it is not kept from being trained."
        ]

    def kept_out(self, network: Any) -> tuple[str, ...]:
        """The vision tower, unless it is to be trained."""
        return () if self._trains_tower else image_tower(network)

    def save_with(self, folder: Path) -> None:
        """The processor's files: without them nobody could show the result a picture."""
        copy_processor(self._tokenizer, self._processor, folder)

    def _requests(self, record: PictureRecord, context: int) -> TokenRequests[EncodedRow]:
        """Renders the template, marks the answers and puts the tokens of the pictures in place; nothing is cut."""
        told = ChatRecord(self._spelled(record.messages), None, record.place)
        encoded = yield from self._format.requests(told, sys.maxsize)
        examples = [self._inputs.put_in(example, record.images) for example in encoded.examples]
        longest = max(example.num_tokens for example in examples)
        if longest > context:
            shown = sum(end - start for example in examples for start, end in example.spans)
            raise RowError(
                f"it has {longest} tokens, {shown} of them for its pictures, and the context is {context}: a picture "
                "cannot be cut, so raise `data.context` or lower `vision.longest_side`"
            )
        return EncodedRow(examples, 0)

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """Token ids side by side, padded on the right; the pixels follow when the batch moves to its device."""
        plain = collate_tokens(examples, rows, self._tokenizer.pad_token_id, packed=False)
        chosen = [examples[index] for index in plain.examples]
        lengths = torch.tensor([[example.num_tokens] for example in chosen])
        width = plain.input_ids.shape[1]
        inputs = {**plain.inputs, "attention_mask": (torch.arange(width)[None] < lengths).long()}
        return PictureBatch(
            inputs,
            plain.targets,
            plain.examples,
            plain.owners,
            plain.num_tokens,
            load=partial(self._inputs.load, chosen, width),
        )

    def question(self, record: PictureRecord) -> Question | None:
        """The last answer, asked for by everything before it."""
        *earlier, last = record.messages
        asked = self._asked(earlier, record.images, record.place)
        texts = [_text_of(message["content"]) for message in earlier if message["role"] == "user"]
        answer = self.answer_in(_text_of(last["content"]))
        load = partial(self._inputs.load, [asked], asked.num_tokens) if asked.pictures else None
        return Question(list(asked.input_ids), texts[-1] if texts else "", answer, record.place, load)

    def prompt_ids(self, prompt: str | list[dict[str, Any]]) -> list[int]:
        """A user's message, or the turns so far, up to where the answer begins.

        A message may be a JSON object with `prompt` and `images`, a list of files.

        Raises:
            InputError: a picture cannot be opened, or the text has not as many `<image>` marks as there are pictures.
        """
        return list(self._prompted(prompt).input_ids)

    def prompt_inputs(self, prompt: str | list[dict[str, Any]]) -> dict[str, torch.Tensor] | None:
        """The pixels of the pictures that a prompt shows. Raises InputError as `prompt_ids` does."""
        asked = self._prompted(prompt)
        return self._inputs.load([asked], asked.num_tokens) if asked.pictures else None

    def _prompted(self, prompt: str | list[dict[str, Any]]) -> PictureExample:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        sources: list[Any] = []
        messages = []
        try:
            for turn in turns:
                text, shown = read_prompt(turn["content"]) if turn["role"] == "user" else (turn["content"], [])
                messages.append({**turn, "content": text})
                sources += shown
            record = make_record(tuple(messages), sources, Path(), "the prompt")
            return self._asked(record.messages, record.images, record.place)
        except RowError as error:
            raise InputError(
                "the prompt cannot be shown to the model",
                f"{error}.",
                'Write it as `\'{"prompt": "What is this?", "images": ["picture.png"]}\'`',
            ) from error

    def _asked(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture], place: str) -> PictureExample:
        ids = self._format.prompt_ids(self._spelled(messages))
        return self._inputs.put_in(Example(ids, [IGNORED] * len(ids), place), pictures)

    def _spelled(self, messages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        return tuple({**message, "content": self._template.spell(message["content"])} for message in messages)


def _text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(MARK if part["type"] == "image" else part["text"] for part in parts)
