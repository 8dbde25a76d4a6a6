"""Methods `lora`, `qlora` and `int8-lora`: low-rank adapters of the linear layers (arXiv 2106.09685)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from burnish.errors import RecipeError
from burnish.methods.adapter import (
    AdapterMethod,
    check_names,
    check_settings,
    finish,
    frozen_targets,
    import_peft,
    moved_beside,
    without_frozen,
)
from burnish.methods.lora_layer import register_layers
from burnish.methods.method import Choice, scaled_rate
from burnish.models.base import Loading
from burnish.models.blocks import (
    is_ending,
    linear_layers,
    names_block,
    read_in_place,
    routers,
    short_names,
    spelled_out,
)
from burnish.models.heads import Target
from burnish.models.quantization import int8_config, nf4_config
from burnish.recipe.schema import AUTO, LoraSection, Recipe
from burnish.visible import parse_json


def check_start(options: LoraSection, layers: Sequence[Any]) -> None:
    """Checks that `lora.init` can be applied to these layers.

    Raises:
        RecipeError: it cannot; with the reason.
    """
    if options.init == "default":
        return
    matrices = [layer.weight for layer in layers if hasattr(layer, "weight")]
    rank = int(options.rank)
    narrowest = min((min(weight.shape) for weight in matrices), default=rank)
    reason, fix = "", "Use `--set lora.init=default`"
    if any(not weight.dtype.is_floating_point for weight in matrices):
        reason = (
            "It splits the adapter matrices off the base weights, and quantized weights cannot be changed that finely."
        )
        fix = "Use `--method lora`, or `--set lora.init=default`"
    elif any(isinstance(layer, torch.nn.Embedding) for layer in layers):
        reason = "An embedding is among the layers, and its adapter always begins at zero."
        fix = "Leave the embedding out of `lora.targets`, or use `--set lora.init=default`"
    elif options.init == "olora" and any(isinstance(layer, Conv1D) for layer in layers):
        reason = "The layers of this model store their weights transposed, which PEFT's OLoRA does not support."
        fix = "Use `--set lora.init=pissa`"
    elif options.dora:
        reason = "DoRA uses the norms of the base weights, which this initialization changes."
        fix = "Use `--set lora.dora=false`"
    elif rank > narrowest:
        reason = f"The smallest layer has a dimension of {narrowest}, so a rank of {rank} is too high for it."
        fix = f"Use `--set lora.rank={narrowest}` or less"
    if reason:
        raise RecipeError(f"`lora.init={options.init}` is not possible here", reason, fix)


def remember_start(network: Any) -> None:
    """Stores the adapter's initial matrices in `network.lora_start`, for `write_as_plain`."""
    network.lora_start = {
        name.replace(".default.", "."): parameter.detach().clone()
        for name, parameter in network.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }


def write_as_plain(network: Any, folder: Path) -> None:
    """Rewrites a saved adapter as one of twice the rank for the original base model.

    Args:
        network: the PEFT model that was saved, with `lora_start`.
        folder: where it was saved.
    """
    weights_file, config_file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    weights = load_file(str(weights_file))
    for name, start in network.lora_start.items():
        start = start.to(weights[name])
        is_a = ".lora_A." in name
        weights[name] = torch.cat([weights[name], start if is_a else -start], dim=0 if is_a else 1).contiguous()
    config = parse_json(config_file.read_text(encoding="utf-8"))
    factor = math.sqrt(2) if config["use_rslora"] else 2  # keeps the scale: alpha / r, or alpha / sqrt(r)
    config |= {"r": 2 * config["r"], "lora_alpha": factor * config["lora_alpha"], "init_lora_weights": True}
    save_file(weights, str(weights_file), metadata={"format": "pt"})
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def has_moved(network: Any) -> bool:
    """Whether the product of any pair of matrices differs from its initial value.

    Args:
        network: a PEFT model, in training or loaded. In a loaded one, matrices that were split off the base weights are
            concatenated with their initial values, `[B, -B0] [A; A0]`, and cancel out if nothing was learned.
    """
    named = dict(network.named_parameters())
    start = getattr(network, "lora_start", None)
    if start is not None:
        return any(
            not _is_same(named[_training_name(name)], first.to(named[_training_name(name)]))
            for name, first in start.items()
        )
    pairs = [
        (up, named[name.replace(one, other)])
        for one, other in ((".lora_B.", ".lora_A."), (".lora_embedding_B.", ".lora_embedding_A."))
        for name, up in named.items()
        if one in name
    ]
    # of a linear layer B begins as zero, of an embedding A does
    moved = [(up, down) for up, down in pairs if up.shape[-1] == down.shape[0] and up.any() and down.any()]
    return any(not _cancels(up, down) for up, down in moved)


