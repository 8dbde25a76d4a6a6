"""JSON objects that hold many rows: texts below their label or intent, and texts that are the keys themselves.

{"tag": "greeting", "patterns": ["Hi", "Hello"], "responses": [...]}     an intent of a chatbot
{"intent": "greet", "examples": "- hi\\n- I am in [Rome](city)"}          an intent of Rasa
{"greet": {"examples": ["Hi", "Hello"]}, "bye": {...}}                   intents by name
{"positive": ["a fine film", ...], "negative": [...]}                    texts by label
{"a fine film": "positive", "a dull film": "negative", ...}              texts with their labels
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.files.splits import split_of
from burnish.data.files.tables import HEAD_ROWS, find_labels
from burnish.data.labels.missing import spelled
from burnish.data.rows.row import is_known_name
from burnish.system.shell import quoted

TEXT, LABEL = "text", "label"
_LABELS = ("tag", "intent", "label", "category", "class", "topic", "name")
"""Keys of the label that several texts have in common; the last is also what the key above an intent is called."""
_SURE, _OTHERS = (
    ("patterns", "examples", "utterances", "training_phrases", "phrases"),
    ("text", "texts", "questions", "queries", "sentences", "inputs"),
)
"""Keys of these texts; the latter only beside a `tag` or an `intent`, since a label may as well be that of all."""
TEXT_KEYS = tuple(f'"{key}"'.encode() for key in (*_SURE, *_OTHERS))
"""One of them is in the JSON text of every object with several texts."""
_INTENTS, _NAME = ("tag", "intent"), "name"
_ANSWERS = ("responses", "answers")
_MOST = 0.9
_EXAMPLE = re.compile(r"\s*-\s?(.*\S)\s*")
_ENTITY = re.compile(r"\[([^\[\]]+)\](?:\((\w[^()]*)\)|\{\s*\"entity\"\s*:\s*\"([^\"]+)\"[^{}]*\})")
"""An entity in an example of Rasa: `[Rome](city)`, also `(city:value)`, or `[Rome]{"entity": "city"}`."""
_FEWEST_KEYS, _MANY_KEYS = 20, 100
"""From so many keys on they may be texts, if most are of several words; and if most are of one."""
_FEWEST_TEXTS = 10


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which keys of an object hold the texts and what they have in common."""

    label: str
    texts: str
    answers: str = ""
    """The key of what may be answered to each; empty if there is none."""
    has_entities: bool = False
    """Whether entities are marked in the texts, as Rasa has them."""

    def remark(self, file: str, items: str = "") -> str:
        """How the rows were made, as a phrase after the name of the file.

        Args:
            file: the document.
            items: what selects each object in it, as jq has it; empty for JSON Lines.
        """
        each = f"{items} | " if items else ""
        said = f"has several `{self.texts}` for each `{self.label}`, their `{LABEL}`"
        if not self.answers:
            return said
        return (
            f"{said}; to learn the first of the `{self.answers}` as an answer instead: `jq -c '{each}"
            f".{self.answers}[0] as $a | .{self.texts}[] | {{prompt: ., completion: $a}}' {quoted(file)} > OUT.jsonl`"
        )

    def texts_of(self, value: Any) -> list[Any] | str:
        """The texts of an object, or why it has none."""
        if not isinstance(value, dict) or not isinstance(value.get(self.label), str):
            return f"there is no `{self.label}`"
        return texts_in(value.get(self.texts)) or f"`{value[self.label]}` has no `{self.texts}`"

    def rows(self, value: dict[str, Any]) -> list[dict[str, Any] | str]:
        """The row of each text of an object; what is wrong where there is none."""
        texts = self.texts_of(value)
        return [texts] if isinstance(texts, str) else [self.row(value, text) for text in texts]

    def row(self, value: Mapping[str, Any], text: Any) -> dict[str, Any] | str:
        """The row of one text of an object, with all else that the object has, or why it is none."""
        if not isinstance(text, str):
            return f"expected a text in `{self.texts}`, not `{str(text)[:40]}`"
        others = {key: one for key, one in value.items() if key not in (self.label, self.texts) and one not in _EMPTY}
        row = {TEXT: text, LABEL: value[self.label], **others}
        return {**row, **marked(text)} if self.has_entities else row


_EMPTY: tuple[Any, ...] = (None, "", [], {}, [""])


