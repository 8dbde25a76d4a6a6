"""Task `vision`: conversations about pictures; only the answers are trained on, never the tokens of pictures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.own_template import set_kwargs
from burnish.data.images.images import Album, Picture
from burnish.data.images.inputs import PictureBatch, PictureExample, PictureInputs, PictureTemplate
from burnish.data.images.rows import MARK, make_record, read_prompt
from burnish.data.rows.records import ChatRecord, PictureRecord
from burnish.data.rows.row import IGNORED, EncodedRow, Example, RowError
from burnish.data.tokens.tokens import TokenRequests
from burnish.errors import InputError
from burnish.models.processor import IMAGE_TEXT, copy_processor, image_tower, load_processor
from burnish.recipe.schema import Recipe
from burnish.tasks.chat import ChatEncoder, ChatPredictor
from burnish.tasks.defaults import NextTokenObjective, PerplexityScorer
from burnish.tasks.task import Parts, Question, TaskFacts


class PictureFormat:
    """Encodes turns with pictures, with the model's chat template and processor."""

    def __init__(self, tokenizer: Any, longest_side: int | None, kwargs: Mapping[str, Any]) -> None:
        self.tokenizer = tokenizer
        self.processor = load_processor(tokenizer)
        # what the template writes for an image may depend on them, and the tokenizer has it from the processor
        set_kwargs(tokenizer, kwargs)
        self.inputs = PictureInputs(self.processor, Album(longest_side))
        self.template = PictureTemplate(tokenizer, self.inputs.placeholder, self.inputs.around)
        self.chat = ChatFormat(tokenizer, self.template, kwargs)

    def spelled(self, messages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        """The messages with their pictures as marks in the text."""
        return tuple({**message, "content": self.template.spell(message["content"])} for message in messages)

    def prompt(self, messages: Sequence[Mapping[str, Any]], pictures: Sequence[Picture], place: str) -> PictureExample:
        """The prompt for a conversation, up to where the answer begins."""
        ids = self.chat.prompt_ids(self.spelled(messages))
        return self.inputs.put_in(Example(ids, [IGNORED] * len(ids), place), pictures)


class PictureEncoder(ChatEncoder):
    """Encodes conversations with the tokens of their pictures."""

    can_pack = False

    def __init__(self, pictures: PictureFormat) -> None:
        super().__init__(pictures.tokenizer, pictures.chat)
        self._pictures = pictures

    @property
    def notes(self) -> list[str]:
        """What the template cannot express, and how it is expressed instead."""
        return [*self._pictures.template.notes, *super().notes]

    def _requests(self, record: PictureRecord, context: int) -> TokenRequests[EncodedRow]:
        """Renders the template, marks the answers and inserts the tokens of the pictures; nothing is cut."""
        spelled = ChatRecord(self._pictures.spelled(record.messages), None, record.place)
        encoded = yield from self._chat.requests(spelled, sys.maxsize)
        examples = [self._pictures.inputs.put_in(example, record.images) for example in encoded.examples]
        longest = max(example.num_tokens for example in examples)
        if longest > context:
            shown = sum(end - start for example in examples for start, end in example.spans)
            raise RowError(
                f"it has {longest} tokens, {shown} of them for its images, and the context is {context}: an image "
                "cannot be truncated, so raise `data.context` or lower `vision.longest_side`"
            )
        return EncodedRow(examples, 0, refused=tuple(encoded.refused))

    def collate(self, examples: Sequence[Any], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None) -> Batch:
        """Token ids, padded on the right; the pixels are loaded when the batch moves to its device."""
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
            load=partial(self._pictures.inputs.load, chosen, width),
        )


