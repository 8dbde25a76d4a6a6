"""Chat templates in our own words that write a conversation otherwise than its prompt, as many in the field do."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from tests.unit.data.tiny_tokenizers import byte_level

# The system text stands in the last user turn, if that is the last message.
SYSTEM_LAST = """
{{- bos_token }}
{%- set rest = messages[1:] if messages[0].role == "system" else messages %}
{%- for message in rest %}
    {%- if message.role == "user" %}
        {{- "[INST]" }}
        {%- if loop.last and messages[0].role == "system" %}{{- messages[0].content + "\n\n" }}{% endif %}
        {{- message.content + "[/INST]" }}
    {%- else %}{{- message.content + eos_token }}{% endif %}
{%- endfor %}"""

# Thoughts in a channel of their own, dropped once a final answer follows; an answer ends otherwise at the end.
CHANNELS = """
{%- for message in messages %}
    {%- set final = namespace(follows=false) %}
    {%- for later in messages[loop.index:] %}
        {%- if later.role == "assistant" and not later.tool_calls %}{% set final.follows = true %}{% endif %}
    {%- endfor %}
    {%- if message.role != "assistant" %}
        {{- "<|start|>" + message.role + "<|message|>" + message.content + "<|end|>" }}
    {%- elif message.tool_calls %}
        {%- if message.thinking and not final.follows %}
            {{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- "<|start|>assistant to=" + call.name + "<|channel|>commentary<|message|>" + call.arguments | tojson }}
        {{- "<|call|>" }}
    {%- elif loop.last and not add_generation_prompt %}
        {%- if message.thinking %}
            {{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}
        {%- endif %}
        {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
    {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{% endif %}"""

# As above, in short marks, with results in quotes and without a prompt for the answer.
SHORT_MARKS = """
{%- for message in messages %}
    {%- set final = namespace(follows=false) %}
    {%- for later in messages[loop.index:] %}
        {%- if later.role == "assistant" and not later.tool_calls %}{% set final.follows = true %}{% endif %}
    {%- endfor %}
    {%- if message.role == "tool" %}{{- "<r>" + message.content | tojson }}
    {%- elif message.role == "user" %}{{- "<u>" + message.content }}
    {%- else %}
        {{- "<a>" }}
        {%- if message.reasoning_content and not final.follows %}
            {{- "<t>" + message.reasoning_content + "</t>" }}
        {%- endif %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- call.function.name + call.function.arguments | tojson }}
        {%- endfor %}
    {%- endif %}
    {{- "<e>" }}
{%- endfor %}"""

# A token before and behind each argument; nothing ends an answer but the next turn.
TAGGED_ARGUMENTS = """
{%- for tool in tools or [] %}{{- "<|system|>" + tool.function | tojson }}{% endfor %}
{%- for message in messages %}
    {{- "<|" + ("observation" if message.role == "tool" else message.role) + "|>" + message.content }}
    {%- for call in message.tool_calls or [] %}
        {{- "<tool_call>" + call.function.name }}
        {%- for key, value in call.function.arguments.items() %}
            {{- "<arg_key>" + key + "</arg_key><arg_value>" + value + "</arg_value>" }}
        {%- endfor %}
        {{- "</tool_call>" }}
    {%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>" }}{% endif %}"""

# An empty thought before every answer in words; thoughts only before calls.
EMPTY_THOUGHT = """
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" }}
    {%- if message.role == "assistant" %}
        {{- "<think>" + (message.reasoning_content or "" if message.tool_calls else "") + "</think>" }}
    {%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}{% endfor %}
    {{- "<|im_end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{% endif %}"""

# Unless it is to think, the prompt ends with an empty thought, which the conversation leaves out; thoughts only before
# calls.
CLOSED_THOUGHT = """
{%- for message in messages %}
    {{- "<|turn>" + message.role + "\n" }}
    {%- if message.tool_calls and message.reasoning %}
        {{- "<|channel>thought\n" + message.reasoning + "\n<channel|>" }}
    {%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}{% endfor %}
    {{- "<turn|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|turn>assistant\n" }}
    {%- if not enable_thinking | default(false) %}{{- "<|channel>thought\n<channel|>" }}{% endif %}
{%- endif %}"""

# The prompt opens a thought, the conversation writes it closed.
OPENED_OR_EMPTY = """
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" }}
    {%- if message.role == "assistant" %}
        {%- set thought = message.reasoning_content %}
        {{- "<think>\n" + thought + "\n</think>\n" if thought and loop.last else "<think></think>" }}
    {%- endif %}
    {{- message.content + "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n<think>\n" }}{% endif %}"""

# A thought as a part of the content.
THOUGHT_PARTS = """
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" }}
    {%- if message.content is string %}{{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {{- "[THINK]" + part.thinking + "[/THINK]" if part.type == "thinking" else part.text }}
        {%- endfor %}
    {%- endif %}
    {{- "<|im_end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{% endif %}"""

# The thoughts of one turn of the user, which the next one drops.
DROPS_EARLIER = """
{%- set last = namespace(user=0) %}
{%- for message in messages %}{% if message.role == "user" %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}
{%- for message in messages %}
    {{- "<|im_start|>" + message.role + "\n" }}
    {%- if message.reasoning_content and loop.index0 > last.user %}
        {{- "<think>" + message.reasoning_content + "</think>" }}
    {%- endif %}
    {{- message.content }}
    {%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}{% endfor %}
    {{- "<|im_end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{% endif %}"""

# A call, its result and what follows are one turn in the conversation, but every prompt opens a turn.
CONTINUES = """
{%- set turn = namespace(open=false) %}
{%- for message in messages %}
    {%- if message.role == "user" %}
        {%- if turn.open %}{{- "<turn|>" }}{% endif %}
        {%- set turn.open = false %}
        {{- "<|text>" + message.content + "<text|>" }}
    {%- else %}
        {%- if not turn.open %}{{- "<|turn>" }}{% endif %}
        {%- set turn.open = true %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- "<|channel>" + call.function.name + call.function.arguments | tojson + "<channel|>" }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|turn>" }}{% endif %}"""

# Either calls or answers in words, as CONDITION says, end with a token.
ENDS_SOME = """
{%- for message in messages %}
    {{- "<|" + message.role + "|>\n" + message.content }}
    {%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}{% endfor %}
    {{- "<|end|>\n" if message.role == "assistant" and CONDITION else "\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|assistant|>\n" }}{% endif %}"""

# The answer's closing tag, then the end of the turn, which EOS ends; the next prompt stands at the very end always.
CLOSES_TWICE = """
{%- for message in messages %}
    {{- "<|turn>" + message.role + "\n" }}
    {{- "<|text>" + message.content + "<text|>" if message.role == "assistant" else message.content }}
    {{- "<turn|>" }}
{%- endfor %}
{{- "<|turn>assistant\n" }}"""


def system_last() -> PreTrainedTokenizerFast:
    """The instruction marks are tokens."""
    return _with(byte_level(["[INST]", "[/INST]"], eos="</s>", bos="<s>"), SYSTEM_LAST)


def channels() -> PreTrainedTokenizerFast:
    """EOS ends the last answer alone."""
    marks = ["<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|call|>"]
    return _with(byte_level(marks, eos="<|return|>"), CHANNELS)


def short_marks() -> PreTrainedTokenizerFast:
    """Every mark is a token."""
    return _with(byte_level(["<u>", "<a>", "<r>", "<t>", "</t>"], eos="<e>"), SHORT_MARKS)


def tagged_arguments() -> PreTrainedTokenizerFast:
    """The marks of calls are tokens, too."""
    tags = ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
    turns = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
    return _with(byte_level([*turns, *tags], eos="<|endoftext|>"), TAGGED_ARGUMENTS)


def turns(template: str) -> PreTrainedTokenizerFast:
    """A token opens and another closes each turn and each channel."""
    marks = ["<|turn>", "<|channel>", "<channel|>", "<|text>", "<text|>"]
    return _with(byte_level(marks, eos="<turn|>"), template)


def _with(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    tokenizer.chat_template = template
    return tokenizer
