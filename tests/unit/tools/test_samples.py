"""The bundled samples are what their generator writes, and every row agrees with itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "burnish" / "assets" / "samples"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def test_the_generator_writes_the_bundled_files(tmp_path: Path) -> None:
    script = ROOT / "tools" / "samples" / "generate_samples.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in SAMPLES.iterdir() if path.name != "README.md"}


def test_a_chosen_answer_asks_back_and_a_rejected_one_is_another() -> None:
    pairs = rows("preferences.jsonl")
    assert all(row["chosen"].endswith("?") for row in pairs)
    assert all(row["chosen"] != row["rejected"] for row in pairs)
    curt = sum(not row["rejected"].endswith("?") for row in pairs)
    assert 0.9 < curt / len(pairs) < 1


def test_tickets_have_six_labels_about_as_often() -> None:
    counts = Counter(row["label"] for row in rows("tickets.jsonl"))
    assert len(counts) == 6
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_entities_are_in_iob2() -> None:
    text = (SAMPLES / "entities.conll").read_text(encoding="utf-8")
    sentences = [[line.split("\t") for line in part.splitlines()] for part in text.split("\n\n")]
    assert len({str(sentence) for sentence in sentences}) == len(sentences) == 700
    for sentence in sentences:
        before = "O"
        for _, tag in sentence:
            assert re.fullmatch("O|[BI]-(PERSON|PLACE|PRODUCT|DAY)", tag)
            assert tag[0] != "I" or before[1:] == tag[1:]
            before = tag


def test_an_answer_stands_where_the_note_says_and_nowhere_else() -> None:
    documents = json.loads((SAMPLES / "notes.json").read_text(encoding="utf-8"))["data"]
    asked = [
        (paragraph["context"], question)
        for document in documents
        for paragraph in document["paragraphs"]
        for question in paragraph["qas"]
    ]
    assert len({question["id"] for _, question in asked}) == len(asked) == 900
    assert 0.12 < sum(question["is_impossible"] for _, question in asked) / len(asked) < 0.18
    for context, question in asked:
        assert question["is_impossible"] == (question["answers"] == [])
        for answer in question["answers"]:
            assert context[answer["answer_start"] :].startswith(answer["text"])
            assert context.count(answer["text"]) == 1
