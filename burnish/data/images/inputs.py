"""What a processor makes of images: where a template places them, their tokens in a text, their pixels in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.data.chat.messages import Message
from burnish.data.chat.template import ChatTemplate
from burnish.data.images.images import Album, Picture
from burnish.data.rows.row import IGNORED, Example, RowError
from burnish.errors import DataError, ModelError

_BEFORE, _BEHIND = "zqbeforezq", "zqbehindzq"


class PictureTemplate(ChatTemplate):
    """Renders messages whose texts hold `mark` wherever a picture stands.

    To the template itself every content is a list of parts. What it writes for a picture is found by looking, and
    serves as the mark: so a rendered conversation holds its messages word for word, which finding the answers in it
    rests on.

    Args:
        tokenizer: with a chat template.
        placeholder: token that the model's processor replaces by those of a picture.
        around: text that the processor writes before and behind them.

    Attributes:
        mark: what the template writes for one picture; holds `placeholder` once.
        notes: what was adapted, in sentences.

    Raises:
        ModelError: the template cannot show a picture.
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
                self.notes.append("the template puts the pictures of a message before its text")
        except RowError as refusal:
            raise self._unfit(str(refusal)) from refusal
        if self.mark.count(placeholder) != 1:
            raise self._unfit(f"it writes no `{placeholder}` where a picture stands")

    def spell(self, parts: Sequence[Mapping[str, Any]]) -> str:
        """The text of a message's parts, with the mark where a picture stands.

        Raises:
            RowError: a text spells the model's token for a picture, which would count as one.
        """
        for part in parts:
            if self._placeholder in part.get("text", ""):
                raise RowError(f"the text spells `{self._placeholder}`, which this model reads as a picture")
        if not self._is_in_place:
            parts = sorted(parts, key=lambda part: part["type"] != "image")
        return "".join(self.mark if part["type"] == "image" else part["text"] for part in parts)

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """As `ChatTemplate.render`, with the marks as pictures."""
        told = [{**message, "content": self._parts(message["content"])} for message in messages]
        return super().render(told, tools, answer_next).replace(self._placeholder, self._placeholder.join(self._around))

    def _parts(self, text: str) -> list[Message]:
        pieces = text.split(self.mark) if self.mark else [text]
        parts: list[Message] = []
        for number, piece in enumerate(pieces):
            parts += [{"type": "image"}] if number else []
            parts += [{"type": "text", "text": piece}] if piece or len(pieces) == 1 else []
        return parts

    def _rendered(self, parts: list[Message]) -> str:
        return super().render([{"role": "user", "content": parts}], None, answer_next=True)

    def _repeated(self, text: str) -> str:
        """From the first placeholder up to the second."""
        first = text.find(self._placeholder)
        second = text.find(self._placeholder, first + 1)
        return text[first:second] if 0 <= first < second else ""

    def _unfit(self, reason: str) -> ModelError:
        return ModelError(
            "the model's chat template cannot be used with pictures",
            f"{reason}.",
            "Name a model whose processor comes with a chat template for pictures",
        )


Load = Callable[[], dict[str, torch.Tensor]]
_PROBE_PIXELS = 64
# What processors raise for pictures that they cannot take, such as very long ones.
_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ZeroDivisionError)


@dataclass(frozen=True, slots=True)
class PictureExample(Example):
    """A conversation with the tokens of its pictures in place; the pixels are read when they are needed."""

    pictures: tuple[Picture, ...]
    spans: tuple[tuple[int, int], ...]
    """Positions [start, end) of each picture's tokens."""


