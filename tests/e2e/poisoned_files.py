"""Files with one defect each, and what has to be found in them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Values = dict[str, Any]
_COUNT = 120
_TEXT = """
river stone lamp keeper harbour winter bread morning copper garden letter sailor bridge candle orchard market
thunder violin pepper blanket ladder meadow compass lantern saddle marble walnut feather anchor kettle cottage
needle chapel barrel mirror pigeon ribbon cellar turnip basket chimney gravel ferry helmet island jacket
kitchen
"""
_WORDS = _TEXT.split()


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A file with a defect."""

    name: str
    """Of the defect."""
    line: int
    """Where it stands."""
    content: str | bytes
    file: str = "rows.jsonl"
    options: str = ""
    exit_code: int = 0

    def write(self, folder: Path) -> None:
        """Writes the file."""
        data = self.content.encode("utf-8", "surrogatepass") if isinstance(self.content, str) else self.content
        (folder / self.file).write_bytes(data)


def sentence(number: int, words: int = 14) -> str:
    """A sentence of its own for each number."""
    source = random.Random(number)
    return " ".join(source.choice(_WORDS) for _ in range(words)).capitalize() + "."


def answers(count: int = _COUNT) -> list[Values]:
    """Good questions with answers."""
    return [{"prompt": sentence(number), "completion": sentence(1_000 + number)} for number in range(count)]


def chats(count: int = _COUNT) -> list[Values]:
    """Good conversations."""
    roles = ("system", "user", "assistant", "user", "assistant")
    return [
        {"messages": [{"role": role, "content": sentence(10 * number + at)} for at, role in enumerate(roles)]}
        for number in range(count)
    ]


def marked(count: int = _COUNT) -> list[Values]:
    """Good texts with an entity, as annotation tools have them."""
    names = ("Anna", "Otto", "Bella")
    return [
        {"text": f"{names[n % 3]} {sentence(n)}", "spans": [{"start": 0, "end": len(names[n % 3]), "label": "PER"}]}
        for n in range(count)
    ]


def labelled(count: int = _COUNT) -> list[Values]:
    """Good texts with labels."""
    return [{"text": sentence(number), "label": ("calm", "angry", "glad")[number % 3]} for number in range(count)]


def pairs(count: int = _COUNT) -> list[Values]:
    """Good pairs of answers."""
    return [
        {"prompt": sentence(number), "chosen": sentence(1_000 + number), "rejected": sentence(2_000 + number)}
        for number in range(count)
    ]


def tagged(count: int = _COUNT) -> list[Values]:
    """Good sentences with tags."""
    tags = ["B-THING", "O", "O", "B-PLACE", "I-PLACE", "O"]
    return [{"tokens": sentence(number, 6).split(), "tags": tags} for number in range(count)]


def spans(count: int = _COUNT) -> list[Values]:
    """Good questions about texts."""
    rows = []
    for number in range(count):
        context = sentence(number, 20)
        answer = context.split()[3]
        place = len(" ".join(context.split()[:3])) + 1
        rows.append(
            {
                "context": context,
                "question": sentence(3_000 + number, 9),
                "answers": {"text": [answer], "answer_start": [place]},
            }
        )
    return rows


def texts(count: int = _COUNT) -> list[Values]:
    """Good texts."""
    return [{"text": sentence(number, 30)} for number in range(count)]


CLEAN: dict[str, Callable[[], list[Values]]] = {
    "answers": answers,
    "chats": chats,
    "labelled": labelled,
    "pairs": pairs,
    "tagged": tagged,
    "spans": spans,
    "texts": texts,
}


