"""Records encoded as examples, the rows that were left out, and the cache of tokenized rows."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Gathering
from burnish.data.rows.row import EncodedRow, Example, Rejected, RowError
from burnish.data.tokens.file_column import file_columns, write_columns
from burnish.data.tokens.tokens import (
    COLUMNS,
    OF_TOKENS,
    TokenColumns,
    TokenExamples,
    token_counts,
    trained_count,
)
from burnish.errors import MachineError, ModelError
from burnish.runs.atomic import TEMPORARY_PREFIX, remove_abandoned, write_folder
from burnish.system.machine import cache_folder
from burnish.tasks.task import Encoder

_NAMED_ROWS = 3
_BLOCK = 1_024
"""Records encoded together: enough for the tokenizer's batches, without holding many intermediate results."""


@dataclass(slots=True)
class Encoded:
    """Records encoded as examples, with those that were left out."""

    examples: Sequence[Any]
    owners: Sequence[int]
    """For each example, the index of its record."""
    rejected: list[Rejected]
    truncated_rows: int = 0
    truncated_tokens: int = 0
    truncated_places: list[str] = field(default_factory=list)
    """`file:line` of the first rows that were truncated."""
    refused: list[Rejected] = field(default_factory=list)
    """Answers that are not learned, although others of their rows are."""

    @classmethod
    def empty(cls) -> Encoded:
        """No records at all."""
        return cls([], [], [])

    @property
    def num_rows(self) -> int:
        """Records with at least one example."""
        return len(numpy.unique(numpy.asarray(self.owners)))

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return int(token_counts(self.examples).sum())

    @property
    def num_trained(self) -> int:
        """Terms of the loss."""
        return trained_count(self.examples)


def encode_records(
    encoder: Encoder, records: Sequence[Any], context: int, is_held_out: bool = False, disk: Disk | None = None
) -> Encoded:
    """Encodes every record; one from which nothing can be learned is listed in `rejected`, never dropped silently.

    Args:
        encoder: of the task.
        records: of one split.
        context: most tokens of an example.
        is_held_out: whether they are only evaluated on. A row whose answer the model cannot give is then kept: leaving
            it out would make the metrics too good.
        disk: where tokens, or examples of a task's own type, are kept; None for memory.
    """
    owners = array("q")
    others: Gathering[Any] | None = None  # of a task's own type
    columns = TokenColumns(disk)
    encoded = Encoded([], owners, [])
    for index, row in enumerate(_in_blocks(encoder, records, context)):
        if not isinstance(row, RowError):
            row = _checked(row, is_held_out)
        if isinstance(row, RowError):
            file, _, line = records[index].place.rpartition(":")
            encoded.rejected.append(Rejected(file, int(line), str(row)))
            continue
        for example in row.examples:
            if type(example) is Example:
                columns.add(example)
                continue
            others = others or Gathering(sys.maxsize if disk is None else None, disk)
            others.add(example)
        owners.extend([index] * len(row.examples))
        for reason in row.refused:
            file, _, line = records[index].place.rpartition(":")
            encoded.refused.append(Rejected(file, int(line), reason))
        encoded.truncated_rows += row.truncated_tokens > 0
        encoded.truncated_tokens += row.truncated_tokens
        if row.truncated_tokens and len(encoded.truncated_places) < _NAMED_ROWS:
            encoded.truncated_places.append(records[index].place)
    encoded.examples = columns.done() if others is None else others.done()
    return encoded


def _checked(row: EncodedRow, is_held_out: bool) -> EncodedRow | RowError:
    """The row, or why it is left out."""
    if row.unlearned:
        return row if is_held_out else RowError(row.unlearned)
    if not any(example.num_trained for example in row.examples):
        return RowError("it has no token to train on")
    return row


def check_rows(encoder: Encoder, examples: Iterable[Any], missing: Mapping[int, str], model: str, rows: int) -> None:
    """Checks that no example has a token without a row in the embedding.

    Args:
        encoder: of the task.
        examples: encoded.
        missing: the tokens without a row.
        model: name of the base model.
        rows: of its embedding.

    Raises:
        ModelError: naming the token.
    """
    segments = (segment for example in examples for segment in encoder.segments(example))
    found = next((token for segment in segments for id_, token in missing.items() if id_ in segment.ids), None)
    if found is not None:
        raise ModelError(
            f"the rows contain the token `{found}`, for which `{model}` has no embedding",
            f"The tokenizer has it, the model does not: its embedding has {rows:,} rows.",
            "Use the model that the tokenizer was made for, or another chat template",
        )


def _in_blocks(encoder: Encoder, records: Sequence[Any], context: int) -> Iterator[EncodedRow | RowError]:
    for begin in range(0, len(records), _BLOCK):
        yield from encoder.encode_all(records[begin : begin + _BLOCK], context)


MOST_BYTES = 8 * 2**30
"""Maximum size of the cache; the least recently used entries are removed first."""
_OWNERS, _METADATA = "owners", "encoded"
_FILE = "examples.safetensors"