def _training_name(name: str) -> str:
    """The name of a saved matrix in a model in training."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.default.{last}"


def _cancels(up: torch.Tensor, down: torch.Tensor) -> bool:
    """Whether the second half of an adapter subtracts what the first adds; an odd rank has no halves."""
    half = len(down) // 2
    if 2 * half != len(down):
        return False
    return _is_same(up[:, :half], -up[:, half:]) and _is_same(down[:half], down[half:])


def _is_same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two matrices are equal up to the last bit of the largest value, which does not change a product."""
    return bool((first - second).abs().max() <= 2**-24 * second.abs().max())


_MANY_ROWS = 10_000
"""Number of training rows above which a higher rank is better."""
_PLUS_RATIO = 16.0
"""The recommendation of the authors of LoRA+ (arXiv 2402.12354, section 5)."""


class LoraMethod(AdapterMethod):
    """Trains two small matrices per layer; the base model is frozen."""

    name: ClassVar[str] = "lora"
    kind: ClassVar[str] = "LORA"
    sections: ClassVar[tuple[str, ...]] = ("lora",)
    can_merge: ClassVar[bool] = True
    can_eject: ClassVar[bool] = True
    size_option: ClassVar[str] = "lora.rank"
    targets_option: ClassVar[str] = "lora.targets"
    more_weights: ClassVar[str] = "use a higher `lora.rank`, other `lora.targets`, or `--method full`"
    fewer_weights: ClassVar[str] = "a lower `lora.rank`, or some `lora.dropout`"
    idle: ClassVar[str] = "All its matrices B are zero"

    def learning_rate(self, parameters: int) -> float:
        """5e-4 at 100 M parameters, 2e-4 from 1 B up, more for tiny models.

        An adapter takes about ten times the rate of full fine-tuning, as it does there at every size.
        """
        return max(2e-4, scaled_rate(5e-4, parameters))

    def adapter_settings(self, recipe: Recipe) -> dict[str, Any] | None:
        """Those of the section `lora`; matrices that were split off the base weights are saved with twice the rank."""
        options = recipe.lora
        return {
            "peft_type": "LORA",
            "r": int(options.rank) * (1 if options.init == "default" else 2),
            "use_dora": options.dora,
            "bias": options.bias,
            "modules_to_save": options.modules_to_save,
            "trainable_token_indices": options.added_tokens,
        }

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """The frozen base model in the training precision; adapters are in fp32."""
        return Loading(precision)

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Wraps the network in a PEFT model whose adapters alone are trainable.

        Raises:
            RecipeError: `lora.targets` or `lora.modules_to_save` names a module that does not exist or that the task
                freezes, or `lora.init` cannot be applied.
        """
        options = with_rank(recipe.lora)
        targets = find_targets(network, options)
        check_names(network, options.modules_to_save, "lora.modules_to_save")
        frozen = tuple(f"{name}." for name in target.frozen_modules)
        free = [(name, module) for name, module in network.named_modules() if not name.startswith(frozen)]
        chosen = [module for name, module in free if any(is_ending(name, t) for t in targets)]
        if not chosen:
            raise frozen_targets("lora.targets", target)
        check_start(options, chosen)
        config = import_peft().LoraConfig(
            r=int(options.rank),
            lora_alpha=default_alpha(options) if options.alpha == AUTO else options.alpha,
            lora_dropout=options.dropout,
            bias=options.bias,
            target_modules=spelled_out(network, targets),
            exclude_modules=without_frozen(target),
            use_rslora=options.rslora,
            use_dora=options.dora,
            modules_to_save=[*spelled_out(network, options.modules_to_save), *target.new_modules] or None,
            fan_in_fan_out=all(isinstance(module, Conv1D) for module in chosen),
            init_lora_weights=_STARTS[options.init],
            trainable_token_indices=_token_rows(network, options, target),
            task_type=target.peft_type,
        )
        if recipe.model.kernels == "fast":
            register_layers(config, chosen)
        adapted = finish(network, config)
        if options.init != "default":
            remember_start(adapted)
        return adapted

    def is_uniform(self, recipe: Recipe) -> bool:
        """Unless layers of single blocks are named."""
        targets = [] if recipe.lora.targets == AUTO else list(recipe.lora.targets)
        return not names_block([*targets, *recipe.lora.modules_to_save])

    def added_tokens(self, recipe: Recipe) -> list[str]:
        """Their embeddings are trained along with the adapter."""
        return recipe.lora.added_tokens

    def choices_for_rows(self, rows: int) -> list[Choice]:
        """The rank."""
        if rows <= _MANY_ROWS:
            return [("lora.rank", 16, f"enough for {rows:,} rows")]
        return [("lora.rank", 32, f"there is more to learn from {rows:,} rows")]

    def changes_at_start(self, recipe: Recipe) -> str:
        """Splitting the base weights changes them slightly by rounding."""
        if recipe.lora.init != "default":
            return f"`lora.init={recipe.lora.init}` splits its matrices off the weights, which rounds the weights"
        return (
            "DoRA divides the weights by a norm and multiplies them by it again, which rounds them"
            if recipe.lora.dora
            else ""
        )

    def rate_factors(self, network: Any, recipe: Recipe) -> dict[str, float]:
        """With LoRA+, the B matrices have a higher learning rate than the A matrices."""
        plus_ratio = recipe.lora.plus_ratio
        if plus_ratio is None:
            return {}
        ratio = _PLUS_RATIO if plus_ratio == AUTO else float(plus_ratio)
        return {name: ratio for name, p in network.named_parameters() if p.requires_grad and ".lora_B." in name}

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The same network with the adapters disabled; None if weights of the base model itself were changed."""
        configs = network.peft_config.values()
        if any(config.bias != "none" or config.init_lora_weights is not True for config in configs):
            return None
        return super().without(network)

    def save(self, network: Any, folder: Path) -> None:
        """Writes a standard PEFT folder for the original base model, whatever `lora.init` was."""
        super().save(network, folder)
        if network.peft_config["default"].init_lora_weights is not True:
            write_as_plain(network, folder)

    def changes(self, network: Any) -> bool:
        """Whether any trained weight differs from its initial value."""
        return moved_beside(network) or has_moved(network)

    def unmoved(self, network: Any) -> str:
        """Adapts the reason if the initial matrices were split off the base weights instead of zero."""
        reason = super().unmoved(network)
        if reason == self.idle and any(p.any() for n, p in network.named_parameters() if ".lora_B." in n):
            return "Its matrices have their initial values"
        return reason

    def add(self, network: Any, result: Path, name: str) -> bool:
        """PEFT keeps several adapters on one base; but those that read its weights, which may be packed, stay alone."""
        settings = parse_json((result / "adapter_config.json").read_bytes())
        if settings.get("use_dora") or settings.get("lora_bias"):
            return False

        def load() -> Any:
            check_settings(result, self.kind, [name for name, _ in network.named_modules()])
            network.load_adapter(str(result), adapter_name=name)
            network.set_adapter(name)
            return network

        self.with_adapter(load, result, name)
        return True

    def use(self, network: Any, name: str) -> None:
        """Switching takes a walk through all layers, so only where another one is active."""
        if network.active_adapter != name:
            network.set_adapter(name)

    def drop(self, network: Any, name: str) -> None:
        """PEFT makes another one the active one."""
        network.delete_adapter(name)

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """Scale, layers and learning rates of the adapter."""
        layers = _automatic_targets(network)
        chosen: list[Choice] = [
            ("lora.alpha", default_alpha(with_rank(recipe.lora)), "twice the rank"),
            ("lora.plus_ratio", _PLUS_RATIO, "the recommendation of the authors of LoRA+"),
        ]
        reason = "every linear layer of the blocks"
        if any(parameter.ndim == 3 and "expert" in name for name, parameter in network.named_parameters()):
            reason += "; experts that share one matrix are frozen"
        if routers(network):
            reason += "; so are routers, which choose the experts"
        if idle := sorted({name.rpartition(".")[2] for name in _unadaptable(network, linear_layers(network))}):
            reason += f"; the model reads the weights of {', '.join(f'`{name}`' for name in idle)} itself"
        return [*chosen, ("lora.targets", layers, reason)] if layers else chosen


