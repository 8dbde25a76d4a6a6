"""Writes a GGUF file, tensor by tensor, and reads one back to compare it with the weights it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy
from safetensors import safe_open

from burnish.errors import BurnishError, InputError
from burnish.export.gguf.layouts import Described
from burnish.export.gguf.types import LARGEST_ERRORS, FileType, stored
from burnish.export.gguf.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a transformers folder by the names of llama.cpp, read one at a time."""

    config: Any
    described: Described
    places: Mapping[str, tuple[Path, str]]
    """For each name: the file that holds it, and its name there."""

    @classmethod
    def of(cls, folder: Path, config: Any, described: Described) -> Weights:
        """The weights of a folder.

        Raises:
            InputError: llama.cpp has no place for one of them.
        """
        names, places = described.names(), {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(str(file), "np") as opened:
                keys: list[str] = opened.keys()
                for key in keys:
                    if key.endswith(described.layout.skipped):
                        continue
                    name = names.get_name(_plain(key), (".weight", ".bias"))
                    if name is None:
                        raise InputError(
                            f"the weight `{key}` has no place in a GGUF file",
                            f"llama.cpp does not compute with it for models of the type `{config.model_type}`.",
                            "Use the model with transformers: `burnish export RUN --to hf`",
                        )
                    places[name] = (file, key)
        return cls(config, described, dict(sorted(places.items(), key=lambda pair: _order(pair[0]))))

    def __iter__(self) -> Iterator[tuple[str, numpy.ndarray]]:
        """Each tensor with its name, in fp32."""
        import torch

        layout = self.described.layout
        yield from self.described.factors.items()
        with ExitStack() as stack:
            files: dict[Path, Any] = {}
            for name, (file, key) in self.places.items():
                if file not in files:
                    files[file] = stack.enter_context(safe_open(str(file), "pt"))
                tensor = files[file].get_tensor(key).to(torch.float32).numpy()
                if key.endswith(layout.inputs_first):
                    tensor = tensor.T
                yield name, numpy.ascontiguousarray(layout.change(key, tensor, self.config))

    def stored_in(self, kind: str) -> FileType:
        """A type of file for this model."""
        return FileType.of(kind, self.described.metadata, self.places)


def _plain(key: str) -> str:
    """A name without the prefix of a classifier around an encoder."""
    return key.removeprefix("bert.")


def _order(name: str) -> tuple[int, str]:
    """Blocks in their order, what is outside of them first."""
    parts = name.split(".")
    return (int(parts[1]) + 1 if parts[0] == "blk" else 0), name


def write_gguf(target: Path, weights: Weights, vocabulary: Vocabulary, kind: str, name: str) -> None:
    """Writes a file.

    Args:
        target: of the file, which does not exist yet.
        weights: of the model.
        vocabulary: of its tokenizer.
        kind: one of `FILE_TYPES`.
        name: of the model, for people.
    """
    file_type = weights.stored_in(kind)
    writer = gguf.GGUFWriter(target, weights.described.name)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type.says)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in weights.described.metadata.items():
        _add(writer, f"{weights.described.name}.{key}", value)
    _add_vocabulary(writer, vocabulary)
    for key, tensor in weights:
        form = file_type.stored_as(key, tensor.shape)
        size = int(numpy.prod(gguf.quant_shape_to_byte_shape(tensor.shape, form)))
        writer.add_tensor_info(key, tensor.shape, tensor.dtype, size, form)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for key, tensor in weights:
            writer.write_tensor_data(stored(tensor, file_type.stored_as(key, tensor.shape)))
    finally:
        writer.close()


def _add(writer: gguf.GGUFWriter, key: str, value: float | bool | str) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    if vocabulary.split:
        writer.add_tokenizer_pre(vocabulary.split)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    for role, token in vocabulary.ids.items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", token)
    for what, is_added in vocabulary.adds.items():
        writer.add_bool(f"tokenizer.ggml.add_{what}", is_added)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


def check_weights(file: Path, weights: Weights, kind: str) -> float:
    """Reads a file back and compares every tensor with the weight it was made of.

    Args:
        file: that `write_gguf` wrote.
        weights: of the model.
        kind: the type it was written in.

    Returns:
        The largest error of a number, as a share of the largest in its row.

    Raises:
        BurnishError: a tensor is missing, in another format, or further from its weight than that explains.
    """
    read, file_type = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}, weights.stored_in(kind)
    worst = 0.0
    for name, tensor in weights:
        found = read.pop(name, None)
        if found is None:
            raise _spoilt(name, "is missing")
        if found.tensor_type != file_type.stored_as(name, tensor.shape):
            raise _spoilt(name, f"is stored as {found.tensor_type.name}")
        numbers = gguf.dequantize(found.data, found.tensor_type).reshape(tensor.shape)
        allowed = LARGEST_ERRORS[found.tensor_type]
        scale = numpy.abs(tensor).max(axis=-1, keepdims=True) + numpy.finfo(numpy.float32).tiny
        error = float((numpy.abs(numbers - tensor) / scale).max()) if tensor.size else 0.0
        if not error <= 1.01 * allowed + 1e-6:  # the scale of a block is rounded, too; not a number is an error
            raise _spoilt(name, f"is {error:.2g} of the largest number in its row away from the weight")
        worst = max(worst, error)
    if read:
        raise _spoilt(sorted(read)[0], "belongs to no weight")
    return worst


def check_vocabulary(file: Path, vocabulary: Vocabulary) -> None:
    """Reads the vocabulary of a file back and compares it with what was to be written.

    Raises:
        BurnishError: a token, its type, a merge or a special token is another.
    """
    fields = gguf.GGUFReader(file).fields
    wanted: dict[str, Any] = {
        "tokens": vocabulary.tokens,
        "token_type": vocabulary.types,
        "merges": vocabulary.merges,
        **{f"{role}_token_id": token for role, token in vocabulary.ids.items()},
        **{f"add_{what}": is_added for what, is_added in vocabulary.adds.items()},
    }
    for name, value in wanted.items():
        found = fields.get(f"tokenizer.ggml.{name}")
        if (found.contents() if found else []) != value:
            raise BurnishError(
                f"the GGUF file is not what was to be written: `tokenizer.ggml.{name}` is something else",
                "The file was removed.",
                "Check the disk and the memory of this machine, and export again",
            )


def _spoilt(name: str, what: str) -> BurnishError:
    return BurnishError(
        f"the GGUF file is not what was to be written: the tensor `{name}` {what}",
        "The file was removed.",
        "Check the disk and the memory of this machine, and export again",
    )
