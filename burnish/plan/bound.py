"""An upper bound on the memory of a step, by formula. If it is far below the free memory, no simulation is needed."""

from __future__ import annotations

from typing import Any

ROOMY = 0.25
"""Share of the free memory up to which a bound proves that a run fits. The other three quarters are a reserve for what
the formula does not cover. Above this share, the step is simulated."""
_PARAMETER_BYTES = 28
"""Maximum bytes per parameter: 4 in fp32, 2 for a copy in the compute dtype, 4 for the gradient, 8 for the moments of
AdamW, 4 for a clipped or scaled copy of the gradient, and 6 in reserve for adapters as large as a third of the base."""
_HIDDEN_VALUES, _INNER_VALUES, _SCORE_VALUES, _OUTPUT_VALUES = 40, 12, 8, 6
"""Values per token, stored or temporary. In a block: multiples of the hidden size, of the feed-forward width, and of
the context per head; after the blocks: multiples of the outputs. A plain fp16 block stores 34 bytes per hidden value,
with a feed-forward width of four times the hidden size, and 5 per score (arXiv 2205.05198, equation 2). These factors
allow for more than twice as many values, each of 4 bytes."""
_VALUE_BYTES = 4
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok")


def step_bound(config: Any, parameters: int, outputs: int, tokens: int, context: int, sequences: int = 2) -> int | None:
    """Upper bound on the tensor bytes of a training step of a plain transformer, for any method.

    Args:
        config: of the model.
        parameters: of the base model.
        outputs: number of logits per position: the size of the vocabulary, or the number of labels.
        tokens: of a micro-batch, padding included.
        context: longest row in tokens.
        sequences: maximum sequences per example, two for a pair of answers.

    Returns:
        None for models whose memory does not depend on hidden size, width, heads and depth alone: those with experts or
        image input, and those whose config lacks these numbers.
    """
    text = config.get_text_config()
    if hasattr(config, "vision_config") or any(getattr(text, name, None) for name in _EXPERTS):
        return None
    hidden, heads = _number(text, "hidden_size"), _number(text, "num_attention_heads")
    blocks = _number(text, "num_hidden_layers")
    if not hidden or not heads or not blocks:
        return None
    if config.is_encoder_decoder:
        blocks *= 3  # an encoder block, and a decoder block that attends twice, so it counts as two
    inner = max(4 * hidden, *(_number(text, name) for name in ("intermediate_size", "d_ff", "ffn_dim", "n_inner")))
    of_block = _HIDDEN_VALUES * hidden + _INNER_VALUES * inner + _SCORE_VALUES * heads * context
    values = blocks * of_block + _OUTPUT_VALUES * max(outputs, hidden)
    return _PARAMETER_BYTES * parameters + sequences * tokens * values * _VALUE_BYTES


def _number(config: Any, name: str) -> int:
    value = getattr(config, name, None)
    return value if isinstance(value, int) else 0
