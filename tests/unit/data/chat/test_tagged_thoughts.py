"""Thoughts in tags that are not the template's: named as learned in words, with a command that makes them thoughts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.probe import message_keys
from tests.notes_said import notes_of_check_and_train
from tests.tiny_models import make_tokenizer
from tests.typed_commands import run_jq

THOUGHT, SAID = "One and one\n\nis two.", "It is 2."
AS_THINK = f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"
FORMS = {
    "thinking": f"<thinking>{THOUGHT}</thinking>\n{SAID}",
    "reflection": f"<thinking>\n{THOUGHT}\n</thinking>\n\n<output>\n{SAID}\n</output>",
    "reasoning": f"<reasoning>\n{THOUGHT}\n</reasoning>\n<answer>\n{SAID}\n</answer>\n",
    "capitals": f"<Thought>\n{THOUGHT}\n</Thought>\n<Output>\n{SAID}\n</Output>",
    "scratchpad": f"\n<scratchpad>{THOUGHT}</scratchpad>{SAID}",
    "Sky-T1": f"<|begin_of_thought|>\n\n{THOUGHT}\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n{SAID}\n\n"
    "<|end_of_solution|>",
    "brackets": f"[THINK]{THOUGHT}[/THINK]{SAID}",
    "squares": f"◁think▷{THOUGHT}◁/think▷{SAID}",
}
PLAIN = (
    SAID,
    AS_THINK,
    "Close it: `<thinking>` is a tag.",
    "<thinking> opens the tag, and `</thought>` closes none.",
    f"<thinking>{THOUGHT}</thinking>",
    "<answer>2</answer>",
)


def talk(answer: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": answer, **more}]


def notes(*answers: str, template: str = "") -> list[str]:
    """On conversations with these answers."""
    keys = Counter[str]()
    for text in answers:
        keys.update(message_keys(talk(text)))
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    return [note for note in ChatFormat(tokenizer).notes_on(keys) if "not the template's" in note]


@pytest.mark.parametrize("answer", FORMS.values(), ids=FORMS)
def test_the_command_writes_thoughts_as_the_template_takes_them(answer: str) -> None:
    (note,) = notes(answer, answer, SAID)
    assert note.startswith("2 answers begin with thoughts in tags that are not the template's (`")
    assert run_jq(note, {"messages": talk(answer)}) == [{"messages": talk(AS_THINK)}]
    assert run_jq(note, {"prompt": "1 + 1?", "completion": SAID}) == [{"prompt": "1 + 1?", "completion": SAID}]


@pytest.mark.parametrize("answer", PLAIN)
def test_tags_that_are_written_about_are_no_thoughts(answer: str) -> None:
    assert notes(answer) == []


def test_tags_that_the_template_writes_are_its_own() -> None:
    own = (
        "{% for message in messages %}{{ message.role + ': ' }}{% if message.reasoning_content %}"
        "{{ '<thinking>' + message.reasoning_content + '</thinking>' }}{% endif %}{{ message.content + '\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    assert notes(FORMS["thinking"], template=own) == []
    assert len(notes(FORMS["reasoning"], template=own)) == 1


def test_an_answer_that_is_not_learned_has_no_note() -> None:
    assert not any("thought in" in key for key in message_keys(talk(FORMS["thinking"], weight=0)))


def test_check_and_train_say_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{one} + 1?", "completion": f"<thinking>{one}...</thinking>{one + 1}"} for one in range(20)]
    for notes_said in notes_of_check_and_train(rows, make_tokenizer()):
        found = [text for text in notes_said if "not the template's" in text]
        assert len(found) == 1
        assert found[0].startswith("20 answers begin")
