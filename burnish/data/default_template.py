"""The chat template for tokenizers that bring none: ChatML."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from burnish.data.tokens import Tokens, single_token_id
from burnish.errors import ModelError

TURN_END = "<|im_end|>"
_OWN_END = f'{{%- set answer_end = "{TURN_END}" %}}'
_EOS_END = "{%- set answer_end = eos_token %}"


def ensure_template(tokenizer: Any) -> bool:
    """Give `tokenizer` the ChatML template if it has none; True if it had none.

    The template is set on the tokenizer, so it is saved with it. Where `<|im_end|>` is one token of the vocabulary,
    every turn ends with it. Where it is not (GPT-2, say), the vocabulary is left as it is and answers end with
    the tokenizer's EOS instead: a marker of several plain tokens would teach no model to stop. Where the tokenizer
    begins texts with BOS by itself, so does the template, because whoever renders it later adds none.

    Raises:
        ModelError: the tokenizer has neither `<|im_end|>` nor an EOS, so that no answer could end.
    """
    if tokenizer.chat_template:
        return False
    template = chatml()
    if single_token_id(tokenizer, TURN_END) is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                "without one the model cannot learn where an answer ends",
                "set `eos_token` in the model's tokenizer_config.json",
            )
        template = template.replace(_OWN_END, _EOS_END)
    if tokenizer.bos_token_id is not None and Tokens(tokenizer).lead == [tokenizer.bos_token_id]:
        template = "{{- bos_token }}" + template
    tokenizer.chat_template = template
    return True


def chatml() -> str:
    """The text of the ChatML template whose turns all end with `<|im_end|>`."""
    return (files("burnish") / "models" / "chatml.jinja").read_text(encoding="utf-8")
