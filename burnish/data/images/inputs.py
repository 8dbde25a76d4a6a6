"""Image inputs of a model: their place in the chat template, their tokens in a text, their pixels in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.data.chat.template import ChatTemplate, Message
from burnish.data.images.images import Album, Picture
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.errors import DataError, ModelError

_BEFORE, _BEHIND = "zqbeforezq", "zqbehindzq"


class PictureTemplate(ChatTemplate):
    """Renders messages whose texts contain `mark` in place of each image.

    The template gets every content as a list of parts. What it writes for an image is found by rendering one, and is
    used as the mark. So a rendered conversation contains its messages verbatim, which finding the answers relies on.

    Args:
        tokenizer: a tokenizer with a chat template.
        placeholder: token that the model's processor replaces by those of an image.
        around: text that the processor writes before and after them.

    Attributes:
        mark: what the template writes for one image; contains `placeholder` once.
        notes: adaptations, as sentences for the user.

    Raises:
        ModelError: the template does not support images.
    """

    def __init__(self, tokenizer: Any, placeholder: str, around: tuple[str, str] = ("", "")) -> None:
        super().__init__(tokenizer)
        self._placeholder = placeholder
        self._around = around
        self.notes: list[str] = []
        self.mark = ""
        before, behind = ({"type": "text", "text": text} for text in (_BEFORE, _BEHIND))
        picture = {"type": "image"}
        try:
            self.mark = self._rendered([before, picture, behind]).partition(_BEFORE)[2].partition(_BEHIND)[0]
            self._is_in_place = self.mark.count(placeholder) == 1
            if not self._is_in_place:
                self.mark = self._repeated(self._rendered([picture, picture, before]))
                self.notes.append("the template puts the images of a message before its text")
        except RowError as error:
            raise self._unfit(str(error)) from error
        if self.mark.count(placeholder) != 1:
            raise self._unfit(f"It does not write `{placeholder}` for an image")

    def spell(self, parts: Sequence[Mapping[str, Any]]) -> str:
        """The text of a message's parts, with the mark in place of each image.

        Raises:
            RowError: a text contains the model's image token, which would be taken as an image.
        """
        for part in parts:
            if self._placeholder in part.get("text", ""):
                raise RowError(f"the text contains `{self._placeholder}`, which this model treats as an image")
        if not self._is_in_place:
            parts = sorted(parts, key=lambda part: part["type"] != "image")
        return "".join(self.mark if part["type"] == "image" else part["text"] for part in parts)

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """Like `ChatTemplate.render`, with the marks as images."""
        prepared = [{**message, "content": self._parts(message["content"])} for message in messages]
        return (
            super()
            .render(prepared, tools, answer_next)
            .replace(self._placeholder, self._placeholder.join(self._around))
        )

    def _parts(self, text: Any) -> Any:
        if not isinstance(text, str):  # parts already, with a thought
            return text
        pieces = text.split(self.mark) if self.mark else [text]
        parts: list[Message] = []
        for number, piece in enumerate(pieces):
            parts += [{"type": "image"}] if number else []
            parts += [{"type": "text", "text": piece}] if piece or len(pieces) == 1 else []
        return parts

    def _rendered(self, parts: list[Message]) -> str:
        return super().render([{"role": "user", "content": parts}], None, answer_next=True)

    def _repeated(self, text: str) -> str:
        """The text from the first placeholder up to the second."""
        first = text.find(self._placeholder)
        second = text.find(self._placeholder, first + 1)
        return text[first:second] if 0 <= first < second else ""

    def _unfit(self, reason: str) -> ModelError:
        return ModelError(
            "the model's chat template does not support images",
            f"{reason}.",
            "Use a model whose processor has a chat template for images",
        )


Load = Callable[[], dict[str, torch.Tensor]]
_PROBE_PIXELS = 64
# Errors that processors raise for unsupported images, such as very long ones.
_PROCESSOR_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ZeroDivisionError)


@dataclass(frozen=True, slots=True)
class PictureExample(Example):
    """A conversation with the tokens of its images in place; pixels are loaded when needed."""

    pictures: tuple[Picture, ...]
    spans: tuple[tuple[int, int], ...]
    """Positions [start, end) of each image's tokens."""


