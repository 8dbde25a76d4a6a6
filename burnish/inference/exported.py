"""What an export was asked for, what it wrote, and what was proved of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from burnish.evaluate.comparison import finite
from burnish.evaluate.figure import Figure
from burnish.export.gguf.converter import Converter


@dataclass(frozen=True, slots=True)
class Asking:
    """What the user asked for."""

    to: str
    """`gguf`, `ollama`, `vllm`, `hf` or `mlx`."""
    types: Sequence[str] = ("q8_0",)
    """Of the GGUF files, by the names of `export/gguf/file.py`."""
    answers: int = 64
    """Test rows that each file answers, at most."""
    adapter: bool = False
    """Whether the adapter is written alone, for a GGUF file of the base model."""
    converter: Converter | None = None
    """llama.cpp's own, which writes instead; None to write here."""


@dataclass(frozen=True, slots=True)
class TokenProof:
    """Texts that became the same tokens in both programs."""

    texts: int
    tokens: int
    odd_texts: int
    """Of the texts that have nothing to do with the rows, those that became the same tokens as well."""
    split: str
    """llama.cpp's way to split a text; empty if the algorithm has only one."""


@dataclass(frozen=True, slots=True)
class OutputProof:
    """Answers that both programs gave alike."""

    prompts: int
    tokens: int
    """Generated, all equal."""
    compared: int
    """Of these, those at whose places log-probabilities were compared."""
    largest: float
    """Largest difference of a log-probability, in nats."""
    tolerance: float
    ended: int
    """Answers that the model ended; 0 means that the end of answers is not proved."""
    other_ends: list[int]
    """Tokens at which llama.cpp ends an answer too, by their names, though the run does not."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One GGUF file."""

    name: str
    type: str
    bytes: int
    error: float | None
    """Largest error of a stored number, as a share of the largest in its row; None if llama.cpp wrote the file."""
    figures: list[Figure] = field(default_factory=list)
    """The model in fp32 beside the file as llama.cpp runs it, on test rows; none if it was not tried."""


@dataclass(slots=True)
class Exported:
    """What was written, and what was proved of it."""

    run: str
    to: str
    folder: str
    files: list[ExportedFile] = field(default_factory=list)
    tokens: TokenProof | None = None
    outputs: OutputProof | None = None
    rendered: int = 0
    """Conversations that llama.cpp, or Ollama's template, wrote as the run's own template does."""
    questions: int = 0
    """Test rows that were answered for `ExportedFile.figures`."""
    notes: list[str] = field(default_factory=list)
    """What the user should know, as sentences."""
    command: str = ""
    """How to use it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return finite(asdict(self))
