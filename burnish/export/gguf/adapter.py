"""A LoRA adapter as a GGUF file, which llama.cpp adds to a GGUF file of the base model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy
from safetensors import safe_open

from burnish.errors import BurnishError, InputError
from burnish.export.gguf.layouts import Described
from burnish.export.plain_lora import what_is_not_plain
from burnish.visible import parse_json

_A, _B = ".lora_A.weight", ".lora_B.weight"
_PEFT = "base_model.model."
"""In front of every name in a file of PEFT."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """The weights of a LoRA adapter by the names of llama.cpp."""

    file: Path
    described: Described
    """The base model."""
    config: Any
    """Of the base model."""
    alpha: float
    """llama.cpp scales each pair of matrices by this over its rank."""

    @classmethod
    def of(cls, folder: Path, described: Described, config: Any) -> Adapter:
        """The adapter in a folder of PEFT.

        Raises:
            InputError: llama.cpp would compute something else from it.
        """
        settings = parse_json((folder / "adapter_config.json").read_text(encoding="utf-8"))
        check_adapter(settings)
        rank, alpha = settings["r"], float(settings["lora_alpha"])
        # rank-stabilized LoRA divides by the root of the rank (arXiv 2312.03732), and llama.cpp by the rank
        alpha = alpha * math.sqrt(rank) if settings.get("use_rslora") else alpha
        found = cls(folder / "adapter_model.safetensors", described, config, alpha)
        for key in found.read_keys():
            found.name(key)
        return found

    def read_keys(self) -> list[str]:
        """Names in the file of PEFT, sorted."""
        with safe_open(str(self.file), "np") as opened:
            keys: list[str] = opened.keys()
            return sorted(keys)

    def name(self, key: str) -> str:
        """What llama.cpp calls one of a pair of matrices.

        Raises:
            InputError: it has no place for it.
        """
        for end, part in ((_A, "lora_a"), (_B, "lora_b")):
            weight = f"{key.removeprefix(_PEFT).removesuffix(end)}.weight"
            if key.endswith(end) and (name := self.described.names().get_name(weight, (".weight",))):
                return f"{name}.{part}"
        raise InputError(
            f"the adapter's weight `{key}` has no place in a GGUF file",
            "llama.cpp does not compute with it.",
            "Export the whole model: leave out `--adapter`",
        )

    def __iter__(self) -> Iterator[tuple[str, numpy.ndarray]]:
        """Each matrix with its name, in fp32: `[rank, inputs]` and `[outputs, rank]`."""
        import torch

        with safe_open(str(self.file), "pt") as opened:
            for key in self.read_keys():
                matrix = opened.get_tensor(key).to(torch.float32).numpy()
                if key.endswith(_B):  # its rows are those of the base model's matrix
                    weight = f"{key.removeprefix(_PEFT).removesuffix(_B)}.weight"
                    matrix = self.described.layout.change(weight, matrix, self.config)
                yield self.name(key), numpy.ascontiguousarray(matrix)


def check_adapter(settings: Any) -> None:
    """Refuses an adapter that llama.cpp does not have.

    Args:
        settings: its `adapter_config.json`; None if the run has no adapter.

    Raises:
        InputError: it is no plain LoRA adapter.
    """
    refused = ["the run has no adapter"] if settings is None else what_is_not_plain(settings)
    if refused:
        raise InputError(
            f"llama.cpp cannot use the adapter by itself: {'; '.join(refused)}",
            "It adds plain LoRA adapters, of one rank and scale, to the base model.",
            "Export the whole model: leave out `--adapter`",
        )


def write_adapter(target: Path, adapter: Adapter, name: str) -> None:
    """Writes the file, in fp32.

    Args:
        target: of the file, which does not exist yet.
        adapter: to write.
        name: of the adapter, for people.
    """
    writer = gguf.GGUFWriter(target, adapter.described.name)
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for key, matrix in adapter:
        writer.add_tensor(key, matrix)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def check_matrices(file: Path, adapter: Adapter) -> None:
    """Reads a file back and compares every matrix with the one it was made of.

    Raises:
        BurnishError: one is missing or different.
    """
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}
    wanted = dict(adapter)
    if found.keys() != wanted.keys() or any(not numpy.array_equal(found[name], wanted[name]) for name in wanted):
        raise BurnishError(
            "the GGUF file of the adapter is not what was to be written",
            "The file was removed.",
            "Check the disk and the memory of this machine, and export again",
        )
