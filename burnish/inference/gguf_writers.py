"""Two ways to write a model as GGUF files: here, or by llama.cpp's own converter. Both are proved alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gguf

from burnish.errors import BurnishError
from burnish.export.gguf.converter import Converter
from burnish.export.gguf.file import Weights, check_vocabulary, check_weights, write_gguf
from burnish.export.gguf.layouts import describe
from burnish.export.gguf.vocabulary import Vocabulary, guesses, read_vocabulary
from burnish.inference.exported import TokenProof
from burnish.inference.llama_cpp import LlamaCpp
from burnish.inference.proof import prove_tokens

_ENDS = ("eos", "eot")
"""Roles of the tokens at which a file ends answers."""


class GgufWriter(Protocol):
    """Writes one model as GGUF files of any type."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know, as sentences."""
        ...

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        ...

    @property
    def tolerance(self) -> float:
        """Nats by which log-probabilities of fp32 weights may differ."""
        ...

    def ends(self) -> list[int]:
        """Tokens at which a file ends answers."""
        ...

    def prove_tokens(self, tokenizer: Any, texts: Sequence[str], place: Path, threads: int) -> TokenProof:
        """Proves that texts become the same tokens in llama.cpp, with files at `place`, which are removed.

        Raises:
            BurnishError: one does not.
        """
        ...

    def write(self, path: Path, kind: str) -> float | None:
        """Writes a file of a type.

        Returns:
            The largest error of a stored number, as a share of the largest in its row; None if it was not compared.

        Raises:
            BurnishError: it is not what was to be written.
        """
        ...


@dataclass(slots=True)
class OwnWriter:
    """Writes a layout that is known here."""

    name: str
    """Of the model, for people."""
    weights: Weights
    vocabulary: Vocabulary

    @classmethod
    def of(cls, name: str, folder: Path, config: Any, tokenizer: Any, stop_ids: Sequence[int]) -> OwnWriter:
        """A writer for a model.

        Args:
            name: of the model, for people.
            folder: of transformers, with the weights.
            config: of the model.
            tokenizer: of the run.
            stop_ids: tokens that end an answer.

        Raises:
            InputError: llama.cpp has no such layout or tokenizer.
        """
        weights = Weights.of(folder, config, describe(config, config.vocab_size))
        return cls(name, weights, read_vocabulary(tokenizer, config.vocab_size, stop_ids))

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know, as sentences."""
        return self.weights.described.notes

    @property
    def context(self) -> int:
        """Most tokens of a text."""
        return self.weights.described.context

    @property
    def tolerance(self) -> float:
        """Nats by which log-probabilities of fp32 weights may differ."""
        return self.weights.described.layout.tolerance

    def ends(self) -> list[int]:
        """Tokens at which a file ends answers."""
        return [self.vocabulary.ids[role] for role in _ENDS if role in self.vocabulary.ids]

    def prove_tokens(self, tokenizer: Any, texts: Sequence[str], place: Path, threads: int) -> TokenProof:
        """Takes llama.cpp's way to split these texts, and proves that their tokens are the same.

        Raises:
            BurnishError: no way gives the same tokens.
        """

        def opened(one: Vocabulary) -> LlamaCpp:
            place.unlink(missing_ok=True)
            write_gguf(place, self.weights, one, "q4_0", self.name)
            return LlamaCpp(place, 64, threads)

        names = guesses(tokenizer) if self.vocabulary.split else []
        self.vocabulary, proof = prove_tokens(tokenizer, self.vocabulary, names, texts, opened)
        place.unlink()
        return proof

    def write(self, path: Path, kind: str) -> float | None:
        """Writes a file, and compares what it holds with vocabulary and weights.

        Raises:
            BurnishError: it is not what was to be written.
        """
        write_gguf(path, self.weights, self.vocabulary, kind, self.name)
        check_vocabulary(path, self.vocabulary)
        return check_weights(path, self.weights, kind)


@dataclass(slots=True)
class ConvertedWriter:
    """Lets llama.cpp's own converter write; its files are proved by their tokens and answers alone."""

    converter: Converter
    model: Path
    """Folder of transformers with the whole model."""
    _fields: dict[str, Any] = field(default_factory=dict)
    """Metadata of the last file, by key."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know, as sentences."""
        return ["The files were written by llama.cpp's converter: what is proved are their tokens and answers."]

    @property
    def context(self) -> int:
        """Most tokens of a text, as the last file says."""
        return int(self._fields[f"{self._fields['general.architecture']}.context_length"])

    @property
    def tolerance(self) -> float:
        """Nats by which log-probabilities of fp32 weights may differ: as much as for the worst layout known here, since
        how llama.cpp computes this one is not."""
        return 1e-2

    def ends(self) -> list[int]:
        """Tokens at which the last file ends answers."""
        keys = [f"tokenizer.ggml.{role}_token_id" for role in _ENDS]
        return [int(self._fields[key]) for key in keys if key in self._fields]

    def prove_tokens(self, tokenizer: Any, texts: Sequence[str], place: Path, threads: int) -> TokenProof:
        """Proves that the converter chose a way to split texts that gives the same tokens.

        Raises:
            BurnishError: it did not.
        """
        self.write(place, "f16")
        chosen = Vocabulary(self._fields["tokenizer.ggml.model"], self._fields.get("tokenizer.ggml.pre", ""), [], [])
        _, proof = prove_tokens(tokenizer, chosen, [], texts, lambda _: LlamaCpp(place, 64, threads))
        place.unlink()
        return proof

    def write(self, path: Path, kind: str) -> float | None:
        """Writes a file of a type.

        Raises:
            BurnishError: the converter failed, or wrote no GGUF file.
        """
        self.converter.write(self.model, path, kind)
        try:
            self._fields = {name: one.contents() for name, one in gguf.GGUFReader(path).fields.items()}
        except (ValueError, KeyError, IndexError) as error:
            raise BurnishError(
                f"`{path.name}`, which llama.cpp's converter wrote, is not a GGUF file",
                str(error),
                "Use a newer llama.cpp, or the model with transformers: `burnish export RUN --to hf`",
            ) from error
        return None
