"""The sample of task `span`: short notes in the layout of SQuAD 2.0, with questions, some of which a note leaves open.

Imported by generate_samples.py; the sentences are in notes.txt.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import facts

TABLE = Path(__file__).with_name("notes.txt")
LENGTHS = (2, 3, 3, 4, 4, 5)
QUESTIONS = 3
OPEN_SHARE = 0.15


def _answered(key: str, question: str, answer: str, context: str) -> dict[str, Any]:
    answers = [{"text": answer, "answer_start": context.index(answer)}]
    return {"id": key, "question": question, "answers": answers, "is_impossible": False}


def _open(key: str, question: str) -> dict[str, Any]:
    return {"id": key, "question": question, "answers": [], "is_impossible": True}


def paragraph(rng: random.Random, kind: str, number: int) -> dict[str, Any]:
    """A note of a kind and three questions about it; `number` makes the ids of the questions."""
    while True:
        note = facts.note(rng, facts.table(TABLE)[kind], rng.choice(LENGTHS))
        context = " ".join(note.sentences)
        num_open = sum(rng.random() < OPEN_SHARE for _ in range(QUESTIONS))
        if len(note.answered) >= QUESTIONS - num_open and len(note.open) >= num_open:
            break
    asked = [(question, answer) for question, answer in rng.sample(note.answered, QUESTIONS - num_open)]
    asked += [(question, "") for question in rng.sample(note.open, num_open)]
    rng.shuffle(asked)
    questions = [
        _answered(f"{kind}-{number}-{place}", question, answer, context)
        if answer
        else _open(f"{kind}-{number}-{place}", question)
        for place, (question, answer) in enumerate(asked, 1)
    ]
    return {"context": context, "qas": questions}


def document(seed: int, contexts: int) -> dict[str, Any]:
    """The whole file, with so many different contexts in all."""
    rng = random.Random(f"notes-{seed}")
    kinds = list(facts.table(TABLE))
    found: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in kinds}
    for index in range(contexts):
        kind = kinds[index % len(kinds)]
        number = len(found[kind]) + 1
        while len(found[kind]) < number:
            made = paragraph(rng, kind, number)
            found[kind].setdefault(made["context"], made)
    data = [{"title": kind.capitalize(), "paragraphs": list(made.values())} for kind, made in found.items()]
    return {"version": "v2.0", "data": data}
