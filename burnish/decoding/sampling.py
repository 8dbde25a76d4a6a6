"""How the next token of an answer is chosen from the logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a request says of it. The defaults are greedy."""

    temperature: float = 0.0
    """0 for always the most likely token."""
    top_p: float = 1.0
    """Only the most likely tokens that together have this probability."""
    top_k: int = 0
    """Only so many of the most likely tokens; 0 for all."""
    presence_penalty: float = 0.0
    """Nats off the logit of each token that the answer has."""
    frequency_penalty: float = 0.0
    """The same, for each time that it has it."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens in prompt or answer, and multiplies negative ones (arXiv 1909.05858)."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Nats added to the logits of tokens."""
    seed: int | None = None
    """Answers to the same prompt with the same seed are the same, whatever else is answered meanwhile."""

    @property
    def is_plain(self) -> bool:
        """Whether it takes the most likely token of the logits as they are."""
        return not (self.temperature or self.is_penalizing or self.logit_bias)

    @property
    def is_penalizing(self) -> bool:
        """Whether the logits of tokens that were written already are changed."""
        return bool(self.presence_penalty or self.frequency_penalty) or self.repetition_penalty != 1


GREEDY = Sampling()
_SOME = 256
"""Of the most likely tokens, that are tried first: they nearly always have the share that is asked for."""


class Guide(Protocol):
    """Holds one answer to a form."""

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits `[vocabulary]` fp32 with minus infinity for all tokens that may not come next."""
        ...

    def take(self, token: int) -> None:
        """Takes a token that it has allowed. Raises BurnishError if the answer cannot be held to its form."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nothing may follow."""
        ...


class Chooser:
    """Chooses the tokens of one answer, one after the other.

    Args:
        sampling: how.
        guide: allows some of them alone; None for all.
        prompt: tokens before the answer.
    """

    def __init__(self, sampling: Sampling, guide: Guide | None = None, prompt: Sequence[int] = ()) -> None:
        self._sampling, self._guide = sampling, guide
        self._prompt = set(prompt) if sampling.repetition_penalty != 1 else set[int]()
        self._counts = Counter[int]()
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    @property
    def is_plain(self) -> bool:
        """Whether the next token is the most likely one of the logits as they are."""
        return self._sampling.is_plain and self._guide is None

    def choose(self, logits: torch.Tensor) -> int:
        """The next token.

        Args:
            logits: `[vocabulary]` fp32, in main memory; not changed.
        """
        sampling = self._sampling
        if not sampling.is_plain:
            logits = self._penalized(logits)
        if self._guide is not None:
            logits = self._guide.allow(logits)
        # numpy's is several times as fast as torch's for one row
        token = self._drawn(logits / sampling.temperature) if sampling.temperature else int(logits.numpy().argmax())
        if sampling.is_penalizing:
            self._counts[token] += 1
        if self._guide is not None:
            self._guide.take(token)
        return token

    @property
    def is_done(self) -> bool:
        """Whether the form of the answer allows nothing more."""
        return self._guide is not None and self._guide.is_done

    def _penalized(self, logits: torch.Tensor) -> torch.Tensor:
        sampling, logits = self._sampling, logits.clone()
        for token, amount in sampling.logit_bias.items():
            logits[token] += amount
        if sampling.repetition_penalty != 1:
            written = torch.tensor(sorted(self._prompt | self._counts.keys()))
            found = logits[written]
            penalty = sampling.repetition_penalty
            logits[written] = torch.where(found > 0, found / penalty, found * penalty)
        if sampling.presence_penalty or sampling.frequency_penalty:
            for token, count in self._counts.items():
                logits[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
        return logits

    def _drawn(self, logits: torch.Tensor) -> int:
        probabilities, tokens = self._candidates(logits.softmax(-1))
        sums = probabilities.cumsum(-1, dtype=torch.float64)
        if not sums[-1].isfinite():
            raise RuntimeError("the model's logits are not numbers")
        drawn = torch.rand((), dtype=torch.float64, generator=self._generator) * sums[-1]
        # the first one with more than that before its end: what has no probability is never drawn, rounding aside
        place = min(int(torch.searchsorted(sums, drawn, right=True)), int(torch.searchsorted(sums, sums[-1])))
        return place if tokens is None else int(tokens[place])

    def _candidates(self, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Probabilities to draw from, and the tokens that have them; None for all. A sort of all takes longer than the
        other operations together, so only as many as are needed are sorted."""
        top_k, top_p, number = self._sampling.top_k, self._sampling.top_p, len(probabilities)
        if not top_k and top_p >= 1:
            return probabilities, None
        if top_k:
            found, tokens = probabilities.topk(min(top_k, number))
            found = found / found.sum()
        else:
            some = min(_SOME, number)
            while True:
                found, tokens = probabilities.topk(some)
                if some == number or found.sum(dtype=torch.float64) >= top_p:
                    break
                some = min(8 * some, number)
        # a token stays if those before it do not reach the share yet, so that there is always one
        stays = found.cumsum(-1, dtype=torch.float64) - found < top_p
        return found[stays], tokens[stays]


def top_log_probabilities(logits: torch.Tensor, token: int, number: int) -> tuple[float, list[tuple[int, float]]]:
    """The log-probability of a token, and the most likely tokens with theirs, in nats.

    Args:
        logits: `[vocabulary]` fp32.
        token: that was chosen.
        number: of most likely tokens.
    """
    found = logits.log_softmax(-1)
    values, tokens = found.topk(number) if number else (found[:0], found[:0].long())
    return float(found[token]), list(zip(tokens.tolist(), values.tolist(), strict=True))