_STARTS: dict[str, Any] = {"default": True, "pissa": "pissa_niter_16", "olora": "olora"}
"""PEFT's names; PiSSA uses the fast decomposition with 16 iterations."""


DEFAULT_RANK = 16
"""Enough for thousands of rows; the plan uses more for more rows."""


def with_rank(options: LoraSection) -> LoraSection:
    """The options with a numeric rank."""
    return options.model_copy(update={"rank": DEFAULT_RANK}) if options.rank == AUTO else options


def default_alpha(options: LoraSection) -> int:
    """Twice the rank, so that the scale of the update is 2 at every rank."""
    return 2 * int(options.rank)


def find_targets(network: Any, options: LoraSection) -> list[str]:
    """The layers that get an adapter: those named, or every linear layer of the blocks but for routers of experts.

    Raises:
        RecipeError: a name matches no linear layer, or one that PEFT does not adapt; or the model has no linear layer
            in blocks.
    """
    if options.targets == AUTO:
        targets = _automatic_targets(network)
        if not targets:
            raise RecipeError(
                "found no linear layer in the blocks of this model", "", "Set the layers with `lora.targets`"
            )
        return targets
    check_names(network, options.targets, "lora.targets")
    named = [name for name, _ in network.named_modules() if any(is_ending(name, one) for one in options.targets)]
    if idle := _unadaptable(network, named, is_strict=False):
        raise RecipeError(
            f"`lora.targets` has `{idle[0]}`, which cannot be adapted in a model of type `{network.config.model_type}`",
            "The model reads the weight of this layer itself, so an adapter beside it would have no effect.",
            "Leave it out, or leave `lora.targets` at `auto`",
        )
    return sorted(options.targets)


