"""Methods `prompt`, `prefix` and `p-tuning`: virtual tokens before the text; the base model is frozen."""

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
"""As in the publications of prompt tuning and p-tuning; more tokens brought little."""


class VirtualTokens(AdapterMethod):
    """What the three methods have in common."""

    sections: ClassVar[tuple[str, ...]] = ("prompt",)
    more_weights: ClassVar[str] = "use more `prompt.tokens`, or `--method lora`"
    can_pack: ClassVar[bool] = False
    idle: ClassVar[str] = "All its virtual tokens are zero"

    def virtual_tokens(self, recipe: Recipe) -> int:
        """The number of virtual tokens."""
        return num_tokens(recipe.prompt)

    def changes_at_start(self, recipe: Recipe) -> str:
        """The text attends to the virtual tokens."""
        return "virtual tokens change the outputs from the start"

    def loading(self, precision: torch.dtype, device: torch.device) -> Loading:
        """The frozen base model in the training precision; the virtual tokens are in fp32."""
        return Loading(precision)

    def refuses(self, head: Head, config: Any) -> str:
        """PEFT supports virtual tokens only for tasks that it knows, and not with pictures."""
        kind = model_kind(config)
        if kind == "image-text":
            return "The model finds images by their token ids in the text, and virtual tokens have no ids."
        if head.peft_type is None:
            return "PEFT does not support virtual tokens for masked language models."
        return ""

    def without(self, network: Any) -> AbstractContextManager[Any] | None:
        """The base model is the same network without the virtual tokens."""
        return switched_off(network)

    def changes(self, network: Any) -> bool:
        """Whether any virtual token is not zero."""
        return any(parameter.any() for parameter in network.prompt_encoder.parameters())

    def opened(self, network: Any) -> Any:
        """Drops the outputs at virtual positions."""
        return drop_virtual_outputs(network)


class PromptMethod(VirtualTokens):
    """Trains the embeddings of virtual tokens (arXiv 2104.08691)."""

    name: ClassVar[str] = "prompt"
    kind: ClassVar[str] = "PROMPT_TUNING"

    def learning_rate(self, parameters: int) -> float:
        """1e-2 for all sizes: embeddings of a few tokens need large steps."""
        return 1e-2

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Adds virtual tokens, initialized from `prompt.text` or from random words of the vocabulary."""
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
        """The number of virtual tokens."""
        return [("prompt.tokens", _TOKENS, "as in the paper")]


class PTuningMethod(VirtualTokens):
    """Trains a small network that computes the embeddings of virtual tokens (arXiv 2103.10385)."""

    name: ClassVar[str] = "p-tuning"
    kind: ClassVar[str] = "P_TUNING"

    def learning_rate(self, parameters: int) -> float:
        """1e-3 for all sizes, as it trains a separate network."""
        return 1e-3

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Adds virtual tokens computed by a network of three layers."""
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
        """The number of virtual tokens, and the width of their network."""
        return [
            ("prompt.tokens", _TOKENS, "as in the paper"),
            ("prompt.hidden", network.get_input_embeddings().embedding_dim, "the model's own width"),
        ]


class PrefixMethod(VirtualTokens):
    """Trains the keys and values of virtual tokens in every layer (arXiv 2101.00190)."""

    name: ClassVar[str] = "prefix"
    kind: ClassVar[str] = "PREFIX_TUNING"
    can_checkpoint: ClassVar[bool] = False

    def learning_rate(self, parameters: int) -> float:
        """5e-3 for all sizes."""
        return 5e-3

    def refuses(self, head: Head, config: Any) -> str:
        """Encoders accept no external keys and values; of encoder-decoder models, PEFT supports only the decoder."""
        reason = super().refuses(head, config)
        if not reason and model_kind(config) != "causal":
            return "It puts keys and values before the text, which only decoders support."
        return reason

    def apply(self, network: Any, recipe: Recipe, target: Target) -> Any:
        """Adds keys and values, initialized from those of `prompt.text` or of random words of the vocabulary.

        Raises:
            RecipeError: gradient checkpointing is on.
        """
        if recipe.train.gradient_checkpointing is True:
            raise RecipeError(
                "`prefix` cannot be used with gradient checkpointing",
                "It trains entries of the key-value cache, which gradient checkpointing disables.",
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
        """The number of virtual tokens."""
        return [("prompt.tokens", _TOKENS, "enough for most tasks")]


def num_tokens(options: PromptSection) -> int:
    """The number of virtual tokens."""
    return _TOKENS if options.tokens == AUTO else int(options.tokens)


def start_ids(network: Any, options: PromptSection, number: int, target: Target) -> torch.Tensor:
    """`[number]` int64: the tokens that virtual tokens are initialized from; a text is repeated or cut to fit.

    Raises:
        RecipeError: `prompt.text` has no tokens.
    """
    device = network.get_input_embeddings().weight.device
    if options.text is None:
        return torch.randint(network.get_input_embeddings().num_embeddings, (number,)).to(device)
    ids = target.tokenizer(options.text, add_special_tokens=False).input_ids
    if not ids:
        raise RecipeError("`prompt.text` is empty", "", "Set it to some text, or leave it out")
    return torch.tensor([ids[position % len(ids)] for position in range(number)], device=device)


@torch.no_grad()
def _keys_and_values(network: Any, ids: torch.Tensor) -> torch.Tensor:
    """`[layers, 2, heads, tokens, width]`: the base model's cached keys and values of these tokens.

    Raises:
        RecipeError: some layers cache something else, or of another size, or for fewer tokens.
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
            "Not all of its layers cache keys and values of the same size.",
            "Use `--method prompt` or `--method lora`",
        )
    in_reach = tensors[0].shape[2]
    if in_reach < len(ids):
        raise RecipeError(
            f"`prompt.tokens` is {len(ids)}, but this model caches only the last {in_reach} tokens",
            "It attends within a sliding window.",
            f"Use `--set prompt.tokens={in_reach}` or less",
        )
    return torch.stack([tensor[0] for tensor in tensors]).unflatten(0, (-1, 2)).float()


def _sizes(network: Any) -> dict[str, int]:
    """Sizes that PEFT would read from attributes that not every config has; only the width matters here."""
    text = network.config.get_text_config()
    return {
        "token_dim": network.get_input_embeddings().embedding_dim,
        "num_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "num_transformer_submodules": 1,
    }


def drop_virtual_outputs(network: Any) -> Any:
    """Makes a PEFT model with virtual tokens return outputs of real tokens only, aligned with the targets."""
    network.register_forward_hook(_drop, with_kwargs=True)
    return network


def _drop(network: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    if network.active_peft_config.task_type == "SEQ_CLS":
        return output  # one output per row
    width = kwargs["decoder_input_ids" if network.config.is_encoder_decoder else "input_ids"].shape[1]
    for name in ("logits", "start_logits", "end_logits"):
        if output.get(name) is not None:
            output[name] = output[name][:, -width:]
    return output