@dataclass(frozen=True, slots=True)
class PictureBatch(Batch):
    """A batch whose pixels are read only while it moves to its device: those of all batches would fill the memory."""

    load: Load = dict
    """Gives the inputs that come from the pictures."""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its pixels, on `device`."""
        return Batch.to(replace(self, inputs={**self.inputs, **self.load()}, load=dict), device)


class PictureInputs:
    """Puts pictures into examples and batches, by way of a model's own processor.

    Args:
        processor: of transformers, with its tokenizer.
        album: opens the pictures.

    Attributes:
        placeholder: token that the processor replaces by those of a picture.
        around: text that it writes before and behind a picture's tokens, which may merge with the text beside it.

    Raises:
        ModelError: the processor cannot put even a grey square into a text.
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
        """What the network wants to know of each token besides its id, for example whether it stands for a picture."""

    def put_in(self, example: Example, pictures: Sequence[Picture]) -> PictureExample:
        """The example with each placeholder replaced by the tokens of its picture, which are never trained on.

        Raises:
            RowError: the processor refuses a picture, or a picture's tokens depend on what stands beside it.
        """
        marked = [position for position, id_ in enumerate(example.input_ids) if id_ == self._placeholder_id]
        if len(marked) > len(pictures):
            raise RowError(f"the chat template shows {len(marked)} pictures where there are {len(pictures)}")
        shown = tuple(pictures[: len(marked)])
        tokens = [self._tokens([picture]) for picture in shown]
        if len(shown) > 1 and self._only_added(sum(tokens, [])) != self._only_added(self._tokens(shown)):
            raise RowError("the processor gives several pictures other tokens than each of them alone")
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
        """Everything that the network wants besides token ids and their mask, for one example a row.

        Args:
            examples: of the batch.
            width: of the batch in tokens; what belongs to tokens is 0 outside pictures.

        Raises:
            DataError: a picture is gone, or has changed since the rows were read.
        """
        kinds = {name: torch.zeros(len(examples), width, dtype=dtype) for name, dtype in self._kinds.items()}
        rows = [row for row, example in enumerate(examples) if example.pictures]
        if not rows:
            return kinds
        try:
            processed = self._process([examples[row].pictures for row in rows])
        except RowError as error:
            raise DataError(f"{examples[rows[0]].place}: {error}", "", "Put the picture back as it was") from error
        ids, mask = processed.pop("input_ids"), processed.pop("attention_mask").bool()
        mask &= torch.isin(ids, torch.tensor(sorted(self._added)))
        places = [self._places(examples[row]) for row in rows]
        for number, row in enumerate(rows):
            if ids[number][mask[number]].tolist() != [examples[row].input_ids[place] for place in places[number]]:
                raise DataError(
                    f"{examples[row].place}: the processor gives the pictures other tokens in a batch than alone",
                    "Training on tokens that do not belong to the pixels would teach the model nonsense.",
                    "Name another model, or set `batch.rows=1`",
                )
            for name, spread in kinds.items():
                spread[row, places[number]] = processed[name][number][mask[number]]
        return {**processed, **kinds}

    def _places(self, example: PictureExample) -> list[int]:
        """Positions of the tokens that stand for nothing but pictures."""
        inside = (position for start, end in example.spans for position in range(start, end))
        return [position for position in inside if example.input_ids[position] in self._added]

    def _only_added(self, ids: Sequence[int]) -> list[int]:
        return [id_ for id_ in ids if id_ in self._added]

    def _inner(self, ids: Sequence[int]) -> tuple[int, int]:
        """[begin, end) of a picture's tokens without the plain text around them."""
        added = [position for position, id_ in enumerate(ids) if id_ in self._added]
        return (added[0], added[-1] + 1) if added else (0, len(ids))

    def _tokens(self, pictures: Sequence[Picture]) -> list[int]:
        return self._process([pictures])["input_ids"][0].tolist()

    def _probe(self) -> dict[str, torch.Tensor]:
        from PIL import Image

        grey = Image.new("RGB", (_PROBE_PIXELS, _PROBE_PIXELS), "grey")
        try:
            return self._call([self.placeholder], [[grey]])
        except _REFUSALS as error:
            raise ModelError(
                "the model's processor cannot put a picture into a text",
                f"For a grey square it says: {error}",
                "Name another model, or check its processor's files",
            ) from error

    def _process(self, rows: Sequence[Sequence[Picture]]) -> dict[str, torch.Tensor]:
        """What the processor makes of rows of pictures without the text between them.

        Raises:
            RowError: it refuses a picture, or its file is gone.
        """
        images = [[self._album.open(picture) for picture in row] for row in rows]
        try:
            return self._call([self.placeholder * len(row) for row in rows], images)
        except _REFUSALS as error:
            raise RowError(f"the processor refuses the picture `{rows[0][0].name}`: {error}") from error

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
