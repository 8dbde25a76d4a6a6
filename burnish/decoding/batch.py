"""The answers that one model writes at the same time: a step gives each its next token; rows join and leave between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os.path import commonprefix
from typing import Any

import torch

from burnish.decoding.ahead import Pace, num_ahead, reads_alike
from burnish.decoding.beginnings import LEAST_BEGINNING, Beginnings
from burnish.decoding.group import Group, joined
from burnish.decoding.head import contiguous_inputs
from burnish.decoding.key_values import KeyValues
from burnish.decoding.lookup import Lookup, Phrases
from burnish.decoding.row import Asked, Row, Token
from burnish.decoding.sampling import top_log_probabilities
from burnish.decoding.support import is_indifferent_to_gaps, plain_network, takes
from burnish.decoding.threads import Threads
from burnish.errors import BurnishError
from burnish.models.device import arithmetic

_PADDED = 1.25
"""Prompts are read together if that makes at most so many times their tokens,"""
_PASS = 32
"""and so many more: with fewer tokens a pass takes hardly less time, because the weights have to be read."""
_MOST_EMPTY = 64
"""Columns that no row needs, before they are removed."""


class Batch:
    """Rows of one model.

    Args:
        network: a decoder that `why_no_batch` has nothing against, in evaluation mode.
        precision: of the arithmetic.
        active: makes the network the model whose rows these are, if it can be several: base or an adapter.
        kept_bytes: of beginnings that are kept for prompts to come; the least recently used go first.
        looks_up: whether the next tokens of an answer are guessed from its text and from other answers; None where that
            changes no answer, which is tried in other precisions than fp32.
        together: whether they are guessed while there are several rows, too. How many then depends on the time that
            steps take, and on these the rounding, as it does on who else is there.
        threads: chooses how many threads compute its steps; None for as many as there are.
    """

    def __init__(
        self,
        network: Any,
        precision: str,
        active: Callable[[], AbstractContextManager[Any] | None] = nullcontext,
        kept_bytes: int = 0,
        looks_up: bool | None = None,
        together: bool = False,
        threads: Threads | None = None,
    ) -> None:
        self._network, self._precision, self._active = network, precision, active
        self._group: Group | None = None
        self._joining: list[Group] = []
        """Rows whose keys and values come to those of the others at the next step, all at once."""
        self._beginnings = Beginnings(kept_bytes)
        self._threads = threads
        self._keeps = takes(plain_network(network), "logits_to_keep")
        self._looks_up, self._pace, self._phrases = looks_up, Pace(), Phrases()
        self._has_gaps = is_indifferent_to_gaps(network)
        # where one guess is right and another wrong, gaps come to be
        self._guesses_together = together and self._has_gaps
        self._is_trained = any(parameter.requires_grad for parameter in network.parameters())

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are not ended."""
        return [row for group in self._groups for row in group.staying]

    @property
    def _groups(self) -> list[Group]:
        return [*([] if self._group is None else [self._group]), *self._joining]

    @property
    def num_tokens(self) -> int:
        """Tokens that keys and values are held of, padding included."""
        return len(self.rows) * max((group.held.columns for group in self._groups), default=0)

    @property
    def prefix_cache_bytes(self) -> int:
        """Keys and values that are kept for prompts to come."""
        return self._beginnings.num_bytes

    def clear(self) -> None:
        """Forgets all rows, whatever became of them."""
        self._group, self._joining = None, []

    def _computing(self) -> AbstractContextManager[Any]:
        """Without gradients. Weights that are trained may be laid out here, and be used with gradients later."""
        return torch.no_grad() if self._is_trained else torch.inference_mode()

    def refuses(self, asked: Asked) -> str:
        """Why it cannot do what is asked: never."""
        return ""

    def parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows whose prompts are read together: those of which about as many tokens are not known."""
        alone = [row for row in rows if row.asked.inputs]
        known, unknown = list[tuple[int, Row]](), list[tuple[int, Row]]()
        for row in rows:
            if row.asked.inputs:
                continue
            length = self._beginnings.length(row.asked.ids)
            (known if length else unknown).append((len(row.asked.ids) - length, row))
        # between a beginning and what comes after it, padding is a gap
        return [*([row] for row in alone), *_alike(known, self._has_gaps), *_alike(unknown)]

    def join(self, rows: Sequence[Row]) -> list[Token | None]:
        """Reads prompts and returns the first token of each answer, if it gets one; rows stay unless that ends them.

        Args:
            rows: one, or those of one of `parts`. If it fails, none of them has begun.
        """
        with self._computing():
            if rows[0].asked.inputs:
                return [self._see(rows[0], rows[0].asked.inputs)]
            found = [self._beginnings.find(row.asked.ids) for row in rows]
            known = [held for held in found if held is not None]
            # more may be known by now than when the parts were made
            rest = {len(row.asked.ids) - held.columns for row, held in zip(rows, known, strict=False)}
            if len(known) < len(rows) or (len(rest) > 1 and not self._has_gaps):
                known = self._read_common(rows)
            return self._read(rows, known)

    def _read_common(self, rows: Sequence[Row]) -> list[KeyValues]:
        """The beginning that prompts have in common, read once for all; nothing if that does not pay."""
        common = commonprefix([row.asked.ids[:-1] for row in rows])
        if not self._has_gaps or len(common) < LEAST_BEGINNING or (len(rows) - 1) * len(common) < _PASS:
            return []
        held = KeyValues(torch.ones(1, len(common), dtype=torch.long))
        self._forward([common], [0], held)
        if self._beginnings.wants(common):
            self._beginnings.keep(common, held.packed(0))
        return [held for _ in rows]

    def _read(self, rows: Sequence[Row], known: Sequence[KeyValues]) -> list[Token | None]:
        """The first tokens after prompts, aligned at their last token.

        Args:
            rows: to begin.
            known: the beginning of each; nothing if it is that of none.
        """
        begins = [held.columns for held in known] or [0 for _ in rows]
        rest = [row.asked.ids[begin:] for row, begin in zip(rows, begins, strict=True)]
        width = max(map(len, rest))
        before = [width - len(ids) for ids in rest]
        if len(known) == 1:
            held = known[0]
        else:
            held = KeyValues.joined(known) if known else KeyValues(torch.ones(len(rows), 0, dtype=torch.long))
        held.grow(torch.tensor([[0] * columns + [1] * (width - columns) for columns in before]))
        ids = [[0] * columns + ids for columns, ids in zip(before, rest, strict=True)]
        logits = self._forward(ids, [begin - columns for begin, columns in zip(begins, before, strict=True)], held)
        return self._begin(rows, logits, held)

    def _begin(self, rows: Sequence[Row], logits: torch.Tensor, held: KeyValues) -> list[Token | None]:
        """The first token of each row, if it gets one; those that it does not end will be among the others."""
        tokens = self._take_next(rows, logits[:, -1])
        for number, row in enumerate(rows):
            if row.ended in ("stop", "length") and self._beginnings.wants(row.asked.ids):
                self._beginnings.keep(row.asked.ids, held.packed(number))
        self._let_join(Group(list(rows), held))
        return tokens

    def _let_join(self, group: Group) -> None:
        """Takes on the rows that are not ended."""
        for place, row in enumerate(group.rows):
            if row.ended is not None:
                group.leave(place)
        if len(group.left) < len(group.rows):
            self._joining.append(group)

    def _see(self, row: Row, inputs: Mapping[str, torch.Tensor]) -> Token | None:
        """`join` for a prompt with pictures. It has the same tokens as others with other pictures, so nothing is taken
        from them or kept for them, and the model itself counts its positions."""
        device, held = self._network.device, KeyValues(torch.ones(1, len(row.asked.ids), dtype=torch.long))
        given = {name: tensor.to(device) for name, tensor in inputs.items()}
        with self._active() or nullcontext(), arithmetic(device, self._precision):
            output = self._network(
                input_ids=torch.tensor([row.asked.ids], device=device),
                attention_mask=held.mask.to(device),
                past_key_values=held.cache,
                use_cache=True,
                **self._only(1),
                **given,
            )
        # models that count so keep the difference for their own `generate`
        for module in self._network.modules():
            if getattr(module, "rope_deltas", None) is not None:
                row.shift, module.rope_deltas = int(module.rope_deltas.flatten()[0]), None
        (token,) = self._take_next([row], output.logits[:, -1])
        self._let_join(Group([row], held))
        return token

    def step(self) -> list[tuple[Row, Token | None]]:
        """The next token of every row, or the next tokens, if it gets any; rows that they end leave."""
        with self._computing():
            self._join_all()
            if self._group is None:
                return []
            rows, held = self._group.rows, self._group.held
            if self._threads is not None:
                torch.set_num_threads(self._threads.number)
            guessed = self._guess(rows)
            started = time.perf_counter()
            ahead = max(map(len, guessed))
            new = torch.tensor([[1] * (1 + len(ids)) + [0] * (ahead - len(ids)) for ids in guessed])
            ids = [[row.new[-1], *ids, *[0] * (ahead - len(ids))] for row, ids in zip(rows, guessed, strict=True)]
            held.grow(new)
            logits = self._forward(ids, [row.num_held + row.shift for row in rows], held, 1 + ahead)
            if ahead:
                found = self._take_ahead(rows, guessed, logits)
            else:
                found = list(zip(rows, self._take_next(rows, logits[:, -1]), strict=True))
            self._note(len(rows) * (1 + ahead), time.perf_counter() - started)
            self.sweep()
            return found

    def _note(self, tokens: int, seconds: float) -> None:
        """Takes the time of a step into account."""
        self._pace.note(tokens, seconds)
        if self._threads is not None:
            self._threads.note(tokens, seconds)

    def _guess(self, rows: Sequence[Row]) -> list[list[int]]:
        """Tokens that may follow in each row: as many as the model has the time to check."""
        nothing: list[list[int]] = [[] for _ in rows]
        if self._looks_up is False or not (len(rows) == 1 or self._guesses_together):
            return nothing
        guessed = [self._guess_one(row) for row in rows]
        ahead = num_ahead([chances for _, chances in guessed], self._pace)
        if not ahead:
            return nothing
        if self._looks_up is None:
            self._looks_up = self._precision == "fp32" or reads_alike(self._network, self._precision, self._forward)
            if not self._looks_up:
                return nothing
        return [ids[:ahead] for ids, _ in guessed]

    def _guess_one(self, row: Row) -> tuple[list[int], list[float]]:
        if row.asked.inputs:
            return [], []
        if row.lookup is None:
            row.lookup = Lookup(row.asked.ids, self._phrases)
            row.lookup.add(row.new)
        return row.lookup.guess(row.asked.most - len(row.new) - 1)

    def _take_ahead(
        self, rows: Sequence[Row], guessed: Sequence[Sequence[int]], logits: torch.Tensor
    ) -> list[tuple[Row, Token | None]]:
        """The tokens of each row that are chosen as long as what was guessed is what is chosen, and one more."""
        found: list[tuple[Row, Token | None]] = []
        wrong: list[int] = []
        for number, (row, ids) in enumerate(zip(rows, guessed, strict=True)):
            right = 0
            for place, guess in enumerate([*ids, None]):
                token = self._take(row, logits[number, place])
                found.append((row, token))
                if token is None or row.ended or token.id != guess:
                    break
                right += 1
            wrong.append(logits.shape[1] - 1 - right)
        if self._group is not None:
            self._group.held.forget(wrong)
        return found

    def _join_all(self) -> None:
        group, joining, self._joining = self._group, self._joining, []
        if group is not None and group.left:
            joining = [rest for one in joining if (rest := group.take(one)) is not None]
        groups = [*([] if group is None else [group]), *joining]
        if groups:
            self._group = joined(groups)

    def sweep(self) -> None:
        """Lets rows leave that have ended, or were ended by others."""
        with self._computing():
            joining, self._joining = self._joining, []
            for group in joining:
                self._let_join(group)
            if self._group is not None:
                self._group = self._swept(self._group)

    def _swept(self, group: Group) -> Group | None:
        """A group without the rows that have ended; None if all have."""
        for place, row in enumerate(group.rows):
            if row.ended is None or place in group.left:
                continue
            if row.ended in ("stop", "length") and not row.asked.inputs:
                # of the last token nothing is held, nor of guesses that came after the end
                ids = [*row.asked.ids, *row.new[:-1]]
                if self._beginnings.wants(ids):
                    self._beginnings.keep(ids, group.held.packed(place))
            group.leave(place)
        if len(group.left) == len(group.rows):
            return None
        return group.compacted() if group.held.num_empty > _MOST_EMPTY else group

    def log_probabilities(self, ids: Sequence[int], number: int) -> list[Token]:
        """The log-probability of each token of a text but the first, which has none before it, and the most likely
        tokens of its place."""
        with self._computing(), self._active() or nullcontext(), arithmetic(self._network.device, self._precision):
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
        self, ids: Sequence[Sequence[int]], begins: Sequence[int], held: KeyValues, last: int = 1
    ) -> torch.Tensor:
        """Logits of the last tokens of each row `[rows, last, vocabulary]`, on the device of the network.

        Args:
            ids: the new tokens of each row, as many in each.
            begins: position of the first new token of each row; negative for what is before it.
            held: with the mask of the new tokens; their keys and values are added.
            last: how many tokens.
        """
        device = self._network.device
        tokens = torch.tensor([list(row) for row in ids], device=device)
        own = held.mask[:, -tokens.shape[1] :]
        # what is before a shorter prompt, or after fewer guesses than others have, is masked and has no position
        positions = (torch.tensor(list(begins))[:, None] + _counted(own)).clamp(min=0)
        with self._active() or nullcontext(), arithmetic(device, self._precision), self._head(tokens):
            output = self._network(
                input_ids=tokens,
                attention_mask=held.mask.to(device),
                position_ids=positions.to(device),
                past_key_values=held.cache,
                use_cache=True,
                **self._only(last),
            )
        return output.logits[:, -last:]

    def _head(self, tokens: torch.Tensor) -> AbstractContextManager[None]:
        return contiguous_inputs(self._network) if tokens.shape[1] > 1 else nullcontext()

    def _take_next(self, rows: Sequence[Row], logits: torch.Tensor) -> list[Token | None]:
        """Chooses the next token of each row, from `[rows, vocabulary]`."""
        if logits.device.type == "cpu" or not all(row.chooser.is_plain and row.asked.top is None for row in rows):
            return [self._take(row, logits[number]) for number, row in enumerate(rows)]
        # only the numbers of the tokens leave the device
        return [self._add(row, token) for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True)]

    def _take(self, row: Row, logits: torch.Tensor) -> Token | None:
        """Chooses the next token of a row, and ends it where it ends; None if none can be chosen."""
        logits = logits.float().cpu()
        try:
            token = row.chooser.choose(logits)
        except BurnishError as error:
            row.ended, row.error = "cancelled", error
            return None
        found = self._add(row, token)
        if row.asked.top is None:
            return found
        return Token(token, *top_log_probabilities(logits, token, row.asked.top))

    def _add(self, row: Row, token: int) -> Token:
        row.new.append(token)
        if row.lookup is not None:
            row.lookup.add([token])
        if token in row.asked.stop_ids or row.chooser.is_done:
            row.ended = "stop"
        elif len(row.new) >= row.asked.most:
            row.ended = "length"
        return Token(token)


def _counted(own: torch.Tensor) -> torch.Tensor:
    """Steps from the first new column to each, or to the last that is the row's own: `[rows, new columns]`."""
    last = own.shape[1] - 1 - own.flip(1).argmax(1)
    return torch.arange(own.shape[1]).minimum(last[:, None])


def _alike(rows: Sequence[tuple[int, Row]], is_padded: bool = True) -> list[list[Row]]:
    """Rows with about as many tokens to read together.

    Args:
        rows: with the number of their tokens.
        is_padded: whether these may be padded, so that not just those with as many can be together.
    """
    groups: list[list[Row]] = []
    tokens = least = 0
    for length, row in sorted(rows, key=lambda one: one[0]):
        padded = length * (len(groups[-1]) + 1) if groups else 0
        if groups and (length == least or (is_padded and padded <= _PADDED * (tokens + length) + _PASS)):
            groups[-1].append(row)
            tokens += length
        else:
            groups.append([row])
            tokens = least = length
    return groups
