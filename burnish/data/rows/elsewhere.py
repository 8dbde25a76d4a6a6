"""Rows in the formats of other trainers that have to be written otherwise first: why, and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.data.rows.row import quoted
from burnish.data.rows.typed import jq_command
from burnish.errors import DataError
from burnish.system.shell import quoted as shell_quoted

_SEGMENT = {"text", "label"}
_JOINED = (
    "{messages: (reduce %s[] as $one ([]; (if $one.label then \"assistant\" else \"user\" end) as $role | "
    "if length > 0 and .[-1].role == $role then .[-1].content += $one.text "
    "else . + [{role: $role, content: $one.text}] end))}"
)  # fmt: skip
"""For jq: segments as messages, those of one role after each other as one."""


def advice_of_trainers(sample: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Why rows in another trainer's format are not read, and what to do; None for others.

    Args:
        sample: values of the first rows, at least one.
    """
    first = sample[0]
    if segments := next((name for name, cell in first.items() if are_segments(cell)), None):
        command = jq_command(_JOINED % jq_path(segments))
        return (
            f"`{segments}` has pieces of a text, of which those with `label: true` are learned, as axolotl's "
            "`input_output` has them. There no chat template is applied; here the model's own is written around each "
            "message.",
            f"Write what is learned as the assistant's messages and the rest as the user's: {command}. Marks of "
            "another template in the texts, such as `<s>` or `[INST]`, would be learned as text: remove them, too",
        )
    examples = next((name for name, cell in first.items() if are_examples(cell)), None)
    if examples is not None and "instruction" not in first:
        system = "system: $row.context, " if isinstance(first.get("context"), str) else ""
        rows = f"{{{system}prompt: {_text_of(first, examples, 'input')}, completion: "
        form = f". as $row | {jq_path(examples)}[] | {rows}{_text_of(first, examples, 'output')}}}"
        return (
            f"`{examples}` has several inputs, each with its output, as in the chat of PaLM: they are examples for a "
            "prompt, and no conversation is beside them.",
            f"To learn each of them, write a row for each: {jq_command(form)}",
        )
    return None


_OF_PALM = (
    '{messages: ((if (.context // "") == "" then [] else [{role: "system", content: .context}] end) + '
    '[.examples[]? | {role: "user", content: .input.content}, '
    '{role: "assistant", content: .output.content, train: false}] + [%s[] | {role: .author, content}])}'
)
"""For jq: what the system says, examples that are not learned, and the conversation, as messages."""


def ask_about_palm(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], talks: str, shape: str) -> None:
    """Raises DataError where a context or examples are beside conversations in PaLM's form, whose messages have an
    `author`.

    Args:
        rows: values by column.
        columns: those that are not used.
        talks: the column with the conversations.
        shape: name of the shape, for the command that reads the conversations alone.
    """
    said = [cell[0] for values in rows if isinstance(cell := values.get(talks), list) and cell]
    if not said or not all(isinstance(one, Mapping) and isinstance(one.get("author"), str) for one in said):
        return
    held = {
        "context": any(isinstance(values.get("context"), str) for values in rows),
        "examples": any(are_examples(values.get("examples")) for values in rows),
    }
    found = [name for name in columns if held.get(name)]
    if found:
        raise DataError(
            f"{quoted(found)} beside messages with an `author` seem{'s' if len(found) == 1 else ''} to be of PaLM's "
            "chat",
            "There `context` is what the system says, and `examples` are turns before the conversation. The prompts "
            "would lack them.",
            f"Write them into messages: {jq_command(_OF_PALM % jq_path(talks))}. To "
            f"leave them out: `--set data.shape={shape}`",
        )


ASKED = "What does it show?"
NO_CLASSES = (
    "Burnish does not classify images: a vision model learns to write text about an image, which may be the name of "
    "its class."
)
_PICTURE = re.compile(r"\S.*\.(?:png|jpe?g|gif|webp|bmp|tiff?)", re.IGNORECASE | re.DOTALL)
_CLASSES = ("label", "labels", "class", "class_name", "category", "target", "tag")


def advice_on_pictures(sample: Sequence[Mapping[str, Any]], file: str) -> tuple[str, str] | None:
    """Why pictures with their classes are not read, and what to do; None for other rows.

    Args:
        sample: values of the first rows, at least one.
        file: its name, for the command.
    """
    names = [str(name) for name in sample[0]]
    picture = next((name for name in names if all(_is_picture(values.get(name)) for values in sample)), None)
    others = [name for name in names if name != picture]
    label = next((name for name in others if name.lower() in _CLASSES), others[0] if len(others) == 1 else None)
    if picture is None or label is None:
        return None
    made = shell_quoted(str(Path(file).with_name("rows.jsonl")))
    row = f'{{image: {jq_path(picture)}, question: "{ASKED}", answer: ({jq_path(label)} | tostring)}}'
    script = (
        "import csv, json, sys; [print(json.dumps(dict("
        f'image=row[{json.dumps(picture)}], question="{ASKED}", answer=row[{json.dumps(label)}]))) '
        "for row in csv.DictReader(sys.stdin)]"
    )
    commands = {
        ".jsonl": f": `jq -c {shell_quoted(row)} {shell_quoted(file)} > {made}`",
        ".csv": f": `python -c {shell_quoted(script)} < {shell_quoted(file)} > {made}`",
    }
    numbers = all(str(values.get(label)).isdecimal() for values in sample)
    named = f". Write the names of the classes in place of the numbers in `{label}` first" if numbers else ""
    return (
        NO_CLASSES,
        f"To learn to write `{label}`, write rows with `image`, `question` and `answer`"
        f"{commands.get(Path(file).suffix.lower(), '')}{named}",
    )


def _is_picture(cell: Any) -> bool:
    if isinstance(cell, Mapping):
        return {"bytes", "path"} <= cell.keys()
    return isinstance(cell, str) and _PICTURE.fullmatch(cell) is not None


def are_examples(cell: Any) -> bool:
    """Whether a cell is a list of inputs with their outputs."""
    is_list = isinstance(cell, list) and bool(cell)
    return is_list and all(isinstance(one, Mapping) and {"input", "output"} <= one.keys() for one in cell)


def _text_of(first: Mapping[str, Any], examples: str, key: str) -> str:
    """Where jq finds the text of an input or an output, which may be a message."""
    return f".{key}.content" if isinstance(first[examples][0][key], Mapping) else f".{key}"


def jq_path(name: str) -> str:
    """The path of a column for jq, whatever characters its name has."""
    return f".{json.dumps(name, ensure_ascii=False)}"


def are_segments(cell: Any) -> bool:
    """Whether a cell is a list of texts that say each whether they are learned."""
    return (
        isinstance(cell, list)
        and bool(cell)
        and all(isinstance(one, Mapping) and set(one) == _SEGMENT for one in cell)
        and all(isinstance(one["text"], str) and isinstance(one["label"], bool) for one in cell)
    )
