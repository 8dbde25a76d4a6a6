"""What all methods that leave a PEFT folder have in common: writing it, reading it back, switching it off."""

from __future__ import annotations

import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch

from burnish.errors import ModelError, RecipeError
from burnish.methods.method import Load, MethodDefaults
from burnish.models.device import PRECISIONS, arithmetic
from burnish.models.heads import all_logits
from burnish.models.location import ModelLocation
from burnish.models.quantization import import_bitsandbytes
from burnish.runs.folder import RunFolder

_TOKENS = 8
"""Enough for attention to have something to look back at, and few enough to cost nothing."""


def same_answers(network: Any, off: AbstractContextManager[Any]) -> bool:
    """Whether base and tuned model give the same outputs, to the last bit.

    Args:
        network: with its adapter on.
        off: a context in which it is the base model.
    """
    was_training = network.training
    network.eval()
    try:
        tuned = _outputs(network)
        with off:
            base = _outputs(network)
    finally:
        network.train(was_training)
    return len(tuned) > 0 and all(mine.equal(other) for mine, other in zip(tuned, base, strict=True))


@torch.no_grad()
def _outputs(network: Any) -> list[torch.Tensor]:
    ids = _fixed_ids(network)
    inputs = {"input_ids": ids}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with arithmetic(network.device, _precision(network)):
        output = network(**inputs)
    return all_logits(output)


