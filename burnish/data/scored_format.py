"""Dialogues as token ids that a model reads whole to score their last answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.data.preference_format import PreferenceFormat
from burnish.data.records import Messages, PreferenceRecord, RatedRecord
from burnish.data.row import RowError
from burnish.data.text_pairs import PairFormat, ReadTokens


class ScoredFormat:
    """Turns records into token ids: with the chat template, or, for an encoder that has none, as a pair of texts.

    Raises:
        ModelError: the chat template is of a kind whose answers cannot be found for sure.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts = PairFormat(tokenizer)
        closes = tokenizer("a")["input_ids"][-1:] != tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        reads_pairs = closes and not tokenizer.chat_template
        self._chat = None if reads_pairs else PreferenceFormat(tokenizer)

    def pair(self, record: PreferenceRecord, context: int) -> tuple[list[ReadTokens], int]:
        """The better and the worse dialogue, and how many tokens their prompt lost on the left to fit `context`.

        Raises:
            RowError: an answer does not fit, both have the same tokens, or the template refuses a dialogue.
        """
        if self._chat is None:
            both, cut = self._as_texts(record.prompt, [record.chosen, record.rejected], context)
            if both[0].input_ids == both[1].input_ids:
                raise RowError("the chosen and the rejected answer are the same in tokens")
            return both, cut
        pair, cut = self._chat.pair(record, context)
        ids = [pair.prompt_ids + answer.ids for answer in (pair.chosen, pair.rejected)]
        return [ReadTokens(each, None, cut) for each in ids], cut

    def single(self, prompt: Messages, answer: Messages, context: int) -> ReadTokens:
        """One dialogue. Raises RowError as `pair` does."""
        if self._chat is None:
            return self._as_texts(prompt, [answer], context)[0][0]
        rated, cut = self._chat.rated(RatedRecord(prompt, answer, True, None, ""), context)
        return ReadTokens(rated.prompt_ids + rated.answer.ids, None, cut)

    def text(self, text: str, context: int) -> ReadTokens:
        """A text that is no dialogue, as it stands."""
        return self._texts.encode([text], context)

    def _as_texts(self, prompt: Messages, answers: Sequence[Messages], context: int) -> tuple[list[ReadTokens], int]:
        asked, said = _in_words(prompt), [_in_words(answer) for answer in answers]
        whole = [self._texts.encode([asked, answer], _UNBOUNDED) for answer in said]
        over = max(len(read.input_ids) for read in whole) - context
        if over <= 0:
            return whole, 0
        ids = self._tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
        if over >= len(ids):
            raise RowError(f"the answer alone is longer than the context of {context} has room for")
        # A few pieces may fall out differently where the text was cut; `encode` sees to the rest.
        asked = self._tokenizer.decode(ids[over:])
        return [self._texts.encode([asked, answer], context) for answer in said], over


_UNBOUNDED = 1 << 30


def _in_words(messages: Messages) -> str:
    """The text of a single turn; of several, a line for each with its speaker."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