def _automatic_targets(network: Any) -> list[str]:
    """Every linear layer of the blocks that an adapter has an effect on, but for routers of experts."""
    layers = linear_layers(network)
    left_out = {*routers(network), *_unadaptable(network, layers)}
    return short_names(network, [name for name in layers if name not in left_out])


def _unadaptable(network: Any, names: Iterable[str], is_strict: bool = True) -> list[str]:
    """Those of some modules that an adapter has no effect on, because the model reads their weights itself.

    Args:
        network: the base model.
        names: of its modules.
        is_strict: whether those count, too, that it calls on some devices. PEFT refuses some in any case.
    """
    read = {name for name, is_called in read_in_place(network).items() if is_strict or not is_called}
    check, config = getattr(import_peft().LoraModel, _PEFTS_CHECK, None), import_peft().LoraConfig()
    found = []
    for name in names:
        try:
            if name in read:
                found.append(name)
            elif check is not None:
                check(None, config, network, name.rpartition(".")[2])
        except ValueError:
            found.append(name)
    return found


_PEFTS_CHECK = "_check_target_module_compatiblity"
"""PEFT's method that raises ValueError for a name of a module that it refuses; versions without it refuse none."""


def _token_rows(network: Any, options: LoraSection, target: Target) -> dict[str, list[int]] | None:
    """The rows of the added tokens, by name of the embedding and of the head if it is a separate matrix."""
    if not options.added_tokens:
        return None
    rows = sorted(set(target.tokenizer.convert_tokens_to_ids(options.added_tokens)))
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    tables = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    return {name: rows for name, module in network.named_modules() if any(module is table for table in tables)}


class QLoraMethod(LoraMethod):
    """The base model in 4-bit NormalFloat with double quantization, adapters in fp32 (arXiv 2305.14314)."""

    name: ClassVar[str] = "qlora"
    quantizes: ClassVar[bool] = True
    bits: ClassVar[int] = 4

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """Quantized blocks; embeddings, norms and heads in the training precision."""
        return Loading(precision, nf4_config(precision, device))

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """As for `lora`; with CUDA, the optimizer's moments are in 8 bits."""
        chosen = super().choices(network, recipe)
        if network.device.type == "cuda":
            chosen.append(("train.optimizer", "paged-adamw-8bit", "moments in 8 bits, paged out when memory is short"))
        return chosen


class Int8LoraMethod(LoraMethod):
    """The base model in LLM.int8 (arXiv 2208.07339), adapters in fp32."""

    name: ClassVar[str] = "int8-lora"
    quantizes: ClassVar[bool] = True
    bits: ClassVar[int] = 8

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """Quantized blocks; embeddings, norms and heads in the training precision."""
        return Loading(precision, int8_config(device))
