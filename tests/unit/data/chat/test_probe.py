"""What is found out about a template, one property at a time."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from burnish.data.chat.probe import CALL_THOUGHT, THOUGHT, Closing, TemplateProbe, notes_on_keys, probe_template
from burnish.data.chat.template import BLOCKS, DROPPED, INSERTED, TEXT, ChatTemplate, TemplateFeatures
from burnish.data.tokens.tokens import Tokens
from tests.unit.data.tiny_tokenizers import byte_level

MARKS = ["<|user|>", "<|assistant|>", "<|system|>", "<|tool|>", "<|end|>", "<|call|>"]
CALLS = (
    "{%- for call in message.tool_calls or [] %}{{- call.function.name + call.function.arguments | tojson }}"
    "{% endfor %}"
)
NAME_LAST = (
    "{%- for call in message.tool_calls or [] %}{{- call.function.arguments | tojson + call.function.name }}"
    "{% endfor %}"
)
THINKS = "(message.reasoning_content or '') + message.content"
ALTERNATE = "{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('in turns') }}{% endif %}"
ONE_CALL = (
    "{%- if message.tool_calls and message.tool_calls | length > 1 %}{{- raise_exception('one call') }}{% endif %}"
)
ASKED = (
    "{%- if add_generation_prompt and loop.last and message.role == 'assistant' %}"
    "{{- raise_exception('nothing is asked') }}{% endif %}"
)
RESULT_AFTER_CALL = (
    "{%- if message.role == 'tool' and messages[loop.index0 - 1].role != 'assistant' %}"
    "{{- raise_exception('a result of nothing') }}{% endif %}"
)


def written(
    content: str = "message.content",
    *,
    start: str = "''",
    check: str = "",
    calls: str = "",
    end: str = "'<|end|>'",
    prompt: str = "'<|assistant|>'",
) -> str:
    """A template of these expressions, and of statements for `check` and `calls`."""
    return (
        f"{{{{- {start} }}}}{{%- for message in messages %}}{check}{{{{- '<|' + message.role + '|>' + {content} }}}}"
        f"{calls}{{{{- {end} }}}}{{%- endfor %}}{{%- if add_generation_prompt %}}{{{{- {prompt} }}}}{{% endif %}}"
    )


@cache
def tokenizer() -> Any:
    return byte_level(MARKS, eos="<|eos|>")


def template_of(source: str) -> ChatTemplate:
    tokenizer().chat_template = source
    return ChatTemplate(tokenizer())


def probed(source: str) -> TemplateProbe:
    return probe_template(template_of(source), Tokens(tokenizer()))


TOOLS = "(tools[0].function | tojson if tools else '')"
NO_TOOLS = "(raise_exception('no tools') if tools else '')"
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "no tools": (written(), {"system": True, "tools": False, "calls": False, "thoughts": TEXT}),
    "no system": (written(check=ALTERNATE), {"system": False, "calls": False, "joins_system": False}),
    "one system": (
        written(check="{% if message.role == 'system' and not loop.first %}{{ raise_exception('late') }}{% endif %}"),
        {"system": True, "joins_system": True},
    ),
    "several systems": (written(), {"system": True, "joins_system": False}),
    "a system text in prompts alone": (
        written("(message.content if message.role != 'system' or add_generation_prompt else '')"),
        {"system": True},
    ),
    "tools in prompts alone": (
        written(start="(tools[0].function | tojson if tools and add_generation_prompt else '')", check=ASKED),
        {"tools": True},
    ),
    "calls without tools": (written(start=NO_TOOLS, calls=CALLS), {"tools": False, "calls": True}),
    "calls with tools alone": (
        written(start=TOOLS, calls=f"{{%- if tools %}}{CALLS}{{% endif %}}"),
        {"tools": True, "calls": True},
    ),
    "thoughts, roles in turns": (written(THINKS, check=ALTERNATE), {"thoughts": "reasoning_content"}),
    "thoughts before single calls": (
        written(THINKS, calls=CALLS, check=ONE_CALL + ASKED),
        {"calls": True, "thoughts": "reasoning_content", "call_thoughts": "reasoning_content"},
    ),
    "a thought behind the words": (written("message.content + (message.reasoning_content or '')"), {"thoughts": TEXT}),
    "a thought twice": (written(f"(message.reasoning_content or '') + {THINKS}"), {"thoughts": TEXT}),
    "parts as Python": (written("(message.content ~ '')"), {"thoughts": TEXT}),
    "parts as JSON": (
        written("(message.content if message.content is string else message.content | tojson)"),
        {"thoughts": TEXT},
    ),
    "blocks": (
        written(
            "(message.content if message.content is string else message.content.blocks | map(attribute='text') | join)"
        ),
        {"thoughts": BLOCKS},
    ),
    "a thought beside an empty one": (
        written("('<think></think>' if message.role == 'assistant' else '') + message.content"),
        {"thoughts": INSERTED},
    ),
    "the words after a thought": (written("message.content.split('>')[-1]"), {"thoughts": DROPPED}),
}


@pytest.mark.parametrize("name", FEATURES)
def test_what_a_template_supports(name: str) -> None:
    source, expected = FEATURES[name]
    features = probed(source).features
    assert {key: getattr(features, key) for key in expected} == expected


def test_what_stands_before_an_answer_is_its_header() -> None:
    last = written("('final:' if loop.last and not add_generation_prompt else '') + message.content")
    assert probed(last).header == "final:"
    assert probed(last).notes[0] == "the template writes 'final:' before an answer: the model learns to write it too"
    assert probed(written("' ' + message.content")).header == "", "blanks alone are none"
    assert probed(written()).header == ""


def test_a_thought_that_the_prompt_opens_is_noted() -> None:
    note = "the template opens a thinking block before each answer: if the data has none, an empty one is trained on"
    opens = "'<|assistant|><think>\\n'"
    assert probed(written(check=ASKED, prompt=opens)).notes[0] == note
    assert note not in probed(written("('<think>\\n' if message.role == 'assistant' else '') + message.content")).notes


ENDS = {
    "EOS unless an answer is next": ("'<|end|>' + ('' if add_generation_prompt else eos_token)", "", "<|end|>", None),
    "EOS at the end": ("'<|end|>' + (eos_token if loop.last else '')", "", "<|end|>", None),
    "calls with a mark of their own": (
        "('<|call|>' if message.tool_calls else '<|end|>') + (eos_token if loop.last else '')",
        CALLS,
        "<|end|>",
        "<|call|>",
    ),
    "arguments before the name": (
        "('<|call|>' if message.tool_calls else '<|end|>')",
        NAME_LAST,
        "<|end|>",
        "<|call|>",
    ),
    "arguments before the name of the only call, the mark of the question": (
        "'<|end|>'",
        ONE_CALL + NAME_LAST,
        "<|end|>",
        "<|end|>",
    ),
    "marks between arguments": (
        "'<|end|>'",
        "{%- for call in message.tool_calls or [] %}{{- call.function.name }}"
        "{%- for value in call.function.arguments.values() %}{{- '<|call|>' + value + '<|call|>' }}{% endfor %}"
        "{%- endfor %}",
        "<|end|>",
        "<|end|>",
    ),
    "marks between calls": (
        "('' if message.tool_calls else '<|end|>')",
        CALLS.replace("tojson }}", "tojson + '<|call|>' }}"),
        "<|end|>",
        None,
    ),
    "no call without its result": (
        "'<|end|>'",
        "{%- if message.tool_calls and loop.last %}{{- raise_exception('unanswered') }}{% endif %}" + CALLS,
        "<|end|>",
        "<|end|>",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_end_of_an_answer_is_what_ends_it_everywhere(name: str) -> None:
    end, calls, mark, call_mark = ENDS[name]
    found = probed(written(calls=calls, end=end))
    plain, call = found.closings
    assert plain is not None
    assert plain.mark == mark
    assert (call and call.mark) == call_mark
    assert found.features.calls == bool(calls)
    assert tokenizer().convert_ids_to_tokens(found.end_ids) == list(dict.fromkeys(["<|eos|>", mark, call_mark or mark]))


def test_what_follows_the_end_of_the_last_answer_is_known() -> None:
    found = probed(written(end="'<|end|>' + (eos_token if loop.last else '')"))
    assert found.closings == (Closing("<|end|>", "<|end|><|eos|>"), None)
    twice = probed(written(end="'<|end|>!<|end|>'"))
    assert twice.closings == (Closing("<|end|>", "<|end|>!<|end|>"), None), "generation stops at the first"


def notes(source: str, *keys: str, **features: Any) -> list[str]:
    return notes_on_keys(template_of(source), TemplateFeatures(**features), keys)


LEFT_OUT = "the template has no place for thoughts{}: they are left out there"
IN_TAGS = "the template has no form of its own for thoughts: they are written in <think> tags"


def test_thoughts_are_noted_where_the_data_has_some_that_the_template_has_no_place_for() -> None:
    calls_alone, both = {"call_thoughts": DROPPED}, {"thoughts": DROPPED, "call_thoughts": DROPPED}
    assert notes(written(), CALL_THOUGHT, **calls_alone) == [LEFT_OUT.format(" before tool calls")]
    assert notes(written(), THOUGHT, **calls_alone) == []
    assert notes(written(), THOUGHT, **both) == [LEFT_OUT.format("")]
    assert notes(written(), CALL_THOUGHT, thoughts=TEXT) == []
    assert notes(written(), THOUGHT, CALL_THOUGHT, thoughts=TEXT, **calls_alone) == [
        LEFT_OUT.format(" before tool calls"),
        IN_TAGS,
    ]


def test_keys_are_noted_that_the_template_does_not_write_of_their_role() -> None:
    named = written("(message.name or '' if message.role == 'tool' else '') + message.content", calls=CALLS)
    assert notes(named, "tool.name") == []
    assert notes(named, "user.name", "tool.mood", "tool.name") == [
        "the template does not write these keys of the messages: `mood` (tool), `name` (user)"
    ]


def test_an_id_is_written_though_the_template_takes_results_after_their_calls_alone() -> None:
    ids = written("(message.tool_call_id or '') + message.content", check=RESULT_AFTER_CALL, calls=CALLS)
    assert notes(ids, "tool.tool_call_id") == []
    assert len(notes(written(check=RESULT_AFTER_CALL, calls=CALLS), "tool.tool_call_id")) == 1
