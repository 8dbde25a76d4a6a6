"""SQuAD's nested layout: articles hold paragraphs, and paragraphs hold a text with questions about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from burnish.data.json_text import Document

Found = tuple[int, "dict[str, Any] | str"]
"""Position of a question, with its row; or of what is no question, with what is wrong."""


def is_nested(value: Any) -> bool:
    """Whether a value is an article (it has `paragraphs`) or a paragraph (it has a text and `qas`)."""
    return _is_paragraph(value) or (
        isinstance(value, dict)
        and isinstance(value.get("paragraphs"), list)
        and any(_is_paragraph(paragraph) for paragraph in value["paragraphs"])
    )


def _is_paragraph(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("qas"), list)


def questions(document: Document, start: int, value: dict[str, Any]) -> Iterator[Found]:
    """The questions of the article or paragraph `value`, which begins at `start` of the document, in its order.

    A row holds what the question holds (`question`, `id`, `answers`, `is_impossible`, ...) and the paragraph's
    `context`.
    """
    if _is_paragraph(value):
        yield from _of_paragraph(document, start, value)
        return
    for at, paragraph, _ in document.items(_member(document, start, "paragraphs")):
        if _is_paragraph(paragraph):
            yield from _of_paragraph(document, at, paragraph)
        else:
            yield at, "a paragraph is expected, with `context` and a list `qas`"


def _of_paragraph(document: Document, start: int, paragraph: dict[str, Any]) -> Iterator[Found]:
    shared = {"context": paragraph["context"]} if "context" in paragraph else {}
    for at, question, _ in document.items(_member(document, start, "qas")):
        if isinstance(question, dict):
            yield at, {**shared, **question}
        else:
            yield at, "a question is expected, with `question` and `answers`"


def _member(document: Document, start: int, wanted: str) -> int:
    """Where a member of the object at `start` begins; the last of that name, which is the one that counts in JSON."""
    return [at for key, at, _, _ in document.members(start) if key == wanted][-1]
