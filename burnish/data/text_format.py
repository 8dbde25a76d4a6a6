"""Plain text to examples: every token is trained."""

from __future__ import annotations

from typing import Any, Protocol

from burnish.data.row import IGNORED, Example, RowError
from burnish.data.token_requests import TokenRequests, answer_alone
from burnish.data.tokens import Tokens


class Text(Protocol):
    """A text record."""

    @property
    def text(self) -> str: ...

    @property
    def ends(self) -> bool: ...

    @property
    def place(self) -> str: ...


class TextFormat:
    """Turns text records into examples of at most a context of tokens.

    A tokenizer that begins texts with BOS by itself gets it in front of every chunk, never twice; it is read, not
    trained. EOS is appended where the record's text ends, and trained.

    Attributes:
        tokens: answers what `requests` asks.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokens = Tokens(tokenizer)

    def prompt_ids(self, text: str) -> list[int]:
        """The beginning of a text as training saw beginnings: behind BOS where the tokenizer begins texts with it."""
        return self.tokens.encode_led([text])[0]

    def encode(self, record: Text, context: int) -> list[Example]:
        """One text encoded on its own, as `requests` does it. Raises RowError where that does."""
        return answer_alone(self.tokens, self.requests(record, context))

    def requests(self, record: Text, context: int) -> TokenRequests[list[Example]]:
        """Consecutive chunks that together hold every token of the record's text.

        Raises:
            RowError: there is no text, or only one token of it.
        """
        if not record.text.strip():
            raise RowError("the text is empty")
        lead = self.tokens.lead
        (ids,) = yield [record.text]
        if ids[: len(lead)] == lead:
            ids = ids[len(lead) :]
        eos = self.tokens.eos_id
        if record.ends and eos is not None and ids[-1:] != [eos]:
            ids = [*ids, eos]
        if len(lead) + len(ids) < 2:
            raise RowError("the text is a single token: there is nothing to predict")
        return [
            Example(lead + chunk, [IGNORED] * len(lead) + chunk, record.place)
            for chunk in _chunks(ids, context - len(lead), least=1 if lead else 2)
        ]


def _chunks(ids: list[int], size: int, least: int) -> list[list[int]]:
    """`ids` in pieces of `size`, the last of at least `least` (the one before it then gives a token away)."""
    if size < 2 * least - 1:
        raise RowError("the context is too short to hold a token and what it is predicted from")
    cuts = list(range(0, len(ids), size))
    if len(cuts) > 1 and len(ids) - cuts[-1] < least:
        cuts[-1] = len(ids) - least
    return [ids[start:end] for start, end in zip(cuts, [*cuts[1:], len(ids)], strict=True)]
