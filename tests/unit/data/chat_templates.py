"""Chat templates in the styles of the field, in our own words, each with a tokenizer that fits it."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from tests.unit.data.tiny_tokenizers import LINES, byte_level, sentence_piece

LLAMA3 = """
{{- bos_token }}
{%- if tools %}
    {{- "<|start_header_id|>system<|end_header_id|>\n\nTools:" }}
    {%- for tool in tools %}{{- " " + tool.function | tojson }}{% endfor %}
    {{- "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {{- "<|start_header_id|>" + ("ipython" if message.role == "tool" else message.role) + "<|end_header_id|>\n\n" }}
    {%- if message.tool_calls %}
        {%- if message.tool_calls | length > 1 %}{{- raise_exception("one call at a time") }}{% endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}<|eot_id|>' }}
    {%- else %}
        {{- message.content | trim + "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start_header_id|>assistant<|end_header_id|>\n\n" }}
{%- endif %}"""

MISTRAL = """
{{- bos_token }}
{%- for message in messages %}
    {%- if (message.role == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("roles must alternate: user, assistant, user, ...") }}
    {%- elif message.role == "user" %}
        {{- "[INST] " + message.content + " [/INST]" }}
    {%- elif message.role == "assistant" %}
        {{- " " + message.content + eos_token }}
    {%- else %}
        {{- raise_exception("only user and assistant") }}
    {%- endif %}
{%- endfor %}"""

PHI3 = """
{%- for message in messages %}
    {{- "<|" + message.role + "|>\n" + message.content + "<|end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>\n" }}{% else %}{{- eos_token }}{% endif %}"""

# Only the very last answer is ended, and with nothing but EOS.
ENDS_LAST = """
{%- for message in messages %}
    {{- message.role + ": " + message.content }}
    {%- if not loop.last %}{{- "\n" }}{% elif message.role == "assistant" %}{{- eos_token }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "\nassistant: " }}{% endif %}"""

STRIPS = """
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "assistant" and not loop.last and "</think>" in content %}
        {%- set content = content.split("</think>")[-1].lstrip("\n") %}
    {%- endif %}
    {{- "<|im_start|>" + message.role + "\n" + content + "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{% endif %}"""

# Prompts with an open thought, and takes every thought out of what it writes.
OPENS_THOUGHT = """
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" + message.content.split("</think>")[-1] | trim + "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n<think>\n" }}{% endif %}"""

NO_PROMPT = """
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n" }}
{%- endfor %}"""

HIDES_ANSWER = """
{%- for message in messages %}
    {{- message.role + ": " + ("(...)" if message.role == "assistant" else message.content) + eos_token }}
{%- endfor %}"""

NO_END = """
{%- for message in messages %}
    {{- "### " + message.role + "\n" + message.content + "\n\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "### assistant\n" }}{% endif %}"""

# Calls as JSON text only; results need nine-character ids, and a call each.
PICKY_CALLS = """
{%- set open = namespace(calls=0) %}
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" + message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- call.function.name + "(" + call.function.arguments + ")#" + call.id }}
    {%- endfor %}
    {%- if message.role == "tool" and message.tool_call_id | length != 9 %}{{- raise_exception("bad id") }}{% endif %}
    {%- set open.calls = open.calls + (message.tool_calls or []) | length - (1 if message.role == "tool" else 0) %}
    {%- if open.calls < 0 %}{{- raise_exception("a result without a call") }}{% endif %}
    {{- "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{% endif %}"""

CHATML_TOKENS = ["<|im_start|>", "<|im_end|>"]


def chatml(template: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer with ChatML's tokens, and `template` on it."""
    return _with(byte_level([*CHATML_TOKENS, "<|pad|>"], eos="<|im_end|>"), template)


def llama3(adds_bos: bool = True, pattern: str = LINES) -> PreTrainedTokenizerFast:
    """BOS from the template, and as a rule from the tokenizer too."""
    headers = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return _with(
        byte_level(headers, eos="<|end_of_text|>", bos="<|begin|>", adds_bos=adds_bos, pattern=pattern), LLAMA3
    )


def mistral() -> PreTrainedTokenizerFast:
    """SentencePiece; [INST] is plain text."""
    return _with(sentence_piece([], eos="</s>", bos="<s>"), MISTRAL)


def phi3(template: str = PHI3) -> PreTrainedTokenizerFast:
    """End-of-turn tokens, and EOS only at the very end."""
    roles = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    return _with(byte_level(roles, eos="<|endoftext|>"), template)


def plain(template: str | None = None) -> PreTrainedTokenizerFast:
    """A base model's, GPT-2-like: EOS and nothing else."""
    return _with(byte_level([], eos="<|endoftext|>", bos="<|endoftext|>"), template)


def _with(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    tokenizer.chat_template = template
    return tokenizer
