"""The generation settings of a base model: tokens are kept, ways of choosing among them are not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers import GenerationConfig

from burnish.errors import ModelError

NEUTRAL: dict[str, Any] = {
    "num_beams": 1,
    "num_return_sequences": 1,
    "min_length": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""Set explicitly, because unset options are taken from the base model's own generation_config.json."""


_TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
"""Settings that belong to the tokens of a model, rather than to a way of choosing among them."""
_HARMLESS = {**NEUTRAL, "do_sample": False, "temperature": 1.0, "top_k": 50, "early_stopping": False}
"""Values that leave greedy decoding as it is."""
_LENGTHS = ("max_length", "max_new_tokens", "use_cache", "cache_implementation", "transformers_version")


_IN_BOTH = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "transformers_version",
)
"""What both a model's config and its generation settings have."""


def check_tokens(settings: Mapping[str, Any]) -> None:
    """Raises ModelError for generation settings that name a token otherwise than by its number."""
    for name, value in settings.items():
        listed = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(number, int) for number in listed if number is not None):
            raise ModelError(
                f"the generation settings of the base model have `{name}: {value!r}`",
                "Tokens are given there by their numbers.",
                "Fix or remove it in `generation_config.json` and `config.json`",
            )


def make_greedy(network: Any) -> list[str]:
    """Leaves only tokens in the generation settings of a model: it is evaluated, saved and used with greedy decoding.

    Settings in its config move as well, because transformers does not save a config with them.

    Returns:
        A note for the user if settings were dropped that would have changed answers.

    Raises:
        ModelError: a token is not named by its number.
    """
    old = _settings_in_config(network.config)
    for name in old:
        setattr(network.config, name, None)
    if not network.can_generate() or network.generation_config is None:
        return []
    old = {**old, **network.generation_config.to_diff_dict()}
    kept = {name: getattr(network.generation_config, name, None) for name in _TOKENS}
    if kept["decoder_start_token_id"] is None:  # training begins with that of the config
        kept["decoder_start_token_id"] = getattr(network.config, "decoder_start_token_id", None)
    check_tokens(kept)
    # greedy in so many words: where nothing is said, a pipeline of transformers samples
    kept = {name: value for name, value in kept.items() if value is not None}
    network.generation_config = GenerationConfig(do_sample=False, **kept)
    dropped = sorted(
        name
        for name, value in old.items()
        if name not in (*_TOKENS, *_LENGTHS)
        and not name.startswith(("_", "output_", "return_"))
        and value is not None
        and _HARMLESS.get(name) != value
    )
    if not dropped:
        return []
    named = ", ".join(f"`{name}`" for name in dropped)
    return [
        f"The base model's own generation settings ({named}) are not used: answers are the most likely tokens, in the "
        "evaluation and in the saved model."
    ]


def _settings_in_config(config: Any) -> dict[str, Any]:
    """The generation settings in a model's config, with which transformers refuses to save it.

    They are what a `GenerationConfig` has and the config's own class does not declare: some classes declare suppressed
    tokens, for example. `GenerationConfig.from_model_config` finds only those that differ from its defaults.
    """
    declared = {field.name for field in dataclasses.fields(config)}
    names = GenerationConfig().to_dict().keys() - declared - {*_IN_BOTH}
    found = {name: getattr(config, name, None) for name in sorted(names) if not name.startswith("_")}
    return {name: value for name, value in found.items() if value is not None}
