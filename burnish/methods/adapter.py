"""What all PEFT methods have in common: saving, loading and disabling an adapter."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.errors import ModelError, RecipeError, reason_of
from burnish.methods.embedding_copies import check_copies, copies_of_embeddings
from burnish.methods.method import Load, MethodDefaults
from burnish.models.blocks import is_ending
from burnish.models.device import PRECISIONS, arithmetic
from burnish.models.heads import Target, all_logits
from burnish.models.location import ModelLocation
from burnish.models.quantization import import_bitsandbytes
from burnish.models.weight_files import check_adapter_files
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder
from burnish.system.limits import TooSlow, limited_time
from burnish.visible import parse_json

FIRST = "default"
"""PEFT's name for the adapter that a network is loaded with."""
_NO_CARD = "---\nlibrary_name: peft\n---\n"
"""A model card that PEFT completes."""
_TOKENS = 8
"""Enough for attention to have an effect, and few enough to cost nothing."""


def same_outputs(network: Any, off: AbstractContextManager[Any]) -> bool:
    """Whether base and fine-tuned model give the same outputs, bit for bit.

    Args:
        network: with its adapter enabled.
        off: a context in which it is the base model.
    """
    was_training = network.training
    network.eval()
    try:
        tuned = fixed_outputs(network)
        with off:
            base = fixed_outputs(network)
    finally:
        network.train(was_training)
    return len(tuned) > 0 and all(one.equal(other) for one, other in zip(tuned, base, strict=True))


@torch.no_grad()
def fixed_outputs(network: Any) -> list[torch.Tensor]:
    """The logits of a network in evaluation mode for a few tokens from the whole vocabulary."""
    ids = _fixed_ids(network)
    inputs = {"input_ids": ids}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with arithmetic(network.device, _precision(network)):
        output = network(**inputs)
    return all_logits(output)


