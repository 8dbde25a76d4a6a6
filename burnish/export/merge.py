"""An adapter folded into the weights of its base, and how far the outputs of both may differ."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.errors import BurnishError, InputError
from burnish.models.device import arithmetic
from burnish.models.finite import first_not_finite
from burnish.models.heads import all_logits
from burnish.tasks.task import Encoder

ROWS = 16
_POSITIONS = 32
"""Most positions of a row that are compared: the logits of all would take gigabytes with large vocabularies."""

_MEAN = {"fp32": 2e-5, "fp16": 1e-2, "bf16": 5e-2}
_LARGEST = 20
REASONS = {
    "fp32": "24-bit numbers are summed in a different order",
    "fp16": "merged weights are rounded to 11 bits, one rounding more than with a separate adapter",
    "bf16": "merged weights are rounded to 8 bits, one rounding more than with a separate adapter",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two models' logits are apart."""

    largest: float
    """Largest absolute difference."""
    mean: float
    """Mean absolute difference."""
    same_choice: float
    """Share of the positions at which both find the same output most likely."""

    def to_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a merged model may be from base and adapter."""

    mean: float
    largest: float
    reason: str

    @classmethod
    def of(cls, precision: str, logits: Sequence[torch.Tensor]) -> Tolerance:
        """What rounding explains in a number format.

        The unit is the spread (standard deviation) of the logits. One rounding to n bits moves a weight by up to 2^-n
        of itself; over the layers of a deep model these add up like a random walk, to a few times as much. On average
        a fifty-thousandth of the spread is granted in fp32, a hundredth in fp16 and a twentieth in bf16; to the largest
        of many differences twenty times the average.

        Args:
            precision: of the merged weights.
            logits: those that are compared.
        """
        values = torch.cat([piece.flatten() for piece in logits])
        spread = values.std(correction=0).item() or values.abs().max().item()  # a single score has no spread
        mean = _MEAN[precision] * spread
        return cls(mean, _LARGEST * mean, REASONS[precision])

    def admits(self, difference: Difference) -> bool:
        """Whether a difference is within it. One that is not a number never is."""
        return difference.mean <= self.mean and difference.largest <= self.largest


def row_batches(encoder: Encoder, examples: Sequence[Any]) -> list[Batch]:
    """The first examples, each as a batch of its own, unpacked."""
    return [encoder.collate(examples, [[index]], False, None) for index in range(min(ROWS, len(examples)))]


@torch.no_grad()
def logits_of(network: Any, batches: Sequence[Batch], precision: str) -> list[torch.Tensor]:
    """For each output of each batch `[positions, choices]` fp32 in main memory.

    Args:
        network: any model of transformers, with or without an adapter.
        batches: as `row_batches` makes them.
        precision: of the arithmetic.
    """
    network.eval()
    found = []
    for batch in batches:
        inputs = batch.to(network.device).inputs
        if network.config.is_encoder_decoder:
            targets = batch.targets.to(network.device)
            inputs = {**inputs, "decoder_input_ids": network.prepare_decoder_input_ids_from_labels(labels=targets)}
        with arithmetic(network.device, precision):
            output = network(**inputs)
        found += map(_thinned, all_logits(output))
    return found


def _thinned(logits: torch.Tensor) -> torch.Tensor:
    flat = logits.reshape(-1, logits.shape[-1])
    chosen = torch.linspace(0, len(flat) - 1, min(_POSITIONS, len(flat))).round().long()
    return flat[chosen.to(flat.device)].float().cpu()


def difference(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> Difference:
    """How far the outputs of two models are apart. Both have at least one."""
    apart = [(a - b).abs() for a, b in zip(first, second, strict=True)]
    count = sum(piece.numel() for piece in apart)
    same = [(a.argmax(-1) == b.argmax(-1)).float() for a, b in zip(first, second, strict=True)]
    return Difference(
        max(piece.max().item() for piece in apart),
        sum(piece.sum(dtype=torch.float64).item() for piece in apart) / count,
        torch.cat(same).mean().item(),
    )


_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What safetensors calls the number formats that weights are trained in."""


def saved_dtype(folder: Path) -> torch.dtype:
    """The number format of most of a model's weights in its folder; fp32 where it has no safetensors file."""
    from safetensors import safe_open

    counts = dict.fromkeys(_TYPES, 0)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            names = tensors.keys()
            for name in names:
                piece = tensors.get_slice(name)
                if piece.get_dtype() in counts:
                    counts[piece.get_dtype()] += int(torch.Size(piece.get_shape()).numel())
    return _TYPES[max(counts, key=lambda kind: counts[kind])]


