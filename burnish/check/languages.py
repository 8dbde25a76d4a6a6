"""The mix of languages, guessed from a sample."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

_LEAST_CHARACTERS = 40
"""Of a shorter text, a guess is worth little."""
_SURE = 0.9


class LanguageMix:
    """Guesses the languages of texts that were drawn from all."""

    def __init__(self, most: int = 500, seed: int = 0) -> None:
        self._most = most
        self._draw = random.Random(seed)
        self._seen = 0
        self._kept: list[str] = []

    def add(self, text: str) -> None:
        """Takes note of a text; each is as likely to be kept as any other (reservoir sampling, Vitter 1985)."""
        if len(text) < _LEAST_CHARACTERS:
            return
        self._seen += 1
        if len(self._kept) < self._most:
            self._kept.append(text[:1_000])
        elif (place := self._draw.randrange(self._seen)) < self._most:
            self._kept[place] = text[:1_000]

    def shares(self) -> list[tuple[str, float]]:
        """Languages (ISO 639-1) and their shares of the texts that a guess can be made of, the commonest first."""
        return _shares(self._kept)

    def told(self) -> str:
        """The commonest languages, in words; empty where no text is long enough."""
        named = [f"{language} {100 * share:.0f} %" for language, share in self.shares()[:4] if share >= 0.01]
        about = f" (guessed from {len(self._kept)} texts)" if named else ""
        return ", ".join(named) + about


def _shares(texts: Sequence[str]) -> list[tuple[str, float]]:
    if not texts:
        return []
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    guesses = [identifier.classify(text) for text in texts]
    sure = Counter(language for language, probability in guesses if probability >= _SURE)
    return [(language, count / sure.total()) for language, count in sure.most_common()]
