"""The mix of languages, guessed from a sample."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

_LEAST_CHARACTERS = 40
"""Of a shorter text, a guess is worth little."""
_READ = 1_000
"""Characters that a guess is made of."""
_SURE = 0.9


class LanguageMix:
    """Guesses the languages of texts that were drawn from all."""

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._kept: list[tuple[int, str]] = []
        """A heap of (hash of the place, turned round; beginning of the text)."""

    def add(self, place: str, text: str) -> None:
        """Takes note of a text; each is as likely to be kept as any other, for the least hashes are (bottom-k sampling,
        Cohen and Kaplan 2007), and which are kept does not depend on the order."""
        if len(text) >= _LEAST_CHARACTERS:
            drawn = int.from_bytes(blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            self._keep(-drawn, text)

    def join(self, other: LanguageMix) -> None:
        """Takes in the texts that another has kept."""
        for key, text in other._kept:
            self._keep(key, text)

    def _keep(self, key: int, text: str) -> None:
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, (key, text[:_READ]))
        elif key > self._kept[0][0]:
            heapq.heapreplace(self._kept, (key, text[:_READ]))

    def shares(self) -> list[tuple[str, float]]:
        """Languages (ISO 639-1) and their shares of the texts that a guess can be made of, the commonest first."""
        return _shares([text for _, text in self._kept])

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