def texts_in(value: Any) -> list[Any]:
    """The texts of a list, or of a text with a dash before each as Rasa has it; empty for anything else."""
    if isinstance(value, list):
        return value
    lines = [line for line in value.split("\n") if line.strip()] if isinstance(value, str) else []
    found = [match[1] for line in lines if (match := _EXAMPLE.fullmatch(line))]
    return found if len(found) == len(lines) else []


def marked(text: str) -> dict[str, Any]:
    """A text of Rasa without its marks, and the entities that they name, by characters."""
    plain, entities, end = "", [], 0
    for match in _ENTITY.finditer(text):
        plain += text[end : match.start()]
        name = (match[2] or match[3]).partition(":")[0].strip()
        entities.append([len(plain), len(plain) + len(match[1]), name])
        plain, end = plain + match[1], match.end()
    return {TEXT: plain + text[end:], "entities": entities}


def grouping(sample: Sequence[Any]) -> Grouping | None:
    """The keys by which the items of a list hold several rows each; None if each item is one row.

    Labels that recur would be those of whole rows, so nearly all must differ.
    """
    items = [value for value in sample if isinstance(value, dict)]
    keys = list(dict.fromkeys(key for value in items for key in value))
    for label in (key for key in _LABELS if key in keys):
        for name in (key for key in (*_SURE, *(_OTHERS if label in _INTENTS else ())) if key in keys):
            held = [(value[label], texts) for value in items if (texts := _texts(value, label, name)) is not None]
            labels, texts = {one for one, _ in held}, [text for _, found in held for text in found]
            is_grouped = len(texts) > len(held) >= _MOST * sum(label in value for value in items)
            if not is_grouped or 2 * len(held) < len(sample) or len(labels) < _MOST * len(held):
                continue
            if any(key in value for value in items for key in {TEXT, LABEL} - {label, name}):
                continue
            answers = next((key for key in _ANSWERS if any(_are_texts(value.get(key)) for value in items)), "")
            is_rasa = all(isinstance(value.get(name), str) for value in items if label in value)
            return Grouping(label, name, answers, is_rasa and any(_ENTITY.search(text) for text in texts))
    return None


def grouping_of_members(value: Mapping[str, Any]) -> Grouping | None:
    """The same for an object whose keys are the names of intents, and whose values hold the texts of each."""
    inner = list(value.values())
    if len(inner) < 2 or not all(isinstance(one, dict) and not {*_LABELS} & one.keys() for one in inner):
        return None
    return grouping([{_NAME: key, **one} for key, one in value.items()])


def _texts(value: Mapping[str, Any], label: str, name: str) -> list[str] | None:
    found = texts_in(value.get(name))
    is_group = isinstance(value.get(label), str) and isinstance(value.get(name), (list, str))
    return found if is_group and all(isinstance(text, str) for text in found) else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_known(key: Any) -> bool:
    """Whether a key is a name of a column or a split, and no label or text."""
    return is_known_name(key) or split_of(str(key).strip()) is not None


def are_texts_by_label(value: Mapping[str, Any]) -> bool:
    """Whether the keys of an object are labels, and each value the list of its texts.

    Lists of one length are rather columns.
    """
    if len(value) < 2 or not all(map(_are_texts, value.values())) or any(map(_is_known, value)):
        return False
    texts = [text for found in value.values() for text in found]
    is_uneven = len({len(found) for found in value.values()}) > 1
    return is_uneven and len(texts) >= _FEWEST_TEXTS and 2 * sum(" " in text.strip() for text in texts) > len(texts)


def names_of_members(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """What keys and values of an object are, if each pair is a row: texts with few labels, or with an answer each.

    None for anything else: an object of few keys, or with the name of a column among them, is a row itself.
    """
    if len(value) < _FEWEST_KEYS or not all(isinstance(one, (str, int, float)) for one in value.values()):
        return None
    spaced, words = sum(" " in key.strip() for key in value), sum(key.isalpha() for key in value)
    are_texts = 2 * spaced > len(value) or (len(value) >= _MANY_KEYS and 2 * (spaced + words) > len(value))
    if not are_texts or any(map(_is_known, value)):
        return None
    pairs = [(key, spelled(one)) for key, one in value.items()][:HEAD_ROWS]
    if find_labels(pairs) == 1:
        return TEXT, LABEL
    answers = [one for one in value.values() if isinstance(one, str)]
    are_answers = len(answers) == len(value) and 2 * len(set(answers)) > len(answers)
    are_sentences = 2 * sum(" " in answer.strip() for answer in answers) > len(answers)
    return ("prompt", "completion") if are_answers and are_sentences else None