@dataclass(frozen=True, slots=True)
class PictureBatch(Batch):
    """A batch whose pixels are loaded only when it moves to its device: those of all batches would fill the memory."""

    load: Load = dict
    """Loads the inputs from the images."""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its pixels, on `device`."""
        return Batch.to(replace(self, inputs={**self.inputs, **self.load()}, load=dict), device)


class PictureInputs:
    """Puts images into examples and batches with the model's own processor.

    Args:
        processor: a transformers processor with its tokenizer.
        album: opens the images.

    Attributes:
        placeholder: token that the processor replaces by those of an image.
        around: text that it writes before and after an image's tokens, which may merge with adjacent text.

    Raises:
        ModelError: the processor fails on a gray square.
    """

    def __init__(self, processor: Any, album: Album) -> None:
        self._processor = processor
        self._album = album
        tokenizer = processor.tokenizer
        self._added = set(tokenizer.added_tokens_decoder)
        self.placeholder: str = processor.image_token
        self._placeholder_id = tokenizer.convert_tokens_to_ids(self.placeholder)
        probed = self._probe()
        ids = probed["input_ids"][0].tolist()
        begin, end = self._inner(ids)
        self.around = tokenizer.decode(ids[:begin]), tokenizer.decode(ids[end:])
        beside = ("input_ids", "attention_mask", *processor.image_processor.model_input_names)
        self._kinds = {
            name: values.dtype
            for name, values in probed.items()
            if name not in beside and values.shape == probed["input_ids"].shape
        }
        """Further inputs per token and their dtypes, for example whether it belongs to an image."""

    def put_in(self, example: Example, pictures: Sequence[Picture]) -> PictureExample:
        """The example with each placeholder replaced by the tokens of its image, which are never trained on.

        Raises:
            RowError: the processor rejects an image, or an image's tokens depend on other images.
        """
        marked = [position for position, id_ in enumerate(example.input_ids) if id_ == self._placeholder_id]
        if len(marked) > len(pictures):
            raise RowError(f"the chat template shows {len(marked)} images, but the row has {len(pictures)}")
        shown = tuple(pictures[: len(marked)])
        tokens = [self._tokens([picture]) for picture in shown]
        if len(shown) > 1 and self._only_added(sum(tokens, [])) != self._only_added(self._tokens(shown)):
            raise RowError(
                "the processor produces different tokens for several images together than for each of them alone"
            )
        ids: list[int] = []
        labels: list[int] = []
        spans = []
        done = 0
        for position, whole in zip(marked, tokens, strict=True):
            inner = whole[slice(*self._inner(whole))]
            ids += example.input_ids[done:position]
            labels += example.labels[done:position]
            spans.append((len(ids), len(ids) + len(inner)))
            ids += inner
            labels += [IGNORED] * len(inner)
            done = position + 1
        ids += example.input_ids[done:]
        labels += example.labels[done:]
        return PictureExample(ids, labels, example.place, shown, tuple(spans))

    def load(self, examples: Sequence[PictureExample], width: int) -> dict[str, torch.Tensor]:
        """All inputs of the network besides token ids and attention mask, for one example per row.

        Args:
            examples: examples of the batch.
            width: width of the batch in tokens; inputs per token are 0 outside of images.

        Raises:
            DataError: an image is missing or has changed since the rows were read.
        """
        kinds = {name: torch.zeros(len(examples), width, dtype=dtype) for name, dtype in self._kinds.items()}
        rows = [row for row, example in enumerate(examples) if example.pictures]
        if not rows:
            return kinds
        try:
            processed = self._process([examples[row].pictures for row in rows])
        except RowError as error:
            raise DataError(f"{examples[rows[0]].place}: {error}", "", "Restore the image file") from error
        ids, mask = processed.pop("input_ids"), processed.pop("attention_mask").bool()
        mask &= torch.isin(ids, torch.tensor(sorted(self._added)))
        places = [self._places(examples[row]) for row in rows]
        for number, row in enumerate(rows):
            if ids[number][mask[number]].tolist() != [examples[row].input_ids[place] for place in places[number]]:
                raise DataError(
                    f"{examples[row].place}: the processor produces different tokens for the images in a batch than "
                    "one row at a time",
                    "The tokens would not match the pixels.",
                    "Use another model, or set `batch.rows=1`",
                )
            for name, spread in kinds.items():
                spread[row, places[number]] = processed[name][number][mask[number]]
        return {**processed, **kinds}

    def _places(self, example: PictureExample) -> list[int]:
        """Positions of the added tokens within images."""
        inside = (position for start, end in example.spans for position in range(start, end))
        return [position for position in inside if example.input_ids[position] in self._added]

    def _only_added(self, ids: Sequence[int]) -> list[int]:
        return [id_ for id_ in ids if id_ in self._added]

    def _inner(self, ids: Sequence[int]) -> tuple[int, int]:
        """[begin, end) of an image's tokens without ordinary text around them."""
        added = [position for position, id_ in enumerate(ids) if id_ in self._added]
        return (added[0], added[-1] + 1) if added else (0, len(ids))

    def _tokens(self, pictures: Sequence[Picture]) -> list[int]:
        return self._process([pictures])["input_ids"][0].tolist()

    def _probe(self) -> dict[str, torch.Tensor]:
        from PIL import Image

        gray = Image.new("RGB", (_PROBE_PIXELS, _PROBE_PIXELS), "grey")
        try:
            return self._call([self.placeholder], [[gray]])
        except _PROCESSOR_ERRORS as error:
            raise ModelError(
                "the model's processor cannot handle an image",
                f"For a gray square it raises: {error}",
                "Use another model, or check the files of its processor",
            ) from error

    def _process(self, rows: Sequence[Sequence[Picture]]) -> dict[str, torch.Tensor]:
        """The processor's output for rows of images without text.

        Raises:
            RowError: the processor rejects an image, or its file is missing.
        """
        images = [[self._album.open(picture) for picture in row] for row in rows]
        try:
            return self._call([self.placeholder * len(row) for row in rows], images)
        except _PROCESSOR_ERRORS as error:
            raise RowError(f"the processor rejects the image `{rows[0][0].name}`: {error}") from error

    def _call(self, texts: list[str], images: list[list[Any]]) -> dict[str, torch.Tensor]:
        return dict(
            self._processor(
                text=texts,
                images=images,
                add_special_tokens=False,
                padding=True,
                padding_side="right",
                return_tensors="pt",
            )
        )
