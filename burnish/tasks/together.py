"""Rows whose texts are tokenized together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from burnish.data.row import RowError
from burnish.data.token_requests import TokenRequests, answer_alone, answer_together
from burnish.data.tokens import Tokens
from burnish.tasks.task import EncodedRow


class EncodesTogether(ABC):
    """Goes before `TaskDefaults` among the bases of a task that encodes a row by asking for token ids."""

    _tokens: Tokens

    @abstractmethod
    def _requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """The work on one record. Raises RowError where nothing can be learned from it."""

    def encode(self, record: Any, context: int) -> EncodedRow:
        """A record on its own. Raises RowError where nothing can be learned from it."""
        return answer_alone(self._tokens, self._requests(record, context))

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """Many records, in the tokenizer's batches."""
        return answer_together(self._tokens, [self._requests(record, context) for record in records])