class PictureObjective(NextTokenObjective):
    """Trains the language model on the answers; the vision tower is frozen unless it is to be trained."""

    head = IMAGE_TEXT

    def __init__(self, trains_tower: bool) -> None:
        super().__init__("plain")
        self._trains_tower = trains_tower

    def inspect_model(self, network: Any) -> list[str]:
        """Notes which part of the model is frozen."""
        tower = ", ".join(f"`{name}`" for name in image_tower(network))
        if self._trains_tower:
            return []
        return [
            f"The vision tower ({tower}) is frozen; to train it, use `vision.train_tower=true`."
            if tower
            else "The vision tower of this model was not found, so it may be trained, too."
        ]

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """The vision tower, unless it is to be trained."""
        return () if self._trains_tower else image_tower(network)


class PicturePredictor(ChatPredictor):
    """Answers turns that may contain pictures."""

    def __init__(self, pictures: PictureFormat) -> None:
        super().__init__(pictures.chat)
        self._pictures = pictures

    def question(self, record: PictureRecord) -> Question:
        """The last answer, with everything before it as its prompt."""
        *earlier, last = record.messages
        asked = self._pictures.prompt(earlier, record.images, record.place)
        texts = [_text_of(message["content"]) for message in earlier if message["role"] == "user"]
        answer = self.answer_text(_text_of(last["content"]))
        load = partial(self._pictures.inputs.load, [asked], asked.num_tokens) if asked.pictures else None
        return Question(list(asked.input_ids), texts[-1] if texts else "", answer, record.place, load)

    def served_prompts(self, record: PictureRecord) -> list[list[int]]:
        """The prompt of evaluation."""
        return [self.question(record).prompt_ids]

    def prompt_ids(
        self, prompt: str | list[dict[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The prompt for a user's message or a conversation, up to where the answer begins.

        A user's message may be a JSON object with `prompt` and `images`, a list of files; or a list of parts, which
        names no files.

        Raises:
            InputError: a picture cannot be opened, or the number of `<image>` marks differs from that of pictures.
        """
        return list(self._prompted(prompt).input_ids)

    def prompt_inputs(self, prompt: str | list[dict[str, Any]]) -> dict[str, torch.Tensor] | None:
        """The pixels of a prompt's pictures. Raises InputError like `prompt_ids`."""
        asked = self._prompted(prompt)
        return self._pictures.inputs.load([asked], asked.num_tokens) if asked.pictures else None

    def _prompted(self, prompt: str | list[dict[str, Any]]) -> PictureExample:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        sources: list[Any] = []
        messages = []
        try:
            for turn in turns:
                # parts come from a server: there, no text names a file
                is_typed = turn["role"] == "user" and isinstance(turn["content"], str)
                text, shown = read_prompt(turn["content"]) if is_typed else (turn["content"], [])
                messages.append({**turn, "content": text})
                sources += shown
            record = make_record(tuple(messages), sources, Path(), "the prompt")
            return self._pictures.prompt(record.messages, record.images, record.place)
        except RowError as error:
            raise InputError(
                "the prompt cannot be encoded",
                f"{error}.",
                'Write it as `\'{"prompt": "What is this?", "images": ["picture.png"]}\'`',
            ) from error

    def save_extras(self, folder: Path) -> None:
        """The processor's files, which the result needs for pictures."""
        copy_processor(self._pictures.tokenizer, self._pictures.processor, folder)


def _text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(MARK if part["type"] == "image" else part["text"] for part in parts)


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    pictures, objective = (
        PictureFormat(tokenizer, recipe.vision.longest_side, recipe.template.kwargs),
        PictureObjective(recipe.vision.train_tower),
    )
    return Parts(PictureEncoder(pictures), objective, PerplexityScorer(objective), PicturePredictor(pictures))


VISION = TaskFacts(
    name="vision",
    records=(PictureRecord,),
    kinds=("image-text",),
    build=_build,
    auto_class=IMAGE_TEXT.auto_class,
    sections=("template", "vision"),
    generates=True,
    reads_turns=True,
    takes_pictures=True,
    learned="answers questions about images",
    pipeline="image-text-to-text",
    snippets=("vision", "vision"),
)
