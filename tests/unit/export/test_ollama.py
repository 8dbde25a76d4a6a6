"""The fixed texts around turns are found, proved on conversations, and written as a template of Go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from burnish.data.rows.row import RowError
from burnish.errors import InputError
from burnish.export.ollama import Messages, Turns, find_turns, modelfile, prove_turns

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
WITH_SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
LLAMA_2 = (
    "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'system' %}<<SYS>>{{ m.content }}<</SYS>>{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
REWRITING = "{% for m in messages %}[{{ m.role }}]{{ m.content if loop.last else m.content | upper }}{% endfor %}[>]"
CONVERSATION = [
    {"role": "system", "content": "Answer."},
    {"role": "user", "content": 'Two "quotes"'},
    {"role": "assistant", "content": "and"},
    {"role": "user", "content": "a\nline"},
]


def renders(template: str) -> Callable[[Messages], str]:
    made = jinja2.Environment(keep_trailing_newline=True).from_string(template)

    def render(messages: Messages) -> str:
        try:
            return made.render(messages=messages)
        except ZeroDivisionError as error:
            raise RowError("the template refuses it") from error

    return render


@pytest.mark.parametrize("template", [CHATML, WITH_SYSTEM, LLAMA_2], ids=["chatml", "own system", "llama 2"])
def test_turns_are_found_and_proved(template: str) -> None:
    render = renders(template)
    turns = prove_turns(find_turns(render), render, [CONVERSATION, CONVERSATION[1:], CONVERSATION[1:2]], "mine")
    assert turns.render(CONVERSATION) == render(CONVERSATION)
    assert turns.render(CONVERSATION[1:]) == render(CONVERSATION[1:])


def test_the_template_of_go() -> None:
    found, with_start = find_turns(renders(CHATML)), find_turns(renders("<s>" + CHATML))
    assert found is not None
    assert with_start is not None
    turns = (
        '{{ range .Messages }}{{ if eq .Role "system" }}{{ "<|im_start|>system\\n" }}{{ .Content }}'
        '{{ "<|im_end|>\\n" }}{{ else if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}'
        '{{ "<|im_end|>\\n<|im_start|>assistant\\n" }}'
        '{{ else if eq .Role "assistant" }}{{ .Content }}{{ "<|im_end|>\\n" }}{{ end }}{{ end }}'
    )
    assert found.to_go() == turns
    first = '{{ if and .Messages (eq (index .Messages 0).Role "system") }}{{ "<s>" }}{{ else }}{{ "<s>" }}{{ end }}'
    assert with_start.to_go() == first + turns


def test_a_template_that_rewrites_turns_is_refused() -> None:
    render = renders(REWRITING)
    with pytest.raises(InputError, match="cannot be written for Ollama"):
        prove_turns(find_turns(render), render, [CONVERSATION], "mine")


@pytest.mark.parametrize("template", ["{{ messages | length }}", "{{ 1 / 0 }}"], ids=["no content", "an error"])
def test_no_turns_are_found(template: str) -> None:
    assert find_turns(renders(template)) is None


def test_another_role_is_refused() -> None:
    render = renders(CHATML)
    with pytest.raises(InputError) as caught:
        prove_turns(find_turns(render), render, [[*CONVERSATION, {"role": "tool", "content": "3"}]], "mine")
    assert "role 'tool'" in caught.value.why


def test_a_difference_on_one_row_is_seen() -> None:
    render = renders(CHATML.replace("{{ m.content }}", "{{ m.content | trim }}"))
    turns = find_turns(render)
    assert prove_turns(turns, render, [CONVERSATION], "mine") == turns
    with pytest.raises(InputError) as caught:
        prove_turns(turns, render, [CONVERSATION, [{"role": "user", "content": " Hi "}]], "mine")
    assert "begins with ' Hi '" in caught.value.why


def test_the_modelfile() -> None:
    turns = Turns(
        "", "", dict.fromkeys(("system", "user", "assistant"), "<"), {"system": ">", "user": ">", "assistant": ">"}, ""
    )
    text = modelfile(Path("folder/mine-q8_0.gguf"), turns, ["<|im_end|>", 'a "b"'], 512)
    lines = text.splitlines()
    assert lines[0] == "FROM ./mine-q8_0.gguf"
    assert lines[1].startswith('TEMPLATE """{{ range .Messages }}')
    assert lines[2:] == [
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "a \\"b\\""',
        "PARAMETER num_ctx 512",
        "PARAMETER temperature 0",
    ]
    assert 'TEMPLATE """{{ .Prompt }}"""' in modelfile(Path("a.gguf"), None, [], 64)
