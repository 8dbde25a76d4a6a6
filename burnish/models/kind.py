"""What a config tells of a model: its kind, and how much it can read."""

from __future__ import annotations

from typing import Any

WORDS = {
    "causal": "goes on with a text (a decoder)",
    "masked": "reads a text from both sides (an encoder)",
    "seq2seq": "turns one text into another (an encoder with a decoder)",
    "image-text": "reads pictures and text",
}
"""Each kind in words."""


def model_kind(config: Any) -> str:
    """`causal`, `masked`, `seq2seq` or `image-text`.

    The architecture that the weights were saved from decides; where the config names none, the type of the model does.
    """
    from transformers.models.auto import modeling_auto as auto

    if config.model_type in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and hasattr(config, "vision_config"):
        return "image-text"
    if config.is_encoder_decoder:
        return "seq2seq"
    saved_from = (config.architectures or [""])[0]
    if saved_from.endswith(("ForCausalLM", "LMHeadModel")) or getattr(config, "is_decoder", False):
        return "causal"
    if config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "masked"
    return "causal"


def context_limit(config: Any) -> int | None:
    """Most tokens a model can read at once; None where its config does not say."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None