def _fixed_ids(network: Any) -> torch.Tensor:
    """`[1, tokens]` int64: tokens from all over the vocabulary, the last one among them, for added ones stand there.

    Tokens that mean something to the model itself, such as padding or a picture, are left out.
    """
    vocabulary = network.get_input_embeddings().weight.shape[0]
    config = network.config.to_dict()
    values = [value for part in (config, config.get("text_config") or {}) for value in part.items()]
    special = {value for name, value in values if name.endswith(("token_id", "token_index")) and type(value) is int}
    plain = [token for token in range(vocabulary) if token not in special]
    chosen = [plain[(len(plain) - 1) * number // (_TOKENS - 1)] for number in range(_TOKENS)]
    return torch.tensor([chosen], device=network.device)


def _precision(network: Any) -> str:
    """The arithmetic that its weights ask for: adapters are held in fp32, whatever the base is held in."""
    held = {weight.dtype for weight in network.parameters()}
    return next((name for name, dtype in PRECISIONS.items() if dtype in held and name != "fp32"), "fp32")


def import_peft() -> Any:
    """PEFT, which brings bitsandbytes along wherever that is installed; hence only from here."""
    import_bitsandbytes()
    import peft

    return peft


class AdapterMethod(MethodDefaults, ABC):
    """The base stays as it is; what is trained is kept beside it."""

    idle: ClassVar[str]
    """What an adapter that changes nothing looks like."""

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base model is the same network with the adapter off."""
        return switched_off(network)

    def save(self, network: Any, folder: Path) -> None:
        """Writes a standard PEFT folder; names in its config are sorted, so that equal runs write equal bytes."""
        network.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
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
        """Loads the base and the saved adapter onto it.

        Raises:
            ModelError: the adapter does not fit the base, is not whole, or would change nothing.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        peft = import_peft()
        network = load(base)
        try:
            tuned = peft.PeftModel.from_pretrained(network, str(result))
            saved = load_file(str(result / "adapter_model.safetensors"))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            text = str(error).strip().splitlines()[0][:300]
            raise ModelError(
                f"the adapter in `{result}` does not fit its base model",
                text,
                "Put back the base model that it was trained on, as it was, or train again",
            ) from error
        _check_places(result, set(saved), set(peft.get_peft_model_state_dict(tuned, save_embedding_layers=False)))
        tuned = self.opened(tuned)
        reason = self.unmoved(tuned)
        if reason:
            raise ModelError(
                f"the adapter in `{result}` changes nothing",
                f"{reason}: it was never trained, or it was not loaded.",
                "Train again; an adapter that learned has other weights",
            )
        return tuned

    def unmoved(self, network: Any) -> str:
        """Looks at the weights, and then at what the network makes of a few tokens with the adapter and without."""
        if not self.changes(network):
            return self.idle
        off = self.without(network)
        if off is not None and same_answers(network, off):
            return "The tuned model answers just as its base does, to the last bit"
        return ""

    @abstractmethod
    def changes(self, network: Any) -> bool:
        """Whether the adapter of a PEFT model has any effect."""

    def opened(self, network: Any) -> Any:
        """The network as it is used; most need nothing more."""
        return network


def _check_places(result: Path, saved: set[str], places: set[str]) -> None:
    """Every saved tensor must have found its place in the model, and every place its tensor: PEFT only warns.

    Args:
        result: folder of the adapter.
        saved: names of the tensors in it.
        places: names that the loaded model would save them by.

    Raises:
        ModelError: one did not.
    """
    strange, missing = sorted(saved - places), sorted(places - saved)
    if strange:
        waiting = f" The model has a place for `{missing[0]}`." if missing else ""
        raise ModelError(
            f"the adapter in `{result}` was not applied",
            f"{len(strange)} of its {len(saved)} tensors have no place in the base model, the first is "
            f"`{strange[0]}`.{waiting}",
            "Put back the base model that it was trained on; if tensors were renamed, give them PEFT's names again",
        )
    if missing:
        raise ModelError(
            f"the adapter in `{result}` is not whole",
            f"It lacks {len(missing)} tensors, the first is `{missing[0]}`.",
            "Train again, or copy the whole folder again",
        )


def finish(network: Any, config: Any) -> Any:
    """The network with an adapter; what is trained is held in fp32, whatever the base is held in.

    A head that begins at random comes in the base's type, and the 8 bits of a bf16 mantissa would lose small updates.

    Args:
        network: the base model.
        config: of PEFT.
    """
    if config.task_type == "QUESTION_ANS" and not config.is_prompt_learning:
        # PEFT's wrapper for question answering drops `token_type_ids` (0.21); its general one passes everything on.
        config.task_type = None
    adapted = import_peft().get_peft_model(network, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


@contextmanager
def switched_off(network: Any) -> Iterator[None]:
    """The base model: neither the adapter nor the modules trained beside it.

    PEFT's own context leaves the latter on where the adapter is made of virtual tokens.
    """
    from peft.utils import AuxiliaryTrainingWrapper

    beside = [module for module in network.modules() if isinstance(module, AuxiliaryTrainingWrapper)]
    with _passed_by(network) if _is_stuck(network) else network.disable_adapter():
        for module in beside:
            module.enable_adapters(False)
        try:
            yield
        finally:
            for module in beside:
                module.enable_adapters(True)


def _is_stuck(network: Any) -> bool:
    """Whether PEFT cannot switch it off: virtual tokens before a model that does not generate.

    PEFT 0.21 then looks for `prepare_inputs_for_generation`, which such a model does not have.
    """
    return network.active_peft_config.is_prompt_learning and not hasattr(network, "prepare_inputs_for_generation")


@contextmanager
def _passed_by(network: Any) -> Iterator[None]:
    """What PEFT's own context does for models that generate."""
    network.forward = network.base_model.forward
    try:
        yield
    finally:
        del network.forward


def moved_beside(network: Any) -> bool:
    """Whether what is trained beside the adapter, whole modules or rows of embeddings, differs from the base's own."""
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
    from peft.utils import ModulesToSaveWrapper

    pairs = []
    for module in network.modules():
        if isinstance(module, ModulesToSaveWrapper):
            mine = module.modules_to_save["default"].parameters()
            pairs += list(zip(mine, module.original_module.parameters(), strict=True))
        elif isinstance(module, TrainableTokensLayer):
            pairs.append((module.trainable_tokens_delta["default"], module.trainable_tokens_original["default"]))
    return any(not mine.equal(base.to(mine.dtype)) for mine, base in pairs)


def check_names(network: Any, wanted: list[str], option: str) -> None:
    """Each name must be the ending of a module's name.

    Raises:
        RecipeError: with the nearest name.
    """
    names = [name for name, _ in network.named_modules() if name]
    for ending in wanted:
        if not any(is_ending(name, ending) for name in names):
            last_parts = sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()})
            near = difflib.get_close_matches(ending, last_parts, n=1)
            raise RecipeError(
                f"`{option}` names `{ending}`, which this model does not have",
                f"Its modules are named {', '.join(last_parts[:30])}.",
                f"Did you mean `{near[0]}`?" if near else "",
            )


def is_ending(name: str, ending: str) -> bool:
    """Whether `ending` is the whole of a dotted name or the last parts of it."""
    return name == ending or name.endswith(f".{ending}")
