"""White space around answers, such as the indentation of code, that a template removes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.probe import message_keys
from tests.notes_said import notes_of_check_and_train
from tests.tiny_models import make_tokenizer

CODE = "    return x\n"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TRIMS = CHATML.replace("message['content']", "(message['content'] | trim)")


def keys_of(*answers: str, **more: Any) -> Counter[str]:
    """Of conversations with these answers."""
    keys = Counter[str]()
    for text in answers:
        keys.update(message_keys([{"role": "user", "content": " q "}, {"role": "assistant", "content": text, **more}]))
    return keys


def notes(template: str, keys: Counter[str]) -> list[str]:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return ChatFormat(tokenizer).notes_on(keys)


def test_the_number_of_answers_that_lose_their_white_space_is_named() -> None:
    assert TRIMS != CHATML
    assert notes(TRIMS, keys_of(CODE, CODE, "  x", "y\n", "z")) == [
        "the template removes white space at the beginning of 3 answers and at the end of 3 answers, so it is "
        "not learned (code keeps its indentation inside a fenced block)"
    ]
    assert notes(TRIMS, keys_of("y\n", "z")) == [
        "the template removes white space at the end of 1 answer, so it is not learned"
    ]


def test_a_template_that_writes_it_has_no_note() -> None:
    assert notes(CHATML, keys_of(CODE, CODE, "\n\ty\n")) == []


def test_only_what_is_removed_counts() -> None:
    """Some templates remove line breaks and keep the indentation."""
    lines = CHATML.replace("message['content']", "message['content'].lstrip('\\n')")
    assert notes(lines, keys_of("    x", "\ty\n")) == []
    assert "at the beginning of 1 answer," in notes(lines, keys_of("    x", "\n    x"))[0]


@pytest.mark.parametrize("more", [{"weight": 0}, {"reasoning_content": "Hm."}])
def test_answers_that_are_not_learned_or_follow_a_thought_do_not_count(more: dict[str, Any]) -> None:
    assert not any("begins" in key for key in keys_of(CODE, **more))
    assert not any("begins" in key for key in keys_of(f"<think>Hm.</think>{CODE}"))


def test_check_and_train_name_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TRIMS
    rows = [{"prompt": f"q {number}", "completion": f"{CODE}{number}"} for number in range(20)]
    for notes_said in notes_of_check_and_train(rows, tokenizer):
        found = [text for text in notes_said if "white space" in text]
        assert len(found) == 1
        assert "at the beginning of 20 answers," in found[0]
