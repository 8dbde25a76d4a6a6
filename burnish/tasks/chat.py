"""Task `chat`: conversations and instructions; only the answers are trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from burnish.data.chat.calls import CallForm
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.reading import AnswerReader
from burnish.data.chat.template import split_thought
from burnish.data.rows.records import ChatRecord
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import NextTokenEncoder, NextTokenObjective, PerplexityScorer, PredictorDefaults
from burnish.tasks.task import Parts, Question, TaskFacts


class ChatEncoder(NextTokenEncoder):
    """Encodes conversations with the tokenizer's chat template."""

    def __init__(self, tokenizer: Any, chat_format: ChatFormat) -> None:
        super().__init__(tokenizer, chat_format)
        self._chat = chat_format

    @property
    def notes(self) -> list[str]:
        """What the template cannot express, and how it is expressed instead."""
        return self._chat.notes

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """Which keys of messages the template does not write, and what becomes of thoughts."""
        return self._chat.notes_on(keys)


class ChatPredictor(PredictorDefaults):
    """Answers a user's turns, rendered with the template that the model was trained with."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._format = chat_format

    @property
    def ends(self) -> list[int]:
        """EOS and the template's end of turn."""
        return self._format.stop_ids

    def prompt_ids(
        self, prompt: str | list[dict[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The prompt for a user's message or a conversation, up to where the answer begins."""
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return self._format.prompt_ids(turns, tools)

    @property
    def call_form(self) -> CallForm | None:
        """The template's own."""
        return self._format.call_form

    def reader(self, prompt_ids: Sequence[int], with_calls: bool = False) -> AnswerReader:
        """Thoughts, words and calls as the template writes them."""
        return self._format.reader(prompt_ids, with_calls)

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """The ids without those that the template itself puts before an answer."""
        return self._format.visible_ids(ids)

    def answer_text(self, text: str) -> str:
        """The text after the model's reasoning, if there is any."""
        answer = split_thought(text)[1]
        # if the template's prompt opens the reasoning, the text has only the end of it
        return (answer if "<think>" in answer else answer.rpartition("</think>")[2]).strip()

    def question(self, record: ChatRecord) -> Question | None:
        """The last answer, with everything before it as its prompt; None if the answer is a tool call."""
        *earlier, last = record.messages
        if last["role"] != "assistant" or not isinstance(last.get("content"), str) or last.get("tool_calls"):
            return None
        prompt_ids = self._format.prompt_ids(earlier, record.tools)
        question = next((message["content"] for message in reversed(earlier) if message.get("content")), "")
        return Question(prompt_ids, str(question), self.answer_text(last["content"]), record.place)

    def served_prompts(self, record: ChatRecord) -> list[list[int]]:
        """The prompts of evaluation and of a user's turns."""
        served = super().served_prompts(record)
        return [*served, list(self.prompt_ids(list(record.messages[:-1]), record.tools))] if served else served


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    chat_format = ChatFormat(tokenizer, kwargs=recipe.template.kwargs)
    objective = NextTokenObjective(recipe.model.kernels)
    encoder, predictor = ChatEncoder(tokenizer, chat_format), ChatPredictor(chat_format)
    return Parts(encoder, objective, PerplexityScorer(objective), predictor)


CHAT = TaskFacts(
    name="chat",
    records=(ChatRecord,),
    kinds=("causal",),
    build=_build,
    sections=("template",),
    generates=True,
    reads_turns=True,
    counts_tokens=True,
    learned="answers in the manner of the rows that it was trained on",
    usual_rows=(1_000, 50_000),
    sample="helpdesk.jsonl",
    trainer="SFTTrainer",
    snippets=("chat", "chat"),
)
