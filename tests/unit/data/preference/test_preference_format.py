"""A pair's prompt is a true prefix of both its sequences, whatever the chat template."""

from __future__ import annotations

from typing import Any

import pytest

import tests.unit.data.chat_templates as styles
from burnish.data.chat.format import ChatFormat
from burnish.data.preference.format import PreferenceFormat
from burnish.data.rows.records import ChatRecord, PreferenceRecord
from burnish.data.rows.row import RowError

ASK = {"role": "user", "content": "How are you?"}
EARLIER = {"role": "assistant", "content": "Who asks?"}
AGAIN = {"role": "user", "content": "I do."}
FINE = {"role": "assistant", "content": "Fine."}
BAD = {"role": "assistant", "content": "  Go away, please."}
STYLES = {
    "chatml": styles.chatml,
    "llama3": styles.llama3,
    "llama3, BOS by the template only": lambda: styles.llama3(adds_bos=False),
    "mistral": styles.mistral,
    "phi3": styles.phi3,
    "ends-last": lambda: styles.phi3(styles.ENDS_LAST),
    "strips": lambda: styles.chatml(styles.STRIPS),
    "opens-thought": lambda: styles.chatml(styles.OPENS_THOUGHT),
    "no-prompt": lambda: styles.chatml(styles.NO_PROMPT),
    "no-end": lambda: styles.plain(styles.NO_END),
    "base": styles.plain,
}


@pytest.mark.parametrize("prompt", [(ASK,), (ASK, EARLIER, AGAIN)], ids=["one question", "dialogue"])
@pytest.mark.parametrize("style", STYLES)
def test_prompt_and_answer_are_what_a_conversation_trains(style: str, prompt: tuple[dict[str, Any], ...]) -> None:
    tokenizer = STYLES[style]()
    chat = ChatFormat(tokenizer)
    example, cut = PreferenceFormat(tokenizer).pair(PreferenceRecord(prompt, (FINE,), (BAD,), None, "a:1"), 4096)
    assert cut == 0
    assert example.prompt_ids == chat.prompt_ids(prompt)
    for answer, said in ((example.chosen, FINE), (example.rejected, BAD)):
        whole = chat.encode(ChatRecord((*prompt, said), None, "a:1"), 4096).examples[-1]
        assert example.prompt_ids + answer.ids == whole.input_ids
        assert answer.labels == whole.labels[len(example.prompt_ids) :] == answer.ids
        assert answer.ids[-1] in chat.stop_ids


def test_answers_of_several_turns_need_a_template_that_keeps_them() -> None:
    record = PreferenceRecord((ASK,), (EARLIER, AGAIN, FINE), (BAD,), None, "a:1")
    example, _ = PreferenceFormat(styles.chatml()).pair(record, 4096)
    assert example.chosen.num_learned < len(example.chosen.ids)
    with pytest.raises(RowError, match="does not keep earlier ones"):
        PreferenceFormat(styles.phi3(styles.ENDS_LAST)).pair(record, 4096)
