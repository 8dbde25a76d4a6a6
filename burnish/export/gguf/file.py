"""Writes a GGUF file, tensor by tensor, and reads one back to compare it with the weights it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy
from gguf import GGMLQuantizationType as Kind
from safetensors import safe_open

from burnish.errors import BurnishError, InputError
from burnish.export.gguf.layouts import Described
from burnish.export.gguf.vocabulary import Vocabulary

TYPES: dict[str, tuple[Kind, gguf.LlamaFileType]] = {
    "f32": (Kind.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (Kind.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (Kind.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q5_1": (Kind.Q5_1, gguf.LlamaFileType.MOSTLY_Q5_1),
    "q5_0": (Kind.Q5_0, gguf.LlamaFileType.MOSTLY_Q5_0),
    "q4_1": (Kind.Q4_1, gguf.LlamaFileType.MOSTLY_Q4_1),
    "q4_0": (Kind.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
"""By name: how a matrix is stored, and what the file says of itself."""
_STEPS = {"f32": 0.0, "f16": 2**-11, "bf16": 2**-8, "q8_0": 1 / 127, "q5_1": 1 / 16, "q5_0": 1 / 16, "q4_1": 1 / 8}
_STEPS["q4_0"] = 1 / 8
"""How far a stored number may be from the weight: as a share of the largest in its block of 32, or of itself."""
_EMBEDDINGS = ("token_embd.weight", "output.weight")
_ALWAYS_EXACT = ("position_embd.weight", "token_types.weight")
"""Tables that llama.cpp adds up in fp32."""


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
                    if key.endswith(described.layout.skipped or ("\0",)):
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

        yield from self.described.factors.items()
        with ExitStack() as stack:
            files: dict[Path, Any] = {}
            for name, (file, key) in self.places.items():
                if file not in files:
                    files[file] = stack.enter_context(safe_open(str(file), "pt"))
                tensor = files[file].get_tensor(key).to(torch.float32).numpy()
                yield name, numpy.ascontiguousarray(self.described.layout.change(key, tensor, self.config))


def _plain(key: str) -> str:
    """A name without the prefix of a classifier around an encoder."""
    return key.removeprefix("bert.")


def _order(name: str) -> tuple[int, str]:
    """Blocks in their order, what is outside of them first."""
    parts = name.split(".")
    return (int(parts[1]) + 1 if parts[0] == "blk" else 0), name


def stored_as(name: str, shape: tuple[int, ...], kind: str) -> Kind:
    """How a tensor is stored in a file of this type: vectors and small tables exactly, matrices of another width than
    whole blocks in 16 bits, and embeddings in at least 8."""
    if len(shape) < 2 or name in _ALWAYS_EXACT:
        return Kind.F32
    wanted = TYPES[kind][0]
    if wanted in (Kind.F32, Kind.F16, Kind.BF16):
        return wanted
    if name in _EMBEDDINGS:
        wanted = Kind.Q8_0
    return wanted if shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0 else Kind.F16


def write_gguf(target: Path, weights: Weights, vocabulary: Vocabulary, kind: str, name: str) -> None:
    """Writes a file.

    Args:
        target: of the file, which does not exist yet.
        weights: of the model.
        vocabulary: of its tokenizer.
        kind: one of `TYPES`.
        name: of the model, for people.
    """
    writer = gguf.GGUFWriter(target, weights.described.name)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(TYPES[kind][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in weights.described.metadata.items():
        _add(writer, f"{weights.described.name}.{key}", value)
    _add_vocabulary(writer, vocabulary)
    for key, tensor in weights:
        stored = stored_as(key, tensor.shape, kind)
        size = int(numpy.prod(gguf.quant_shape_to_byte_shape(tensor.shape, stored)))
        writer.add_tensor_info(key, tensor.shape, tensor.dtype, size, stored)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for key, tensor in weights:
            writer.write_tensor_data(_stored(tensor, stored_as(key, tensor.shape, kind)))
    finally:
        writer.close()


def _stored(tensor: numpy.ndarray, kind: Kind) -> numpy.ndarray:
    """A tensor in the bytes of a type."""
    if kind == Kind.F32:
        return tensor
    return tensor.astype(numpy.float16) if kind == Kind.F16 else gguf.quantize(tensor, kind)


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
        BurnishError: a tensor is missing, or further from its weight than its type explains.
    """
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    worst = 0.0
    for name, tensor in weights:
        found = stored.pop(name, None)
        if found is None:
            raise _spoilt(name, "is missing")
        read = gguf.dequantize(found.data, found.tensor_type).reshape(tensor.shape)
        allowed = _STEPS.get(_name_of(found.tensor_type), _STEPS[kind])
        scale = numpy.abs(tensor).max(axis=-1, keepdims=True) + numpy.finfo(numpy.float32).tiny
        error = float((numpy.abs(read - tensor) / scale).max()) if tensor.size else 0.0
        if not error <= 1.01 * allowed + 1e-6:  # the scale of a block is rounded, too; not a number is an error
            raise _spoilt(name, f"is {error:.2g} of the largest number in its row away from the weight")
        worst = max(worst, error)
    if stored:
        raise _spoilt(sorted(stored)[0], "belongs to no weight")
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


def _name_of(kind: Kind) -> str:
    return next((name for name, (one, _) in TYPES.items() if one == kind), "")


def _spoilt(name: str, what: str) -> BurnishError:
    return BurnishError(
        f"the GGUF file is not what was to be written: the tensor `{name}` {what}",
        "The file was removed.",
        "Check the disk and the memory of this machine, and export again",
    )
