"""The answers that one model writes at the same time: a step gives each its next token; rows join and leave between."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import Any

import torch
from transformers.cache_utils import Cache

from burnish.errors import BurnishError
from burnish.inference import key_values
from burnish.inference.grammar import Guide
from burnish.inference.lookup import Lookup
from burnish.inference.sampling import Chooser, Sampling, top_log_probabilities
from burnish.kernels.few_tokens_attention import FEW
from burnish.models.device import arithmetic

_LEAST_PREFIX = 16
"""Tokens of a common beginning that are worth keeping: fewer are computed as fast as they are copied."""
_TRIED = range(3, 3 + 24 + FEW)
"""Tokens on which it is tried whether several can be read together,"""
_ALONE = 6
"""and how many of them are read one after the other."""
_PADDED = 1.25
"""Prompts are read together if that makes at most so many times their tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token."""

    id: int
    log_probability: float | None = None
    """In nats; None unless it was asked for."""
    top: list[tuple[int, float]] = field(default_factory=list)
    """The most likely tokens of its place, with theirs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt to be continued."""

    ids: list[int]
    """The prompt's tokens, at least one."""
    stop_ids: Collection[int]
    most: int
    """New tokens."""
    sampling: Sampling = Sampling()
    top: int | None = None
    """How many log-probabilities each token gets; None for none at all."""
    guide: Guide | None = None
    """What the answer may be; of this answer alone."""
    inputs: Mapping[str, torch.Tensor] | None = None
    """What the prompt needs besides its tokens, for example pixels."""


