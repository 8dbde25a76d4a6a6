"""Task `chat`: conversations and instructions; only the answers are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.messages import split_thought
from burnish.data.rows.records import ChatRecord
from burnish.data.tokens.tokens import TokenRequests
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncodesTogether
from burnish.tasks.task import EncodedRow, Question
from burnish.tasks.text import NextTokenTask


class ChatTask(EncodesTogether, NextTokenTask):
    """Learns to answer."""

    name: ClassVar[str] = "chat"
    trainer: ClassVar[str] = "SFTTrainer"
    snippets: ClassVar[tuple[str, str]] = ("chat", "chat")
    learned: ClassVar[str] = "answers, as the rows that it was trained on do"
    usual_rows: ClassVar[tuple[int, int] | None] = (1_000, 50_000)
    reads_turns: ClassVar[bool] = True

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        super().__init__(tokenizer, recipe)
        self._format = ChatFormat(tokenizer)
        self._tokens = self._format.tokens

    @property
    def notes(self) -> list[str]:
        """What the template could not say and how it is said instead."""
        return self._format.notes

    @property
    def stop_ids(self) -> list[int]:
        """EOS and the template's end of turn."""
        return self._format.stop_ids

    def _requests(self, record: ChatRecord, context: int) -> TokenRequests[EncodedRow]:
        """Renders the template and marks the answers; over-long prompts are cut from the left."""
        encoded = yield from self._format.requests(record, context)
        return EncodedRow(encoded.examples, encoded.truncated_tokens)

    def prompt_ids(self, prompt: str | list[dict[str, Any]]) -> list[int]:
        """A user's message, or the turns so far, up to where the answer begins."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return self._format.prompt_ids(turns)

    def spoken(self, ids: Sequence[int]) -> Sequence[int]:
        """Without what the template itself writes before an answer."""
        return self._format.spoken(ids)

    def answer_in(self, text: str) -> str:
        """What stands behind the thought, where the model thinks aloud."""
        answer = split_thought(text)[1]
        # where the template prompts with an open thought, the text has only the end of it
        return (answer if "<think>" in answer else answer.rpartition("</think>")[2]).strip()

    def question(self, record: ChatRecord) -> Question | None:
        """The last answer, asked for by everything before it; None where that answer is a tool call."""
        *earlier, last = record.messages
        if last["role"] != "assistant" or not isinstance(last.get("content"), str) or last.get("tool_calls"):
            return None
        prompt_ids = self._format.prompt_ids(earlier, record.tools)
        asked = next((message["content"] for message in reversed(earlier) if message.get("content")), "")
        return Question(prompt_ids, str(asked), self.answer_in(last["content"]), record.place)
