"""Keyword arguments of the chat template: defaults on the tokenizer, which every client then has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

import tests.unit.data.chat_templates as styles
import tests.unit.data.thinking_templates as thinking
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.own_template import set_kwargs, template_variables
from burnish.data.chat.template import ChatTemplate
from burnish.errors import RecipeError
from tests.snapshots import check_message

ASK = [{"role": "user", "content": "How?"}]
BLANKS = "\n  {% if true %}x{% endif %}\n{{ style }} {{ 'a' if careful else 'b' }}{{ numbers | tojson }}"


def asked(tokenizer: Any, **kwargs: Any) -> str:
    return tokenizer.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True, **kwargs)


def test_values_become_defaults_that_are_saved_and_that_a_client_may_still_override(tmp_path: Path) -> None:
    tokenizer = thinking.turns(thinking.CLOSED_THOUGHT)
    chat_format = ChatFormat(tokenizer, kwargs={"enable_thinking": True})
    assert chat_format.prompt(ASK).endswith("<|turn>assistant\n")
    tokenizer.save_pretrained(tmp_path)
    loaded: Any = AutoTokenizer.from_pretrained(tmp_path)
    assert asked(loaded) == chat_format.prompt(ASK)
    assert asked(loaded, enable_thinking=False).endswith("<|channel>thought\n<channel|>")
    again = ChatFormat(loaded, kwargs={"enable_thinking": False})
    assert again.prompt(ASK).endswith("<channel|>"), "new defaults replace those that were saved"
    set_kwargs(loaded, {})
    assert loaded.chat_template == thinking.CLOSED_THOUGHT


def test_every_json_value_reaches_the_template_and_nothing_else_changes() -> None:
    tokenizer = styles.chatml(BLANKS)
    values = {"style": 'a "quoted"\nline é', "careful": True, "numbers": [1, 2.5, None, {"a": False}]}
    expected = asked(tokenizer, **values)
    set_kwargs(tokenizer, values)
    assert asked(tokenizer) == expected
    assert tokenizer.chat_template.isascii(), "a template file is read by clients in any encoding"
    named = styles.chatml()
    named.chat_template = {"default": BLANKS, "tool_use": thinking.CLOSED_THOUGHT}
    set_kwargs(named, {"enable_thinking": True, "careful": False})
    assert set(named.chat_template) == {"default", "tool_use"}
    assert asked(named, style="s", numbers=1) == asked(styles.chatml(BLANKS), style="s", numbers=1, careful=False)


def test_a_value_that_the_template_never_reads_is_refused() -> None:
    for tokenizer in (thinking.turns(thinking.CLOSED_THOUGHT), styles.chatml(styles.NO_PROMPT), styles.plain()):
        with pytest.raises(RecipeError) as caught:
            ChatFormat(tokenizer, kwargs={"enable_thinkin": True})
        check_message(caught.value)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{% if not careful is defined %}{% set careful = true %}{% endif %}{{ careful }}", {"careful"}),
        ("{{ depth | default(3) }}{{ messages }}{{ tools }}{{ bos_token }}", {"depth"}),
        ("{% if x %}{% set own = 1 %}{% endif %}{{ own }}", {"x"}),
        ("{% if x %}{% set own = 1 %}{% endif %}{{ own | upper }}", {"x"}),
        ("{% if x %}{% set depth = 1 %}{% endif %}{{ depth | d(3) }}", {"x", "depth"}),
        ("{% if x %}{% set depth = 1 %}{% endif %}{{ depth if depth is undefined }}", {"x", "depth"}),
        ("{% if x %}{% set depth = 1 %}{% endif %}{{ depth if depth is string }}", {"x"}),
        ("{% macro m(inner) %}{{ inner }}{{ outer }}{% endmacro %}{{ m(1) }}", {"outer"}),
        ("{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% break %}{% endfor %}{{ y }}", {"y"}),
        ("{{ strftime_now('%d') }}{{ raise_exception('no') }}", set()),
        ("{% broken", set()),
    ],
)
def test_variables_are_those_that_come_from_outside(source: str, names: set[str]) -> None:
    assert template_variables(source) == names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ style }}", "enable_thinking"),
        ("{{ style }}{{ use_thinking }}", "use_thinking"),
        ("{{ a_style }}{{ with_reasons }}", "with_reasons"),
        ("{{ thinks }}{{ reasons }}{{ a_style }}", "reasons"),
    ],
)
def test_the_option_that_lets_a_template_think_is_named(source: str, name: str) -> None:
    assert ChatTemplate(styles.chatml(source)).thinking_options() == f"`template.kwargs.{name}=true`"