@dataclass(slots=True, eq=False)
class Row:
    """One answer, as far as it is written."""

    asked: Asked
    chooser: Chooser
    new: list[int] = field(default_factory=list)
    ended: str | None = None
    """`stop`, `length` or `cancelled`; None while it goes on."""
    error: BurnishError | None = None
    """Why it was cancelled, if its own request is to blame."""
    shift: int = 0
    """Of positions against the number of tokens: some models count the tokens of a picture in two directions."""
    lookup: Lookup | None = None
    """Guesses its next tokens, once it has been the only answer."""

    @property
    def num_held(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return len(self.asked.ids) + len(self.new) - 1


class Batch:
    """Rows of one model.

    Args:
        network: a decoder, in evaluation mode.
        precision: of the arithmetic.
        active: makes the network the model whose rows these are, if it can be several: base or an adapter.
        kept_bytes: of beginnings that are kept for prompts to come; the least recently used go first.
        looks_up: whether the next tokens of an answer that is alone are guessed from its text; None where that changes
            no answer, which is tried in other precisions than fp32.
    """

    def __init__(
        self,
        network: Any,
        precision: str,
        active: Callable[[], AbstractContextManager[Any] | None] = nullcontext,
        kept_bytes: int = 0,
        looks_up: bool | None = None,
    ) -> None:
        self._network, self._precision, self._active = network, precision, active
        self._rows: list[Row] = []
        self._cache: Cache | None = None
        self._joining: list[tuple[list[Row], Cache]] = []
        """Rows whose keys and values come to those of the others at the next step, all at once."""
        self._beginnings = _Beginnings(kept_bytes)
        plain = network.get_base_model() if hasattr(network, "get_base_model") else network
        self._keeps = "logits_to_keep" in inspect.signature(plain.forward).parameters
        self._looks_up = looks_up

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are not ended."""
        return [*self._rows, *(row for rows, _ in self._joining for row in rows)]

    @property
    def num_tokens(self) -> int:
        """Tokens that keys and values are held of, padding included."""
        held = [cache for _, cache in self._joining] + ([] if self._cache is None else [self._cache])
        return len(self.rows) * max(map(key_values.columns, held), default=0)

    def refuses(self, asked: Asked) -> str:
        """Why it cannot do what is asked: never."""
        return ""

    def parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows whose prompts are read together: those of similar length, of which nothing is known."""
        alone = [row for row in rows if row.asked.inputs or self._beginnings.knows(row.asked.ids)]
        return [*([row] for row in alone), *_alike([row for row in rows if row not in alone])]

    @torch.inference_mode()
    def join(self, rows: Sequence[Row]) -> list[Token | None]:
        """Reads prompts and returns the first token of each answer, if it gets one; rows stay unless that ends them.

        Args:
            rows: one, or those of one of `parts`. If it fails, none of them has begun.
        """
        if len(rows) > 1:
            return self._read(rows)
        (row,) = rows
        if row.asked.inputs:
            return [self._see(row, row.asked.inputs)]
        known = self._beginnings.find(row.asked.ids)
        return self._read(rows) if known is None else [self._continue(row, known)]

    def _continue(self, row: Row, cache: Cache) -> Token | None:
        """`join` for a prompt whose beginning is known."""
        ids, begin = row.asked.ids, key_values.columns(cache)
        logits = self._forward([ids[begin:]], torch.ones(1, len(ids), dtype=torch.long), [begin], cache)
        return self._begin([row], logits, cache)[0]

    def _read(self, rows: Sequence[Row]) -> list[Token | None]:
        """`join` for prompts of which nothing is known, aligned at their last token."""
        cache, width = key_values.empty(), max(len(row.asked.ids) for row in rows)
        before = [width - len(row.asked.ids) for row in rows]
        mask = torch.ones(len(rows), width, dtype=torch.long)
        for number, columns in enumerate(before):
            mask[number, :columns] = 0
        ids = [[0] * columns + row.asked.ids for columns, row in zip(before, rows, strict=True)]
        logits = self._forward(ids, mask, [-columns for columns in before], cache)
        return self._begin(rows, logits, cache)

    def _begin(self, rows: Sequence[Row], logits: torch.Tensor, cache: Cache) -> list[Token | None]:
        """The first token of each row, if it gets one; those that it does not end will be among the others."""
        tokens = [self._take(row, logits[number, -1]) for number, row in enumerate(rows)]
        for number, row in enumerate(rows):
            if row.ended in ("stop", "length"):
                self._beginnings.keep(row.asked.ids, key_values.kept(cache, [number], len(row.asked.ids)))
        self._let_join(list(rows), cache)
        return tokens

    def _let_join(self, rows: list[Row], cache: Cache) -> None:
        """Takes on the rows that are not ended."""
        staying = [number for number, row in enumerate(rows) if row.ended is None]
        if not staying:
            return
        if len(staying) < len(rows):
            cache = key_values.kept(cache, staying, max(rows[number].num_held for number in staying))
        self._joining.append(([rows[number] for number in staying], cache))

    def _see(self, row: Row, inputs: Mapping[str, torch.Tensor]) -> Token | None:
        """`join` for a prompt with pictures. It has the same tokens as others with other pictures, so nothing is taken
        from them or kept for them, and the model itself counts its positions."""
        device, cache = self._network.device, key_values.empty()
        ids = torch.tensor([row.asked.ids], device=device)
        given = {name: tensor.to(device) for name, tensor in inputs.items()}
        with self._active() or nullcontext(), arithmetic(device, self._precision):
            output = self._network(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=cache,
                use_cache=True,
                **self._only(1),
                **given,
            )
        # models that count so keep the difference for their own `generate`
        for module in self._network.modules():
            if getattr(module, "rope_deltas", None) is not None:
                row.shift, module.rope_deltas = int(module.rope_deltas.flatten()[0]), None
        token = self._take(row, output.logits[0, -1].float().cpu())
        self._let_join([row], cache)
        return token

    @torch.inference_mode()
    def step(self) -> list[tuple[Row, Token | None]]:
        """The next token of every row, if it gets one; rows that it ends leave."""
        self._join_all()
        if self._cache is None:
            return []
        if len(self._rows) == 1 and (guessed := self._guess(self._rows[0])):
            return self._step_ahead(self._rows[0], guessed, self._cache)
        width = key_values.columns(self._cache)
        mask = torch.zeros(len(self._rows), width + 1, dtype=torch.long)
        for number, row in enumerate(self._rows):
            mask[number, width - row.num_held :] = 1
        last = [[row.new[-1]] for row in self._rows]
        logits = self._forward(last, mask, [row.num_held + row.shift for row in self._rows], self._cache)
        found = [(row, self._take(row, logits[number, -1])) for number, row in enumerate(self._rows)]
        self.sweep()
        return found

    def _guess(self, row: Row) -> list[int]:
        """Tokens that may follow: of an answer that is alone, for which the model has the time to check them."""
        if row.asked.inputs:
            return []
        if self._looks_up is None:
            self._looks_up = self._precision == "fp32" or self._computes_alike()
        if not self._looks_up:
            return []
        if row.lookup is None:
            row.lookup = Lookup(row.asked.ids)
            row.lookup.add(row.new)
        return row.lookup.guess(row.asked.most - len(row.new) - 1)

    def _computes_alike(self) -> bool:
        """Whether the logits of tokens that are read together are, bit for bit, those of one after the other."""
        prompt, new = _TRIED[:-FEW], _TRIED[-FEW:]
        found = list[torch.Tensor]()
        for parts in ([new], [[token] for token in new[:_ALONE]]):
            cache, held = key_values.empty(), len(prompt)
            self._forward([prompt], torch.ones(1, held, dtype=torch.long), [0], cache)
            for part in parts:
                mask = torch.ones(1, held + len(part), dtype=torch.long)
                found.append(self._forward([part], mask, [held], cache, len(part)))
                held += len(part)
        return torch.equal(found[0][:, :_ALONE], torch.cat(found[1:], 1))

    def _step_ahead(self, row: Row, guessed: Sequence[int], cache: Cache) -> list[tuple[Row, Token | None]]:
        """`step` of a single row: the tokens chosen as long as what was guessed is what is chosen, and one more."""
        width, before = key_values.columns(cache), row.num_held
        mask = torch.zeros(1, width + 1 + len(guessed), dtype=torch.long)
        mask[0, width - before :] = 1
        logits = self._forward([[row.new[-1], *guessed]], mask, [before + row.shift], cache, 1 + len(guessed))
        found: list[tuple[Row, Token | None]] = []
        for place, guess in enumerate([*guessed, None]):
            token = self._take(row, logits[0, place])
            found.append((row, token))
            if token is None or row.ended or token.id != guess:
                break
        if row.lookup is not None:
            row.lookup.learn(len(guessed), len(found) - 1)
        if (wrong := 1 + len(guessed) - len(found)) > 0:
            key_values.take_back(cache, wrong)
        self.sweep()
        return found

    def _join_all(self) -> None:
        if self._joining:
            caches = [] if self._cache is None else [self._cache]
            caches += [cache for _, cache in self._joining]
            self._cache = caches[0] if len(caches) == 1 else key_values.joined(caches)
            self._rows += [row for rows, _ in self._joining for row in rows]
            self._joining = []

    def sweep(self) -> None:
        """Lets rows leave that have ended, or were ended by others."""
        joining, self._joining = self._joining, []
        for rows, cache in joining:
            self._let_join(rows, cache)
        staying = [number for number, row in enumerate(self._rows) if row.ended is None]
        if self._cache is None or len(staying) == len(self._rows):
            return
        for number, row in enumerate(self._rows):
            if row.ended in ("stop", "length") and not row.asked.inputs:
                held = min(row.num_held, key_values.columns(self._cache))
                ids = [*row.asked.ids, *row.new][:held]
                self._beginnings.keep(ids, key_values.kept(self._cache, [number], held))
        self._rows = [self._rows[number] for number in staying]
        longest = max((row.num_held for row in self._rows), default=0)
        self._cache = key_values.kept(self._cache, staying, longest) if staying else None

    @torch.inference_mode()
    def log_probabilities(self, ids: Sequence[int], number: int) -> list[Token]:
        """The log-probability of each token of a text but the first, which has none before it, and the most likely
        tokens of its place."""
        with self._active() or nullcontext(), arithmetic(self._network.device, self._precision):
            whole = torch.tensor([list(ids)], device=self._network.device)
            logits = self._network(input_ids=whole, use_cache=False).logits[0].float().cpu()
        found = [Token(ids[0])]
        for place, token in enumerate(ids[1:]):
            found.append(Token(token, *top_log_probabilities(logits[place], token, number)))
        return found

    def _only(self, number: int) -> dict[str, int]:
        """The argument for the logits of the last tokens alone, if the model takes it."""
        return {"logits_to_keep": number} if self._keeps else {}

    def _forward(
        self,
        ids: Sequence[Sequence[int]],
        mask: torch.Tensor,
        begins: Sequence[int],
        cache: Cache,
        last: int = 1,
    ) -> torch.Tensor:
        """Logits of the last tokens of each row `[rows, last, vocabulary]` fp32, in main memory; the cache grows.

        Args:
            ids: the new tokens of each row, as many in each.
            mask: `[rows, all tokens]`: 1 for the tokens of the row.
            begins: position of the first new token of each row; negative for what is before it.
            cache: of the tokens before.
            last: how many tokens.
        """
        device = self._network.device
        tokens = torch.tensor([list(row) for row in ids], device=device)
        positions = torch.tensor(list(begins), device=device)[:, None] + torch.arange(tokens.shape[1], device=device)
        positions = positions.clamp(min=0)  # what is before a shorter prompt has no position, and is masked
        with self._active() or nullcontext(), arithmetic(device, self._precision):
            output = self._network(
                input_ids=tokens,
                attention_mask=mask.to(device),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **self._only(last),
            )
        return output.logits[:, -last:].float().cpu()

    def _take(self, row: Row, logits: torch.Tensor) -> Token | None:
        """Chooses the next token of a row, and ends it where it ends; None if none can be chosen."""
        try:
            token = row.chooser.choose(logits)
        except BurnishError as error:
            row.ended, row.error = "cancelled", error
            return None
        row.new.append(token)
        if row.lookup is not None:
            row.lookup.add([token])
        if token in row.asked.stop_ids or row.chooser.is_done:
            row.ended = "stop"
        elif len(row.new) >= row.asked.most:
            row.ended = "length"
        if row.asked.top is None:
            return Token(token)
        return Token(token, *top_log_probabilities(logits, token, row.asked.top))


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows with prompts of similar length together."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.asked.ids)):
        length = len(row.asked.ids)
        tokens = length + sum(len(other.asked.ids) for other in groups[-1]) if groups else 0
        if groups and length * (len(groups[-1]) + 1) <= _PADDED * tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


class _Beginnings:
    """Keys and values of texts that were read, for prompts that begin alike."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[int, ...], Cache] = OrderedDict()

    def knows(self, ids: Sequence[int]) -> bool:
        """Whether a beginning of a prompt is known."""
        return self._longest(ids)[0] is not None

    def find(self, ids: Sequence[int]) -> Cache | None:
        """The longest known beginning of a prompt, without its last token, which has to be read for its logits."""
        best, length = self._longest(ids)
        if best is None:
            return None
        self._kept.move_to_end(best)
        return key_values.beginning(self._kept[best], length)

    def _longest(self, ids: Sequence[int]) -> tuple[tuple[int, ...] | None, int]:
        best, length, prompt = None, _LEAST_PREFIX - 1, tuple(ids[:-1])
        for text in self._kept:
            if (common := len(commonprefix([text, prompt]))) > length:
                best, length = text, common
        return best, length

    def keep(self, ids: Sequence[int], cache: Cache) -> None:
        """Keeps a text with its keys and values, and lets others go if there is no room."""
        text, size = tuple(ids), key_values.num_bytes(cache)
        if size > self._most or len(text) < _LEAST_PREFIX:
            return
        for other in [known for known in self._kept if known == text[: len(known)]]:
            self._bytes -= key_values.num_bytes(self._kept.pop(other))  # a part of this one
        while self._kept and self._bytes + size > self._most:
            self._bytes -= key_values.num_bytes(self._kept.popitem(last=False)[1])
        self._kept[text] = cache
        self._bytes += size
