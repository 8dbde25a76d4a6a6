"""Methods `prompt`, `prefix` and `p-tuning`: virtual tokens before the text; no weight of the base moves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch

from burnish.errors import RecipeError
from burnish.methods.adapter import AdapterMethod, finish, import_peft, switched_off
from burnish.methods.method import Choice
from burnish.models.base import Loading
from burnish.models.config import model_kind
from burnish.models.heads import Head, Target
from burnish.recipe.schema import AUTO, PromptSection, Recipe

_TOKENS = 20
"""As in the papers on prompt tuning and p-tuning, whose gains end there."""


class VirtualTokens(AdapterMethod):
    """What the three methods have in common."""

    sections: ClassVar[tuple[str, ...]] = ("prompt",)
    can_pack: ClassVar[bool] = False
    idle: ClassVar[str] = "All its virtual tokens are zero"

    def virtual_tokens(self, recipe: Recipe) -> int:
        """Positions that the virtual tokens take from the context."""
        return num_tokens(recipe.prompt)

    def changes_at_start(self, recipe: Recipe) -> str:
        """Whatever is in front of a text takes part in attention."""
        return "virtual tokens change what follows from the start"

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """The frozen base is held in the precision it computes in; the virtual tokens stay in fp32."""
        return Loading(precision)

    def refuses(self, head: Head, config: Any) -> str:
        """PEFT puts virtual tokens only before models whose task it knows, and not before pictures."""
        kind = model_kind(config)
        if kind == "image-text":
            return "The model counts its picture tokens in the text, and virtual tokens come as vectors, not as text."
        if head.peft_type is None:
            return "PEFT has no virtual tokens for models that fill in masked words."
        return ""

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base model is the same network without the virtual tokens."""
        return switched_off(network)

    def changes(self, network: Any) -> bool:
        """Any token before the text changes what follows; none is there only if all are zero."""
        return any(parameter.any() for parameter in network.prompt_encoder.parameters())

    def opened(self, network: Any) -> Any:
        """With the outputs at virtual positions left away."""
        return drop_virtual_outputs(network)


class PromptMethod(VirtualTokens):
    """Trains the embeddings of virtual tokens (arXiv 2104.08691)."""

    name: ClassVar[str] = "prompt"

    def learning_rate(self, parameters: int) -> float:
        """1e-2, whatever the size: embeddings of a few tokens need large steps."""
        return 1e-2

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Virtual tokens that begin as the words of `prompt.text`, or as random words of the vocabulary."""
        number = num_tokens(recipe.prompt)
        ids = start_ids(network, recipe.prompt, number, target)
        config = import_peft().PromptTuningConfig(
            num_virtual_tokens=number,
            **_sizes(network),
            modules_to_save=list(target.new_modules) or None,
            task_type=target.peft_type,
        )
        tuned = finish(network, config)
        with torch.no_grad():
            tuned.prompt_encoder["default"].embedding.weight.copy_(network.get_input_embeddings()(ids))
        return drop_virtual_outputs(tuned)

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """How many virtual tokens."""
        return [("prompt.tokens", _TOKENS, "as in the paper")]


class PTuningMethod(VirtualTokens):
    """Trains a small network that makes the embeddings of virtual tokens (arXiv 2103.10385)."""

    name: ClassVar[str] = "p-tuning"

    def learning_rate(self, parameters: int) -> float:
        """1e-3, whatever the size: it is a network of its own that learns."""
        return 1e-3

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Virtual tokens from a network of three layers."""
        width = network.get_input_embeddings().embedding_dim
        config = import_peft().PromptEncoderConfig(
            num_virtual_tokens=num_tokens(recipe.prompt),
            **_sizes(network),
            encoder_hidden_size=width if recipe.prompt.hidden == AUTO else int(recipe.prompt.hidden),
            modules_to_save=list(target.new_modules) or None,
            task_type=target.peft_type,
        )
        return drop_virtual_outputs(finish(network, config))

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """How many virtual tokens, from how wide a network."""
        return [
            ("prompt.tokens", _TOKENS, "as in the paper"),
            ("prompt.hidden", network.get_input_embeddings().embedding_dim, "the model's own width"),
        ]


