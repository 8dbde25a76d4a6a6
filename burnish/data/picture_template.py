"""Chat templates of models that see: where a picture stands in a conversation, and what the template writes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.chat_template import ChatTemplate
from burnish.data.messages import Message
from burnish.data.row import RowError
from burnish.errors import ModelError

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
