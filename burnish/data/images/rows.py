"""Reads rows with images: conversations with `<image>` marks or content parts, and questions about images."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.data.chat.messages import NO_ROLES, read_message, read_role
from burnish.data.chat.rows import through_last_answer, with_system
from burnish.data.images.images import Picture, picture_in_data, picture_in_file, shortened
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.records import PictureRecord
from burnish.data.rows.row import RowError, as_text, parse_json_text, pick
from burnish.system.machine import expanded
from burnish.visible import parse_json

MARK = "<image>"
"""Marks the place of an image in a text."""
_PICTURE_PARTS = ("image", "image_url", "input_image")
_TEXT_PARTS = ("text", "input_text", "output_text")
_SOURCES = ("image", "path", "url", "image_url", "bytes", "file")


def picture_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> PictureRecord:
    """The record of a conversation about images.

    Paths are relative to the folder of the data file.

    Raises:
        RowError: the row is unusable, an image is missing or corrupt, or the number of marks differs from the number of
            images.
    """
    folder = Path(place.rpartition(":")[0]).parent
    if pattern.name == "picture-question":
        (images_name, images), (ask_name, ask), (answer_name, answer) = (pick(values, f) for f in pattern.required)
        sources = _sources(images, images_name)
        texts = as_text(ask, ask_name), as_text(answer, answer_name)
        messages = _question(*texts, len(sources), (ask_name, answer_name))
    else:
        name, turns = pick(values, pattern.required[0])
        sources = []
        if len(pattern.required) > 1:
            images_name, images = pick(values, pattern.required[1])
            sources = _sources(images, images_name)
        messages = read_turns(turns, name, pattern.roles)
    return make_record(with_system(values, messages), sources, folder, place)


def make_record(messages: tuple[dict[str, Any], ...], sources: list[Any], folder: Path, place: str) -> PictureRecord:
    """The record of messages with marks or parts, and the images they refer to.

    Args:
        messages: messages; `content` is a text with `<image>` marks, or a list of parts.
        sources: sources of the images in order, except for those given in parts.
        folder: base folder of relative paths.
        place: `file:line`.

    Raises:
        RowError: as for `picture_record`.
    """
    left, found, converted = list(sources), [], []
    for message in messages:
        parts = _split_marks(message["content"]) if isinstance(message["content"], str) else message["content"]
        converted.append({**message, "content": [_plain(part) for part in parts]})
        for part in parts:
            if part["type"] == "image":
                found.append(part.get("source") or (left.pop(0) if left else None))
    num_marks = sum(source is None for source in found) + len(sources) - len(left)
    if num_marks != len(sources):
        raise RowError(
            f"the text has {num_marks} `{MARK}` mark{'' if num_marks == 1 else 's'} for {len(sources)} "
            f"image{'' if len(sources) == 1 else 's'}"
        )
    for message in converted:
        if message["role"] != "user" and any(part["type"] == "image" for part in message["content"]):
            raise RowError(f"a message with the role {message['role']} has an image; only user messages can have one")
    pictures = tuple(_open(source, folder, f"{place}, image {at}") for at, source in enumerate(found, 1))
    return PictureRecord(tuple(converted), pictures, tuple(picture.sha256 for picture in pictures), place)


def read_turns(value: Any, column: str, roles: Mapping[str, str] = NO_ROLES) -> tuple[dict[str, Any], ...]:
    """Messages up to the last assistant message; `content` is a text or a list of parts.

    Raises:
        RowError: they are not messages, or there is no answer.
    """
    value = parse_json_text(value, column)
    if not isinstance(value, (list, tuple)):
        raise RowError(f"`{column}` is not a list of messages")
    texts, contents = [], []
    for number, message in enumerate(value, 1):
        content = message.get("content") if isinstance(message, dict) else None
        parts = _read_parts(content, number) if isinstance(content, list) else None
        if parts is not None:
            text_of_parts = "".join(part.get("text", "") for part in parts)
            # A message may be only an image; `read_message` only has to see that it is not empty.
            text = text_of_parts or (MARK if parts else "")
            texts.append(read_message({**message, "role": read_role(message, number, roles), "content": text}, number))
        else:
            texts.append(read_message(message, number, roles))
        if texts[-1]["role"] == "thought":
            raise RowError(f"message {number} is a thought, which the task `vision` does not support")
        if texts[-1].get("tool_calls"):
            raise RowError(f"message {number} calls a tool, which the task `vision` does not support")
        contents.append(parts if parts is not None else texts[-1]["content"])
    kept = through_last_answer(texts, column)
    return tuple({**message, "content": content} for message, content in zip(kept, contents, strict=False))


def read_prompt(text: str) -> tuple[str, list[Any]]:
    """(text, image sources) of a user's message: a plain text, or a JSON object with `prompt` and `images`."""
    try:
        asked = parse_json(text)
    except ValueError:
        return text, []
    if not isinstance(asked, dict) or not isinstance(asked.get("prompt"), str):
        return text, []
    shown = asked.get("images", asked.get("image", []))
    sources = list(shown) if isinstance(shown, list) else [shown]
    prompt = asked["prompt"]
    return (prompt if MARK in prompt else MARK * len(sources) + prompt), sources


