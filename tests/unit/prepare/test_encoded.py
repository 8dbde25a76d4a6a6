"""Rows encoded together, and what is kept of them for the next run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from burnish.data.rows import packed
from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Packed
from burnish.data.rows.records import ChatRecord, PreferenceRecord, TextRecord
from burnish.data.tokens.file_column import FileColumn
from burnish.data.tokens.tokens import TokenExamples
from burnish.prepare import encode as encoded_cache
from burnish.prepare import encode as encoded_module
from burnish.prepare.encode import Encoded, encode_records, find_encoded, keep_encoded, rows_key, tokenizer_hash
from burnish.recipe.schema import Recipe
from burnish.tasks import make_task
from tests.tiny_models import make_tokenizer
from tests.unit.data import thinking_templates as thinking

CONTEXT = 24
ROWS = [
    ("Who?", "The keeper."),
    ("A question that is far too long " * 6, "The answer."),
    ("What?", "An answer that does not fit at all " * 8),
    ("Why?", "Because the lamp is out."),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    return tmp_path / "rows"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def chats() -> list[ChatRecord]:
    places = (f"rows.jsonl:{number + 1}" for number in range(len(ROWS)))
    return [
        ChatRecord((said("user", asked), said("assistant", answer)), None, place)
        for (asked, answer), place in zip(ROWS, places, strict=True)
    ]


RECORDS: dict[str, Any] = {
    "chat": chats,
    "text": lambda: [TextRecord(" ".join(row), True, f"rows.txt:{number + 1}") for number, row in enumerate(ROWS)],
    "preference": lambda: [
        PreferenceRecord((said("user", asked),), (said("assistant", answer),), (said("assistant", "No."),), None, "a:1")
        for asked, answer in ROWS
    ],
}


@pytest.mark.parametrize("name", RECORDS)
def test_many_rows_are_encoded_as_each_alone(name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    records = RECORDS[name]()
    task = make_task(name, tokenizer, Recipe())
    whole = encode_records(task.encoder, records, CONTEXT)
    assert whole.examples
    monkeypatch.setattr(encoded_module, "_BLOCK", 1)
    single = encode_records(task.encoder, records, CONTEXT)
    assert list(map(shown, whole.examples)) == list(map(shown, single.examples))
    assert (whole.owners, whole.rejected) == (single.owners, single.rejected)
    assert (whole.truncated_rows, whole.truncated_tokens) == (single.truncated_rows, single.truncated_tokens)
    assert whole.truncated_places == single.truncated_places


def test_the_first_rows_that_are_truncated_are_named_also_from_the_cache(tokenizer: Any) -> None:
    rows = [
        ChatRecord((said("user", "word " * words), said("assistant", "Fine.")), None, f"rows.jsonl:{number}")
        for number, words in enumerate((1, 90, 1, 90, 90, 90), start=1)
    ]
    found = encode_records(make_task("chat", tokenizer, Recipe()).encoder, rows, 64)
    assert (found.truncated_rows, found.truncated_places) == (4, ["rows.jsonl:2", "rows.jsonl:4", "rows.jsonl:5"])
    assert keep_encoded("truncated", found) == ""
    kept = find_encoded("truncated")
    assert kept is not None
    assert (kept.truncated_rows, kept.truncated_places) == (4, found.truncated_places)


def test_answers_that_are_refused_alone_are_kept_with_the_rows() -> None:
    thought = {**said("assistant", "Still."), "reasoning_content": "Hm."}
    row = ChatRecord(
        (said("user", "How?"), said("assistant", "Fine."), said("user", "Now?"), thought), None, "rows.jsonl:7"
    )
    task = make_task("chat", thinking.turns(thinking.CLOSED_THOUGHT), Recipe())
    found = encode_records(task.encoder, [row], 1000)
    assert (len(found.examples), found.rejected) == (1, [])
    (refused,) = found.refused
    assert refused.place == "rows.jsonl:7"
    assert keep_encoded("key", found) == ""
    kept = find_encoded("key")
    assert kept is not None
    assert kept.refused == [refused]


def shown(example: Any) -> Any:
    if hasattr(example, "labels"):
        return list(example.input_ids), list(example.labels), example.place
    return example


def test_one_row_at_a_time_is_what_encode_gives(tokenizer: Any) -> None:
    task = make_task("chat", tokenizer, Recipe())
    records = chats()
    encoded = encode_records(task.encoder, records, CONTEXT)
    assert [row.line for row in encoded.rejected] == [3]
    assert "longer than the context" in encoded.rejected[0].reason
    alone = [task.encoder.encode(records[index], CONTEXT) for index in (0, 1, 3)]
    assert [shown(example) for row in alone for example in row.examples] == [shown(one) for one in encoded.examples]
    assert (encoded.truncated_rows, encoded.truncated_tokens) == (3, sum(row.truncated_tokens for row in alone))


def encoded_chats(tokenizer: Any) -> Encoded:
    return encode_records(make_task("chat", tokenizer, Recipe()).encoder, chats(), CONTEXT)


def test_kept_rows_come_back_as_they_were_and_lie_in_the_file(tokenizer: Any, cache: Path) -> None:
    encoded = encoded_chats(tokenizer)
    assert find_encoded("key") is None
    assert keep_encoded("key", encoded) == ""
    back = find_encoded("key")
    assert back is not None
    assert list(map(shown, back.examples)) == list(map(shown, encoded.examples))
    assert replace(back, examples=[]) == replace(encoded, examples=[])
    assert isinstance(back.examples, TokenExamples)
    assert not back.examples.columns["ids"].flags.owndata


@pytest.mark.parametrize("name", RECORDS)
def test_rows_encoded_on_the_disk_are_those_in_memory(
    name: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "_FEW_ON_DISK", 1)
    monkeypatch.setattr(packed, "_BLOCK_ON_DISK", 2)
    disk, task = Disk(tmp_path / "disk", "as asked"), make_task(name, tokenizer, Recipe())
    plain, found = (encode_records(task.encoder, RECORDS[name](), CONTEXT, disk=place) for place in (None, disk))
    assert list(map(shown, found.examples)) == list(map(shown, plain.examples))
    assert replace(found, examples=[]) == replace(plain, examples=[])
    assert isinstance(found.examples, Packed if name == "preference" else TokenExamples)
    if name != "preference":
        assert isinstance(found.examples, TokenExamples) and isinstance(found.examples.columns["ids"], FileColumn)
        assert keep_encoded("key", found) == ""
        for in_memory in (True, False):
            kept = find_encoded("key", in_memory)
            assert kept is not None and isinstance(kept.examples, TokenExamples)
            assert isinstance(kept.examples.columns["ids"], FileColumn) != in_memory
            assert list(map(shown, kept.examples)) == list(map(shown, plain.examples))
            assert (kept.owners, kept.rejected, kept.num_trained) == (plain.owners, plain.rejected, plain.num_trained)


@pytest.mark.parametrize("damage", ["short", "other", "gone"])
def test_a_damaged_file_is_as_good_as_none(tokenizer: Any, cache: Path, damage: str) -> None:
    assert keep_encoded("key", encoded_chats(tokenizer)) == ""
    (file,) = (cache / "key").iterdir()
    content = file.read_bytes()
    if damage == "short":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "other":
        file.write_bytes(b"something else")
    else:
        file.unlink()
    assert find_encoded("key") is None


def test_rows_that_belong_to_no_example_are_not_used(tokenizer: Any) -> None:
    encoded = encoded_chats(tokenizer)
    assert keep_encoded("key", replace(encoded, owners=[0])) == ""
    assert find_encoded("key") is None


def test_examples_of_another_kind_are_not_kept(tokenizer: Any, cache: Path) -> None:
    task = make_task("preference", tokenizer, Recipe())
    assert keep_encoded("key", encode_records(task.encoder, RECORDS["preference"](), CONTEXT)) == ""
    assert not cache.exists()


def test_what_was_used_longest_ago_goes_first(tokenizer: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encoded_chats(tokenizer)
    for name, when in (("old", 100), ("used", 50), ("newer", 200)):
        keep_encoded(name, encoded)
        os.utime(cache / name, (when, when))
    assert find_encoded("used") is not None
    size = sum(file.stat().st_size for file in cache.rglob("*.safetensors")) // 3
    monkeypatch.setattr(encoded_cache, "MOST_BYTES", 3 * size)
    keep_encoded("last", encoded)
    assert {folder.name for folder in cache.iterdir()} == {"used", "newer", "last"}
    monkeypatch.setattr(encoded_cache, "MOST_BYTES", size - 1)
    keep_encoded("larger", encoded)
    assert {folder.name for folder in cache.iterdir()} == {"larger"}


def test_a_cache_that_cannot_be_written_is_reported(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "file"))
    assert "file" in keep_encoded("key", encoded_chats(tokenizer))
    assert find_encoded("key") is None


def test_the_key_follows_from_everything_that_tokens_follow_from(tokenizer: Any) -> None:
    records = chats()
    result = ["data", "chat", 24, {}, tokenizer_hash(tokenizer)]
    key = rows_key(result, records)
    assert key == rows_key(list(result), chats())
    assert key != rows_key([*result[:2], 25, *result[3:]], records)
    assert key != rows_key(result, [replace(records[0], place="rows.jsonl:9"), *records[1:]])
    text = RECORDS["text"]()
    assert rows_key(result, text) != rows_key(result, [replace(text[0], ends=False), *text[1:]])


def test_a_tokenizer_is_known_by_its_tokens_and_its_template() -> None:
    plain, other, taught = make_tokenizer(), make_tokenizer(), make_tokenizer()
    assert tokenizer_hash(plain) == tokenizer_hash(other)
    other.chat_template = "{{ messages }}"
    taught.add_tokens(["<new>"])
    assert len({tokenizer_hash(one) for one in (plain, other, taught)}) == 3
    assert tokenizer_hash(object()) is None


def test_arrays_are_as_small_as_they_can_be(tokenizer: Any) -> None:
    examples = encoded_chats(tokenizer).examples
    assert isinstance(examples, TokenExamples)
    columns = examples.columns
    assert columns["ids"].dtype == numpy.int32 and columns["trained"].dtype == numpy.bool_
