"""The hash of a record: what it says, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace

from burnish.data.rows.records import ChatRecord, TextRecord, content_hash

ASK = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}
TOOL = {"type": "function", "function": {"name": "f"}}


def test_place_and_order_of_keys_do_not_count():
    turned = {"content": "a", "role": "user"}
    assert content_hash(ChatRecord((ASK, ANSWER), None, "x:1")) == content_hash(
        ChatRecord((turned, ANSWER), None, "y:2")
    )


def test_the_end_of_a_text_does_not_count():
    assert content_hash(TextRecord("a", True, "x:1")) == content_hash(TextRecord("a", False, "x:2"))


def test_every_word_counts():
    records = [
        TextRecord("a", True, "x:1"),
        TextRecord("a ", True, "x:1"),
        ChatRecord((ASK, ANSWER), None, "x:1"),
        ChatRecord((ANSWER, ASK), None, "x:1"),
        ChatRecord((ASK, ANSWER), (TOOL,), "x:1"),
        ChatRecord((ASK, {**ANSWER, "content": "c"}), None, "x:1"),
    ]
    assert len({content_hash(record) for record in records}) == len(records)


def test_the_hash_never_changes():
    assert content_hash(TextRecord("caf\u00e9", True, "x:1")) == (
        "ee08d8beb64c89c25fe7f583c6b522f7f380aab939035ec58d3fcdba24c881e1"
    )
    assert content_hash(ChatRecord((ASK, ANSWER), (TOOL,), "x:1")) == (
        "30623e552f3822f4b6e33e3b3ecfd098da4ec86ed978c1c8aa1f47b25a55cd24"
    )


def test_a_hash_is_asked_for_once_and_never_carried_to_other_words() -> None:
    record = TextRecord("a", True, "x:1")
    first = content_hash(record)
    assert content_hash(record) is first
    assert content_hash(replace(record, text="b")) == content_hash(TextRecord("b", True, "x:1")) != first
    assert content_hash(pickle.loads(pickle.dumps(record))) == first
    assert record == TextRecord("a", True, "x:1")
