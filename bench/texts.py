"""The rows that programs are compared on: texts, and pairs of answers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

_MEAN, _SPREAD, _LEAST, _MOST = 3.65, 0.55, 8, 120
"""Of the logarithm of a short text's tokens, and the bounds of their number: sentences of 45 tokens on average."""
_MOST_TEXTS = 2000
_PARAGRAPH = 60
"""Characters that a line needs to count as one."""
PAIR_TEMPLATE = (
    "{% for turn in messages %}{{ turn.content }}{{ eos_token if turn.role == 'assistant' else '\\n' }}{% endfor %}"
)
"""A chat template with as little around the turns as can be, the same for every program."""


def read_texts(file: Path, count: int, tokenizer: Any) -> list[str]:
    """The first texts of a file.

    Args:
        file: JSON or JSONL of `text`, or of instructions, whose columns are joined; or a plain text, which is cut.
        count: at most so many.
        tokenizer: by whose tokens a plain text is cut.
    """
    if file.suffix == ".txt":
        return cut_text(file.read_text(encoding="utf-8"), tokenizer)[:count]
    return [_text_of(row) for row in read_rows(file)[:count]]


def cut_text(whole: str, tokenizer: Any) -> list[str]:
    """Short texts of log-normal length, taken one after the other from the paragraphs and then shuffled; always the
    same ones. Headings as in WikiText, and lines of a few words, are left out."""
    source = random.Random(0)
    texts = []
    for line in whole.splitlines():
        if len(line.strip()) <= _PARAGRAPH or line.startswith(" ="):
            continue
        ids = tokenizer(line.strip()).input_ids
        begin = 0
        while begin < len(ids):
            length = max(_LEAST, min(_MOST, int(source.lognormvariate(_MEAN, _SPREAD))))
            text = tokenizer.decode(ids[begin : begin + length]).strip()
            begin += length
            if len(tokenizer(text).input_ids) >= _LEAST:
                texts.append(text)
    source.shuffle(texts)
    return texts[:_MOST_TEXTS]


def read_rows(file: Path) -> list[dict[str, Any]]:
    """A list in JSON, or a row in each line."""
    whole = file.read_text(encoding="utf-8")
    return json.loads(whole) if file.suffix == ".json" else [json.loads(line) for line in whole.splitlines()]


def _text_of(row: dict[str, Any]) -> str:
    if "text" in row:
        return str(row["text"])
    return "\n".join(str(row[name]) for name in row if isinstance(row[name], str) and row[name])


def read_pairs(file: Path, count: int, context: int, tokenizer: Any) -> list[dict[str, Any]]:
    """The first pairs whose prompt and longer answer fit the context: no program has to cut, each in its own way.

    Args:
        file: JSON or JSONL of `prompt`, or of `conversations`, with `chosen` and `rejected`, each a text or a turn.
        count: at most so many.
        context: in tokens.
        tokenizer: has `PAIR_TEMPLATE`.

    Returns:
        `prompt`, `chosen` and `rejected`, each a list of messages.
    """
    pairs = []
    for row in read_rows(file):
        turns = row["prompt"] if "prompt" in row else row["conversations"]
        prompt = [_turn(turn, "user") for turn in ([turns] if isinstance(turns, str) else turns)]
        pair = {"prompt": prompt}
        for side in ("chosen", "rejected"):
            pair[side] = [_turn(row[side], "assistant")]
        if max(len(prompt_ids) + len(answer) for prompt_ids, answer in pair_ids(pair, tokenizer)) <= context:
            pairs.append(pair)
        if len(pairs) == count:
            break
    return pairs


_ROLES = {"human": "user", "gpt": "assistant"}


def _turn(turn: Any, role: str) -> dict[str, str]:
    if isinstance(turn, str):
        return {"role": role, "content": turn.strip()}
    role = turn.get("role") or turn["from"]
    return {"role": _ROLES.get(role, role), "content": (turn.get("content") or turn["value"]).strip()}


def pair_ids(pair: dict[str, Any], tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Token ids of prompt and answer, for the better and for the worse one."""
    prompt = tokenizer.apply_chat_template(pair["prompt"], return_dict=False)
    wholes = [
        tokenizer.apply_chat_template([*pair["prompt"], *pair[side]], return_dict=False)
        for side in ("chosen", "rejected")
    ]
    return [(prompt, whole[len(prompt) :]) for whole in wholes]


def pair_length(pair: dict[str, Any], tokenizer: Any) -> int:
    """Tokens of the prompt and of both answers, each once."""
    (prompt, chosen), (_, rejected) = pair_ids(pair, tokenizer)
    return len(prompt) + len(chosen) + len(rejected)
