"""System messages in the middle of conversations, with templates that take them at the beginning only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.probe import message_keys
from burnish.data.chat.template import TemplateFeatures, adapt
from burnish.runs.events import Event, Note, Warned
from tests.tiny_models import make_network, make_tokenizer, save_model

CHATML = (
    "{% for message in messages %}CHECK"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
FIRST_ONLY = CHATML.replace(
    "CHECK",
    "{% if message['role'] == 'system' and not loop.first %}{{ raise_exception('System comes first.') }}{% endif %}",
)
DROPS = CHATML.replace("CHECK{{", "{% if message['role'] != 'system' or loop.first %}{{").replace(
    "}}{% endfor", "}}{% endif %}{% endfor"
)
PICKY = CHATML.replace("CHECK", "{% if message['content'] == 'no' %}{{ raise_exception('Not this.') }}{% endif %}")
MOVES = TemplateFeatures(moves_system=True)


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


FIRST, ASKED, SAID = turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "Hello")
LATE = turn("system", "Now be long.")
CASES = {
    "before a question": ([FIRST, ASKED, SAID, LATE, ASKED], [FIRST, ASKED, SAID, turn("user", "Now be long.\n\nHi")]),
    "before an answer": ([FIRST, ASKED, LATE, SAID], [FIRST, turn("user", "Hi\n\nNow be long."), SAID]),
    "between answers": ([ASKED, SAID, LATE, SAID], [ASKED, SAID, turn("user", "Now be long."), SAID]),
    "at the end": ([ASKED, LATE], [turn("user", "Hi\n\nNow be long.")]),
    "several": ([ASKED, SAID, LATE, LATE, ASKED], [ASKED, SAID, turn("user", "Now be long.\n\nNow be long.\n\nHi")]),
    "at the beginning": ([FIRST, LATE, ASKED, SAID], [FIRST, LATE, ASKED, SAID]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_later_system_text_becomes_part_of_a_user_turn(case: str) -> None:
    given, expected = CASES[case]
    assert adapt(given, None, MOVES)[0] == expected
    assert adapt(given, None, TemplateFeatures())[0] == given


def chat_format(template: str) -> ChatFormat:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return ChatFormat(tokenizer)


@pytest.mark.parametrize("template", [FIRST_ONLY, DROPS])
def test_a_template_that_refuses_or_drops_it_gets_it_in_a_user_turn(template: str) -> None:
    found = chat_format(template)
    assert "user\nNow be long.\n\nHi<|im_end|>" in found.prompt([FIRST, ASKED, SAID, LATE, ASKED])
    (note,) = found.notes_on(message_keys([FIRST, ASKED, SAID, LATE, LATE, ASKED]))
    assert "2 later ones become part of the user message after them" in note
    assert found.notes_on(message_keys([FIRST, ASKED, SAID])) == []


def test_a_template_that_takes_it_anywhere_writes_it_there() -> None:
    found = chat_format(CHATML.replace("CHECK", ""))
    assert "system\nNow be long.<|im_end|>" in found.prompt([FIRST, ASKED, SAID, LATE, ASKED])
    assert found.notes_on(message_keys([FIRST, ASKED, SAID, LATE, ASKED])) == []


def train(template: str, rows: list[list[dict[str, Any]]], folder: Path) -> list[Event]:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    save_model(folder / "model", make_network("llama"), tokenizer)
    Path("rows.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in rows), encoding="utf-8")
    events: list[Event] = []
    sets = {"evaluate.answers": 4, "evaluate.general": "none"}
    burnish.train("rows.jsonl", model="model", device="cpu", max_steps=1, set=sets, listeners=[events.append])
    return events


def test_all_answers_are_learned_and_a_note_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [[ASKED, SAID, LATE, turn("user", f"q {n}"), turn("assistant", f"a {n}")] for n in range(20)]
    events = train(FIRST_ONLY, rows, tmp_path)
    assert sum(isinstance(event, Note) and "20 later ones" in event.text for event in events) == 1
    assert not any(isinstance(event, Warned) and "not learned" in event.text for event in events)


def test_a_row_whose_last_answer_is_refused_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [[ASKED, SAID, turn("user", "no" if n % 2 else "yes"), turn("assistant", f"a {n}")] for n in range(24)]
    events = train(PICKY, rows, tmp_path)
    assert any(isinstance(event, Warned) and "12 answers are not learned" in event.text for event in events)