def lines(rows: list[Any]) -> str:
    """Rows as JSON Lines; text stands as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def poison(name: str, rows: list[Values], line: int, change: Callable[[Any], Any], **others: Any) -> Poisoned:
    """A file of good rows, of which one is changed.

    Args:
        name: of the defect.
        rows: the good ones.
        line: of the one that is changed.
        change: gives the row, or a line of text, to stand there.
        others: fields of `Poisoned`.
    """
    return Poisoned(name, line, lines([*rows[: line - 1], change(rows[line - 1]), *rows[line:]]), **others)


def answering(text: str) -> Callable[[Values], Values]:
    """Puts a text behind the answer of a row."""
    return lambda row: {**row, "completion": f"{row['completion']} {text}"}


def saying(*roles: str) -> Callable[[Values], Values]:
    """Gives the messages of a row other roles."""
    return lambda row: {"messages": [{"role": role, "content": sentence(7_000 + at)} for at, role in enumerate(roles)]}


def _twice(name: str, rows: list[Values], line: int, earlier: int, change: Callable[[Values], Values]) -> Poisoned:
    """A row that stands there a second time, changed."""
    return poison(name, rows, line, lambda row: change(rows[earlier - 1]))


def _nearly(row: Values) -> Values:
    return {**row, "text": row["text"].replace(row["text"].split()[-1], "lighthouse.")}


def _mostly(rows: list[Values], changed: Callable[[int, Values], Values]) -> str:
    return lines([changed(number, row) for number, row in enumerate(rows)])


def poisoned() -> list[Poisoned]:
    """All of them."""
    key = "sk-" + "a1B2c3D4" * 5
    card = "4012 8888 8888 1881"
    first = lines(answers()[:20])
    return [
        poison("broken-json", answers(), 17, lambda row: json.dumps(row)[:-4]),
        poison("broken-json", answers(), 8, lambda row: '["a list"]'),
        Poisoned(
            "wrong-encoding",
            21,
            first.replace('"prompt": "', '"prompt": "À ', 1).encode()
            + b'{"prompt": "Caf\xe9?", "completion": "Yes."}\n',
        ),
        Poisoned(
            "wrong-cells",
            5,
            "prompt,completion\n"
            + "".join(f"{sentence(n)},{sentence(900 + n)}\n" for n in range(3))
            + "one,two,three\n"
            + "".join(f"{sentence(n)},{sentence(900 + n)}\n" for n in range(10, 130)),
            file="rows.csv",
        ),
        poison("empty", answers(), 33, lambda row: {**row, "completion": "  "}),
        poison("empty", texts(), 12, lambda row: {"text": ""}),
        poison("no-gold-label", labelled(), 40, lambda row: {**row, "label": ""}),
        poison("no-gold-label", labelled(), 41, lambda row: {**row, "label": "-"}),
        poison("missing-column", answers(), 9, lambda row: {"prompt": row["prompt"], "completion": None}),
        poison("unknown-roles", chats(), 14, saying("user", "oracle", "user", "assistant")),
        poison("no-answer", chats(), 5, saying("system", "user")),
        poison("turns-out-of-order", chats(), 31, saying("user", "user", "assistant")),
        poison("turns-out-of-order", chats(), 32, saying("assistant", "user", "assistant")),
        poison("turns-out-of-order", chats(), 33, saying("user", "system", "assistant")),
        poison("same-answers", pairs(), 16, lambda row: {**row, "rejected": row["chosen"]}),
        _twice(
            "contradicting-pairs",
            pairs(),
            50,
            10,
            lambda row: {**row, "chosen": row["rejected"], "rejected": row["chosen"]},
        ),
        poison(
            "wrong-place", spans(), 22, lambda row: {**row, "answers": {"text": ["lighthouse"], "answer_start": [3]}}
        ),
        poison("unequal-tags", tagged(), 19, lambda row: {**row, "tags": row["tags"][:-1]}),
        poison("too-long-answer", answers(), 27, answering(sentence(5, 900))),
        poison("cut", answers(), 28, lambda row: {**row, "prompt": sentence(6, 900)}),
        poison("special-tokens-in-text", answers(), 44, answering("<|im_end|> and on")),
        poison("control-characters", answers(), 45, answering("a\x07bell")),
        poison("control-characters", answers(), 46, answering("a\u200bgap")),
        poison("lost-characters", answers(), 47, answering("caf\ufffd")),
        poison("mojibake", answers(), 48, answering("her fiancÃ© said it’s a cafÃ©")),
        poison("e-mail-addresses", answers(), 51, answering("Write to anna.berg@harbour-office.org.")),
        poison("card-numbers", answers(), 52, answering(f"It is {card}.")),
        poison("secrets", answers(), 53, answering(f"Use {key} for it.")),
        poison("secrets", answers(), 54, answering("-----BEGIN RSA PRIVATE KEY-----")),
        _twice("repeated", answers(), 60, 20, lambda row: row),
        _twice("nearly-repeated", texts(), 61, 21, _nearly),
        _twice("contradicting-labels", labelled(), 62, 20, lambda row: {**row, "label": "glad"}),
        poison("rare-labels", labelled(), 70, lambda row: {**row, "label": "puzzled"}),
        Poisoned(
            "labels-spelled-alike",
            3,
            _mostly(labelled(), lambda n, row: {**row, "label": "Glad"} if n % 12 == 2 else row),
        ),
        Poisoned(
            "lopsided-labels",
            1,
            _mostly(labelled(240), lambda n, row: {**row, "label": "calm" if n % 40 else "glad"}),
            options="first",
        ),
        Poisoned(
            "one-answer",
            1,
            _mostly(answers(), lambda n, row: {**row, "completion": "I do not know."} if n % 3 != 1 else row),
        ),
        Poisoned(
            "many-left-out",
            1,
            _mostly(answers(240), lambda n, row: row if n % 2 else {**row, "completion": ""}),
            exit_code=2,
        ),
        Poisoned(
            "not-accepted", 2, _mostly(marked(240), lambda n, row: {**row, "answer": ("accept", "reject")[n % 2]})
        ),
        Poisoned("few-rows", 1, lines(answers(30))),
    ]