def _question(
    ask: str | None, answer: str | None, num_pictures: int, names: tuple[str, str]
) -> tuple[dict[str, Any], ...]:
    for text, name, what in ((ask, names[0], "question"), (answer, names[1], "answer")):
        if text is None or not text.strip():
            raise RowError(f"the {what} is missing (column `{name}`)")
    question = ask or ""
    if MARK not in question:
        question = MARK * num_pictures + question
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def _split_marks(text: str) -> list[dict[str, Any]]:
    """Splits a text at its marks into parts. One newline next to a mark belongs to the mark."""
    pieces = text.split(MARK)
    if len(pieces) == 1:
        return [{"type": "text", "text": text}]
    parts: list[dict[str, Any]] = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append({"type": "image"})
            piece = piece.removeprefix("\n")
        if number < len(pieces) - 1:
            piece = piece.removesuffix("\n")
        if piece:
            parts.append({"type": "text", "text": piece})
    return parts


def _read_parts(content: list[Any], number: int) -> list[dict[str, Any]]:
    """Parts of a message: texts, and images with their `source`, if given."""
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            raise RowError(f"message {number} has a part that is not an object with a `type`")
        kind = part.get("type")
        if kind in _TEXT_PARTS:
            parts.append({"type": "text", "text": as_text(part.get("text"), f"message {number}") or ""})
        elif kind in _PICTURE_PARTS:
            source = next((part[key] for key in _SOURCES if part.get(key) is not None), None)
            parts.append({"type": "image"} if source is None else {"type": "image", "source": source})
        else:
            raise RowError(f"message {number} has a part of type `{kind}`; this task supports text and images")
    return parts


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "source"}


def _sources(value: Any, column: str) -> list[Any]:
    """The sources in a column of images: none, one, or a list of them."""
    if value is None or value != value:
        return []
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json_text(value, column)
    if isinstance(value, str) and not value.strip():
        return []
    sources = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(source is None for source in sources):
        raise RowError(f"`{column}` has an image that is null")
    return sources


def _open(source: Any, folder: Path, name: str) -> Picture:
    """Opens an image from its path, its bytes, or a mapping with either."""
    if isinstance(source, dict):
        inner = next((source[key] for key in ("bytes", "path", "url") if source.get(key) is not None), None)
        if inner is None:
            raise RowError("an image has neither `bytes` nor `path`")
        return _open(inner, folder, name)
    if isinstance(source, (bytes, bytearray)):
        return picture_in_data(bytes(source), name)
    if not isinstance(source, str) or not source.strip():
        raise RowError(f"the path of an image is {json.dumps(source, default=repr)[:80]}, which is not a path")
    if source.startswith(("http://", "https://")):
        raise RowError(
            f"the image `{shortened(source)}` is a web address; Burnish does not download images, so download it first"
        )
    if source.startswith("data:"):
        return picture_in_data(_from_data_url(source), name)
    return picture_in_file(folder / expanded(source.removeprefix("file://")))


def _from_data_url(url: str) -> bytes:
    header, comma, body = url.partition(",")
    if not comma or not header.endswith(";base64"):
        raise RowError("an image is given as a data URL that is not in base64")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("an image is given as a data URL with invalid base64") from error