def check_unquantized(config: Any, name: str) -> None:
    """Refuses a base that is itself saved in few bits: it cannot take up an adapter.

    Args:
        config: of the base model.
        name: of the base model.

    Raises:
        InputError: the base model is quantized on disk.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(
            f"the base model `{name}` is itself saved in quantized form",
            "An adapter's small changes would be lost between the few values that its weights can have.",
            "Train on the full-precision model it was made from, for example with `--method qlora`",
        )


@torch.no_grad()
def fold(tuned: Any, dtypes: Mapping[str, torch.dtype]) -> Any:
    """The base network with the adapter in its weights; one layer after the other is computed in fp32 and rounded once.

    Args:
        tuned: the PEFT model; used up.
        dtypes: by name of the base's parameters, tied ones under all their names, the number format that they get.

    Returns:
        The network as transformers knows it. Modules that were trained in full beside the adapter, and rows of added
        tokens, have taken the places of the base's own.

    Raises:
        BurnishError: a merged value is beyond its number format.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    _put_in_place(tuned)
    _untie(tuned)
    layers = [module for module in tuned.modules() if isinstance(module, BaseTunerLayer)]
    with warnings.catch_warnings():
        # each layer is merged here, so that only one at a time is held in fp32; PEFT then says that it was
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        for layer in layers:
            base = layer.get_base_layer()
            held = {name: parameter.dtype for name, parameter in base.named_parameters()}
            base.float()
            layer.merge(safe_merge=True)
            for name, parameter in base.named_parameters():
                parameter.data = parameter.data.to(held[name])
        network = tuned.merge_and_unload()
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.to(dtypes[name])
        parameter.requires_grad_(False)
    if (damaged := first_not_finite(network)) is not None:
        raise BurnishError(
            f"the merged tensor `{damaged}` does not fit into this number format",
            "With the adapter, a value is beyond the largest number of the format. Nothing was written.",
            "Merge in a format with a wider range: `--precision bf16`",
        )
    return network


def _put_in_place(tuned: Any) -> None:
    """Puts modules that were trained in full in the places of the base's own.

    PEFT does so as well, but for IA3 (0.21) only for modules with a weight of their own, not for a pooler.
    """
    from peft.utils import ModulesToSaveWrapper

    wrapped: list[tuple[str, Any]] = [
        (name, module) for name, module in tuned.named_modules() if isinstance(module, ModulesToSaveWrapper)
    ]
    for name, wrapper in wrapped:
        parent, _, last = name.rpartition(".")
        setattr(tuned.get_submodule(parent), last, wrapper.modules_to_save[wrapper.active_adapters[0]])


def _untie(tuned: Any) -> None:
    """Gives embedding and output layer a matrix each, if the adapter changes them differently.

    Merged into a shared matrix, the adapter of one would change the other, too.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    network = tuned.get_base_model()
    tables = [network.get_input_embeddings(), network.get_output_embeddings()]
    if any(table is None or isinstance(table, AuxiliaryTrainingWrapper) for table in tables):
        return  # there is no output layer, or PEFT trains rows of both tables alike
    bases: list[Any] = [table.get_base_layer() if isinstance(table, BaseTunerLayer) else table for table in tables]
    is_adapted = any(isinstance(table, BaseTunerLayer) for table in tables)
    if is_adapted and bases[0].weight is bases[1].weight:
        bases[1].weight = torch.nn.Parameter(bases[1].weight.detach().clone(), requires_grad=False)
    if bases[0].weight is not bases[1].weight:
        network.config.get_text_config().tie_word_embeddings = False
        network.config.tie_word_embeddings = False


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model and how it was verified."""

    run: str
    base: str
    """Name of the base model."""
    method: str
    precision: str
    """Number format of the merged weights."""
    rows: int
    positions: int
    """Positions of these rows whose logits were compared."""
    merged: Difference
    """Between base with adapter and the merged model as saved, both in `precision`."""
    tolerance: Tolerance
    learned: Difference | None
    """Between base and base with adapter; None where the base is no longer in the tuned network."""
    quantized: Difference | None
    """Between the quantized base with the adapter, as it was trained, and the merged model; None where the base was
    not quantized."""
    folder: str = ""

    def check(self) -> None:
        """Checks that the merged model answers as base and adapter do.

        Raises:
            BurnishError: it does not.
        """
        if not self.tolerance.admits(self.merged):
            raise BurnishError(
                f"the merged model of the run `{self.run}` gives different outputs than its base with the adapter",
                f"Their logits differ by {self.merged.mean:.2g} on average and {self.merged.largest:.2g} at most, and "
                f"rounding to {self.precision} explains {self.tolerance.mean:.2g} and {self.tolerance.largest:.2g}. "
                "Nothing was written.",
                f"Use the adapter as it is{'' if self.precision == 'fp32' else ', or merge with `--precision fp32`'}",
            )

    @property
    def remarks(self) -> list[str]:
        """What the user should know, in sentences."""
        remarks = []
        if self.learned is not None and self.merged.mean > 0.5 * self.learned.mean:
            remarks.append(
                f"Rounding to {self.precision} moves the logits by {self.merged.mean:.2g} on average, and training "
                f"moved them by {self.learned.mean:.2g}: merge with `--precision fp32` to keep what was learned."
            )
        if self.quantized is not None:
            remarks.append(
                "The adapter was trained on a quantized base and is now part of the full-precision one: the logits "
                f"differ by {self.quantized.mean:.2g} on average, and {self.quantized.same_choice:.1%} of the most "
                "likely tokens are the same."
            )
        return remarks

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "remarks": self.remarks}