class PrefixMethod(VirtualTokens):
    """Trains the keys and values of virtual tokens in every layer (arXiv 2101.00190)."""

    name: ClassVar[str] = "prefix"
    can_checkpoint: ClassVar[bool] = False

    def learning_rate(self, parameters: int) -> float:
        """5e-3, whatever the size."""
        return 5e-3

    def refuses(self, head: Head, config: Any) -> str:
        """Encoders take no keys and values from outside; of an encoder and decoder, PEFT reaches only the decoder."""
        reason = super().refuses(head, config)
        if not reason and model_kind(config) != "causal":
            return "It puts keys and values before the text, and only decoders read on from such a beginning."
        return reason

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Keys and values that begin as those of words: of `prompt.text`, or random ones of the vocabulary.

        Raises:
            RecipeError: gradient checkpointing was asked for.
        """
        if recipe.train.gradient_checkpointing is True:
            raise RecipeError(
                "`prefix` makes no sense with gradient checkpointing",
                "What it trains lies in the key-value cache, which is not kept then.",
                "Use `--set train.gradient_checkpointing=false`",
            )
        number = num_tokens(recipe.prompt)
        start = _keys_and_values(network, start_ids(network, recipe.prompt, number, target))
        layers, _, heads, _, width = start.shape
        config = import_peft().PrefixTuningConfig(
            num_virtual_tokens=number,
            num_layers=layers,
            num_attention_heads=heads,
            token_dim=heads * width,
            num_transformer_submodules=1,
            modules_to_save=list(target.new_modules) or None,
            task_type=target.peft_type,
        )
        tuned = finish(network, config)
        with torch.no_grad():
            tuned.prompt_encoder["default"].embedding.weight.copy_(start.permute(3, 0, 1, 2, 4).flatten(1))
        return drop_virtual_outputs(tuned)

    def choices(self, network: Any, recipe: Recipe) -> list[Choice]:
        """How many virtual tokens."""
        return [("prompt.tokens", _TOKENS, "enough for most tasks")]


def num_tokens(options: PromptSection) -> int:
    """How many virtual tokens."""
    return _TOKENS if options.tokens == AUTO else int(options.tokens)


def start_ids(network: Any, options: PromptSection, number: int, target: Target) -> torch.Tensor:
    """`[number]` int64: the words that virtual tokens begin as; a text is repeated or cut to fit.

    Raises:
        RecipeError: `prompt.text` has no token.
    """
    device = network.get_input_embeddings().weight.device
    if options.text is None:
        return torch.randint(network.get_input_embeddings().num_embeddings, (number,)).to(device)
    ids = target.tokenizer(options.text, add_special_tokens=False).input_ids
    if not ids:
        raise RecipeError("`prompt.text` is empty", "", "Give it words, or leave it out")
    return torch.tensor([ids[position % len(ids)] for position in range(number)], device=device)


@torch.no_grad()
def _keys_and_values(network: Any, ids: torch.Tensor) -> torch.Tensor:
    """`[layers, 2, heads, tokens, width]`: the keys and values that the base itself keeps of these words.

    Raises:
        RecipeError: some layers keep something else, of another size, or fewer than all.
    """
    was_training = network.training
    network.eval()
    cache = getattr(network.base_model(input_ids=ids[None], use_cache=True), "past_key_values", None)
    network.train(was_training)
    layers = [] if cache is None else cache.layers
    kept = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    tensors = [tensor for tensor in kept if isinstance(tensor, torch.Tensor)]
    if len(tensors) < len(kept) or len({tensor.shape for tensor in tensors}) != 1:
        raise RecipeError(
            "`prefix` does not fit this model",
            "Its layers do not all keep keys and values of one size.",
            "Use `--method prompt` or `--method lora`",
        )
    in_reach = tensors[0].shape[2]
    if in_reach < len(ids):
        raise RecipeError(
            f"`prompt.tokens` is {len(ids)}, but this model looks back only so far as to keep {in_reach}",
            "It attends within a sliding window.",
            f"Use `--set prompt.tokens={in_reach}` or less",
        )
    return torch.stack([tensor[0] for tensor in tensors]).unflatten(0, (-1, 2)).float()


def _sizes(network: Any) -> dict[str, int]:
    """What PEFT would look up by names that not every config has; only the width matters here."""
    text = network.config.get_text_config()
    return {
        "token_dim": network.get_input_embeddings().embedding_dim,
        "num_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "num_transformer_submodules": 1,
    }


def drop_virtual_outputs(network: Any) -> Any:
    """Makes a PEFT model with virtual tokens answer for the real tokens only, so that outputs stand beside targets."""
    network.register_forward_hook(_drop, with_kwargs=True)
    return network


def _drop(network: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    width = kwargs["decoder_input_ids" if network.config.is_encoder_decoder else "input_ids"].shape[1]
    for name in ("logits", "start_logits", "end_logits"):
        values = output.get(name)
        if values is not None and not _is_one_a_row(network, values) and values.shape[1] > width:
            output[name] = values[:, -width:]
    return output


def _is_one_a_row(network: Any, values: torch.Tensor) -> bool:
    return values.ndim == 2 and network.active_peft_config.task_type == "SEQ_CLS"