def rows_key(ingredients: Sequence[Any], records: Iterable[Any]) -> str:
    """Cache key of tokenized rows: a hash of everything they depend on.

    Args:
        ingredients: JSON-ready values: the data, the task and its options, the tokenizer.
        records: of this split; only their places are hashed, since the ingredients identify the content.
    """
    digest = hashlib.sha256(json.dumps(ingredients, sort_keys=True, ensure_ascii=True).encode("ascii"))
    digest.update(_own_code().encode("ascii"))
    for record in records:
        digest.update(f"{record.place} {getattr(record, 'ends', '')}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def tokenizer_hash(tokenizer: Any) -> str | None:
    """SHA-256 (hex) of what determines a tokenizer's tokens; None for one implemented in Python alone."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    special = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
    parts = [type(tokenizer).__name__, backend.to_str(), str(tokenizer.chat_template), special]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


def find_encoded(key: str, in_memory: bool = True) -> Encoded | None:
    """The cached rows of a key; None if there are none, or their file is damaged.

    Args:
        key: see `rows_key`.
        in_memory: whether their tokens are mapped into memory, rather than read part by part.
    """
    from safetensors import SafetensorError, safe_open

    try:
        folder = _folder() / key
        with safe_open(folder / _FILE, framework="pt") as file:
            metadata = json.loads(file.metadata()[_METADATA])
            mapped = [name for name in (*COLUMNS, _OWNERS) if in_memory or name not in OF_TOKENS]
            columns: dict[str, Any] = {name: file.get_tensor(name).numpy() for name in mapped}
        if not in_memory:
            columns |= file_columns(folder / _FILE, OF_TOKENS)
        owners = array("q", columns.pop(_OWNERS).tobytes())
        examples = TokenExamples(columns, metadata["names"])
        if not examples.is_whole or len(owners) != len(examples):
            return None
        rejected = [Rejected(**one) for one in metadata["rejected"]]
        folder.touch()
        refused = [Rejected(**one) for one in metadata["refused"]]
        return Encoded(examples, owners, rejected, *metadata["cut"], refused=refused)
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError, KeyError, IndexError):
        return None


def encode_cached(
    key: str, encoder: Encoder, records: Sequence[Any], context: int, is_held_out: bool, disk: Disk | None
) -> tuple[Encoded, str]:
    """`encode_records`, from the cache if it has these, and kept there if it took long.

    Returns:
        Them, and why they could not be cached; empty if they are, or need not be.
    """
    if (kept := find_encoded(key, in_memory=disk is None)) is not None:
        return kept, ""
    started = time.perf_counter()
    encoded = encode_records(encoder, records, context, is_held_out, disk)
    if time.perf_counter() - started <= _WORTH_KEEPING:
        return encoded, ""
    why = keep_encoded(key, encoded)
    # of those on the disk, the files without a name are let go of
    kept = None if disk is None or why else find_encoded(key, in_memory=False)
    return encoded if kept is None else kept, why


_WORTH_KEEPING = 1.0
"""Seconds of tokenizing above which the result is cached for the next run."""


def keep_encoded(key: str, encoded: Encoded) -> str:
    """Caches rows, if they are of a kind that can be cached.

    Returns:
        Why they could not be cached; empty on success.
    """
    examples = encoded.examples
    if not isinstance(examples, TokenExamples):
        return ""
    metadata = {
        "names": examples.names,
        "rejected": [asdict(row) for row in encoded.rejected],
        "refused": [asdict(answer) for answer in encoded.refused],
        "cut": [encoded.truncated_rows, encoded.truncated_tokens, encoded.truncated_places],
    }
    columns = {**examples.columns, _OWNERS: numpy.array(encoded.owners, dtype=numpy.int64)}
    try:
        remove_abandoned(_folder())
        with write_folder(_folder() / key) as target:
            write_columns(target / _FILE, columns, {_METADATA: json.dumps(metadata)})
        _make_room(key)
    except (OSError, RuntimeError, MachineError) as error:
        return str(error)
    return ""


def _make_room(new: str) -> None:
    """Removes the least recently used rows until the cache is within `MOST_BYTES`, but for those of a new key."""
    folders = [folder for folder in _folder().iterdir() if not folder.name.startswith(TEMPORARY_PREFIX)]
    kept = sorted((folder.stat().st_mtime, folder, _size(folder)) for folder in folders)
    total = sum(size for _, _, size in kept)
    for _, folder, size in kept:
        if total <= MOST_BYTES:
            return
        if folder.name == new:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        total -= size


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _folder() -> Path:
    return cache_folder() / "rows"


@cache
def _own_code() -> str:
    """SHA-256 (hex) of the code that turns records into tokens, and of the versions of the libraries it uses."""
    digest = hashlib.sha256(json.dumps(list(_versions())).encode("ascii"))
    root = Path(__file__).parents[1]
    for file in (
        Path(__file__),
        *(file for folder in ("data", "tasks") for file in sorted((root / folder).rglob("*.py"))),
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _versions() -> Iterator[str]:
    from importlib.metadata import version

    names: Sequence[str] = ("burnish", "transformers", "tokenizers", "tiktoken", "jinja2")
    return (f"{name} {version(name)}" for name in names)