def _fixed_ids(network: Any) -> torch.Tensor:
    """`[1, tokens]` int64: tokens from the whole vocabulary, including the last one, because added tokens come last.

    Without tokens with a meaning of their own, such as padding or pictures.
    """
    vocabulary = network.get_input_embeddings().weight.shape[0]
    config = network.config.to_dict()
    values = [value for part in (config, config.get("text_config") or {}) for value in part.items()]
    special = {value for name, value in values if name.endswith(("token_id", "token_index")) and type(value) is int}
    plain = [token for token in range(vocabulary) if token not in special]
    chosen = [plain[(len(plain) - 1) * number // (_TOKENS - 1)] for number in range(_TOKENS)]
    return torch.tensor([chosen], device=network.device)


def _precision(network: Any) -> str:
    """The precision of the base model's weights; adapters are always in fp32."""
    dtypes = {weight.dtype for weight in network.parameters()}
    return next((name for name, dtype in PRECISIONS.items() if dtype in dtypes and name != "fp32"), "fp32")


def import_peft() -> Any:
    """The module `peft`. It imports bitsandbytes if that is installed, so it is imported only here."""
    import_bitsandbytes()
    import peft

    return peft


_PATTERN_SECONDS = 2.0
"""Of processor time; those of real adapters take milliseconds."""


def check_settings(result: Path, kind: str, names: Sequence[str]) -> None:
    """Refuses the settings of an adapter with which PEFT would do something else than load it.

    Other kinds of adapters fetch models by a name in their settings. A rank far beyond that of the weights takes all
    memory before the weights are read, and a regular expression may not come to an end on a name.

    Args:
        result: folder of the adapter.
        kind: of the method that trained it, as PEFT calls it.
        names: of the modules of its base model.

    Raises:
        ModelError: it has such settings, or no weights.
    """
    check_adapter_files(result)
    try:
        found: Any = parse_json((result / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # PEFT reports it
    config: dict[str, Any] = found if isinstance(found, dict) else {}
    if config.get("peft_type") != kind:
        raise ModelError(
            f"the adapter in `{result}` does not fit its base model",
            f"It is of the kind `{str(config.get('peft_type'))[:80]}`, and the run trained one of the kind `{kind}`.",
            "Put the adapter back that the run trained, or train again",
        )
    _check_sizes(result, config)
    for pattern in _patterns(config):
        try:
            with limited_time(_PATTERN_SECONDS):
                _try_pattern(pattern, names)
        except TooSlow:
            raise ModelError(
                f"the adapter in `{result}` has a pattern that does not come to an end",
                f"`{pattern[:80]}` was tried on the names of modules for {_PATTERN_SECONDS:g} s.",
                "Get the adapter from a source that you trust, or train again",
            ) from None


_SIZES = ("r", "num_virtual_tokens")


def _check_sizes(result: Path, config: dict[str, Any]) -> None:
    """Raises ModelError for a size that no dimension of the weights has room for."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(result / "adapter_model.safetensors"), framework="pt") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in list(weights.keys())]
    except (OSError, SafetensorError):
        return  # PEFT reports it
    largest = max((size for shape in shapes for size in shape), default=0)
    ranks = config.get("rank_pattern")
    sizes = {name: config.get(name) for name in _SIZES} | (ranks if isinstance(ranks, dict) else {})
    for name, size in sizes.items():
        if isinstance(size, (int, float)) and size > largest:
            raise ModelError(
                f"the adapter in `{result}` does not fit its base model",
                f"Its `{str(name)[:80]}` is {size}, and the largest dimension of its weights is {largest}.",
                "Put the adapter back that the run trained, or train again",
            )


def _try_pattern(pattern: str, names: Sequence[str]) -> None:
    """Matches names in the ways in which PEFT does."""
    for whole in (pattern, rf"(^|.*\.){pattern}($|\..*)"):
        with contextlib.suppress(re.error, OverflowError, RecursionError):  # PEFT reports it
            matcher = re.compile(whole)
            for name in names:
                matcher.fullmatch(name)


_WITH_PATTERNS = (
    "target_modules",
    "exclude_modules",
    "layers_pattern",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
)


def _patterns(config: dict[str, Any]) -> list[str]:
    """The regular expressions in the settings of an adapter."""
    found: list[Any] = []
    for name in _WITH_PATTERNS:
        value = config.get(name)
        found += [value] if isinstance(value, str) else list(value) if isinstance(value, (list, dict)) else []
    return [one for one in found if isinstance(one, str)]


class AdapterMethod(MethodDefaults, ABC):
    """The base model is frozen; the trained weights are saved separately."""

    name: ClassVar[str]
    kind: ClassVar[str]
    """PEFT's name of such adapters."""
    idle: ClassVar[str]
    """Describes an adapter that has no effect."""

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base model is the same network with the adapter disabled."""
        return switched_off(network)

    def adapter_settings(self, recipe: Recipe) -> dict[str, Any] | None:
        """Another kind than LoRA."""
        return {"peft_type": self.name}

    def save(self, network: Any, folder: Path) -> None:
        """Writes a standard PEFT folder; names in its config are sorted, so that equal runs write equal bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(_NO_CARD, encoding="utf-8")  # else PEFT compiles its template for one
        network.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink()  # PEFT writes folders of this machine into it; ours comes later
        config_file = folder / "adapter_config.json"
        config = json.loads(config_file.read_text(encoding="utf-8"))
        for key in ("target_modules", "modules_to_save", "feedforward_modules"):
            if isinstance(config.get(key), list):
                config[key] = sorted(set(config[key]))
        config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def result_folder(self, run: RunFolder) -> Path:
        """`adapter/`."""
        return run.adapter

    def open(self, load: Load, base: ModelLocation, result: Path) -> Any:
        """Loads the base model with the saved adapter.

        Raises:
            ModelError: the adapter does not fit the base model, is incomplete, or has no effect.
        """
        peft = import_peft()
        network = load(base)
        check_settings(result, self.kind, [name for name, _ in network.named_modules()])
        return self.with_adapter(lambda: peft.PeftModel.from_pretrained(network, str(result)), result, FIRST)

    def with_adapter(self, load: Callable[[], Any], result: Path, name: str) -> Any:
        """The network that `load` returns, once its adapter is known to be complete and to have an effect."""
        from safetensors.torch import load_file

        peft = import_peft()
        check_adapter_files(result)
        try:
            tuned = load()
            saved = load_file(str(result / "adapter_model.safetensors"))
        except (MemoryError, ModelError):
            raise
        except Exception as error:  # damaged files fail anywhere in PEFT
            raise ModelError(
                f"the adapter in `{result}` does not fit its base model",
                reason_of(error),
                "Put back the base model that it was trained on, or train again",
            ) from error
        found = peft.get_peft_model_state_dict(tuned, adapter_name=name, save_embedding_layers=False)
        _check_tensors(result, saved.keys() - copies_of_embeddings(tuned, saved, found), set(found))
        tuned = self.opened(tuned)
        reason = self.unmoved(tuned)
        if reason:
            raise ModelError(
                f"the adapter in `{result}` changes nothing",
                f"{reason}: it was never trained, or it was not loaded.",
                "Train again; the weights of a trained adapter differ from the initial ones",
            )
        return tuned

    def weights_of(self, network: Any) -> dict[str, torch.Tensor]:
        """By PEFT's names."""
        found = import_peft().get_peft_model_state_dict(network, adapter_name=FIRST, save_embedding_layers=False)
        return {name: tensor.detach().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def put(self, network: Any, weights: Mapping[str, torch.Tensor]) -> None:
        """In place, so that an optimizer keeps its parameters."""
        found = import_peft().get_peft_model_state_dict(network, adapter_name=FIRST, save_embedding_layers=False)
        for name, tensor in found.items():
            tensor.copy_(weights[name])

    def take(self, network: Any, result: Path) -> None:
        """Those of `adapter_model.safetensors`."""
        from safetensors.torch import load_file

        check_adapter_files(result)
        saved, own = load_file(str(result / "adapter_model.safetensors")), self.weights_of(network)
        copies = copies_of_embeddings(network, saved, own)
        check_copies(result, network, saved, sorted(copies))
        _check_tensors(result, saved.keys() - copies, set(own))
        for name, tensor in own.items():
            if saved[name].shape != tensor.shape:
                raise ModelError(
                    f"the adapter in `{result}` cannot go on training here",
                    f"Its `{name}` has the shape {list(saved[name].shape)}, and here it would be {list(tensor.shape)}.",
                    "Give the options that it was trained with, or merge it first: `--set start.how=merge`",
                )
        self.put(network, saved)

    def unmoved(self, network: Any) -> str:
        """Checks the weights, and then the outputs for a few tokens with and without the adapter."""
        if not self.changes(network):
            return self.idle
        off = self.without(network)
        if off is not None and same_outputs(network, off):
            return "The fine-tuned model gives the same outputs as its base model, bit for bit"
        return ""

    @abstractmethod
    def changes(self, network: Any) -> bool:
        """Whether the adapter of a PEFT model has any effect."""

    def opened(self, network: Any) -> Any:
        """The loaded network in the form in which it is used; most methods change nothing."""
        return network


def _check_tensors(result: Path, saved: set[str], expected: set[str]) -> None:
    """Checks that saved tensors and the model's adapter weights match; PEFT only warns.

    Args:
        result: folder of the adapter.
        saved: names of the saved tensors.
        expected: names of the model's adapter weights.

    Raises:
        ModelError: one is missing or unexpected.
    """
    unexpected, missing = sorted(saved - expected), sorted(expected - saved)
    if unexpected:
        absent = f" The model expects `{missing[0]}`." if missing else ""
        raise ModelError(
            f"the adapter in `{result}` was not applied",
            f"Tensors without a place in the base model: {len(unexpected)} of {len(saved)}, the first is "
            f"`{unexpected[0]}`.{absent}",
            "Put back the base model that it was trained on; if tensors were renamed, give them PEFT's names again",
        )
    if missing:
        raise ModelError(
            f"the adapter in `{result}` is incomplete",
            f"Missing tensors: {len(missing)}, the first is `{missing[0]}`.",
            "Train again, or copy the whole folder again",
        )


def finish(network: Any, config: Any) -> Any:
    """The network with an adapter, whose trainable weights are in fp32 whatever the precision of the base model.

    A new head is created in the base model's dtype, and the 8 bits of a bf16 mantissa would lose small updates.

    Args:
        network: the base model.
        config: PEFT's config of the adapter.
    """
    if config.task_type == "QUESTION_ANS" and not config.is_prompt_learning:
        # PEFT's wrapper for question answering drops `token_type_ids` (0.21); its general one passes all inputs on
        config.task_type = None
    adapted = import_peft().get_peft_model(network, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


@contextmanager
def switched_off(network: Any) -> Iterator[None]:
    """A context in which the network is the base model, without the adapter and other trained modules.

    PEFT's own context does not disable the latter if the adapter consists of virtual tokens; for others it first checks
    the state of every layer, which is slow.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    layers = [module for module in network.modules() if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper))]
    with _without_virtual_tokens(network):
        for layer in layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)


def _without_virtual_tokens(network: Any) -> AbstractContextManager[Any]:
    """A context in which the network puts no virtual tokens before its inputs, if it has any."""
    if not network.active_peft_config.is_prompt_learning:
        return nullcontext()
    # PEFT 0.21 needs `prepare_inputs_for_generation`, which a model that does not generate does not have
    return network.disable_adapter() if hasattr(network, "prepare_inputs_for_generation") else _bypassed(network)


@contextmanager
def _bypassed(network: Any) -> Iterator[None]:
    """Does what PEFT's own context does for models that generate."""
    network.forward = network.base_model.forward
    try:
        yield
    finally:
        del network.forward


def moved_beside(network: Any) -> bool:
    """Whether the weights trained besides the adapter, modules or embedding rows, differ from the base model's."""
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
    from peft.utils import ModulesToSaveWrapper

    pairs = []
    for module in network.modules():
        if isinstance(module, ModulesToSaveWrapper):
            trained = module.modules_to_save["default"].parameters()
            pairs += list(zip(trained, module.original_module.parameters(), strict=True))
        elif isinstance(module, TrainableTokensLayer):
            pairs.append((module.trainable_tokens_delta["default"], module.trainable_tokens_original["default"]))
    return any(not trained.equal(base.to(trained.dtype)) for trained, base in pairs)


def check_names(network: Any, wanted: list[str], option: str) -> None:
    """Checks that each name is the ending of a module's name.

    Raises:
        RecipeError: with the nearest name.
    """
    names = [name for name, _ in network.named_modules() if name]
    for ending in wanted:
        if not any(is_ending(name, ending) for name in names):
            last_parts = sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()})
            near = difflib.get_close_matches(ending, last_parts)
            raise RecipeError(
                f"`{option}` names `{ending}`, which this model does not have",
                f"Its modules are named {', '.join(last_parts[:30])}.",
                f"Did you mean `{near[0]}`?" if near else "",
            )


def frozen_targets(option: str, target: Target) -> RecipeError:
    """The error for an option that names only layers that the task freezes."""
    return RecipeError(
        f"`{option}` names only layers that this task freezes",
        f"They are in {', '.join(f'`{name}`' for name in target.frozen_modules)}.",
        f"Choose other layers, or leave `{option}` at `auto`",
    )


def without_frozen(target: Target) -> str | None:
    """A regular expression for PEFT that excludes everything in the modules that the task freezes."""
    return "|".join(rf"{re.escape(name)}\..*" for name in target.frozen_modules) or None
