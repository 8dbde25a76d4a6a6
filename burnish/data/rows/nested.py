"""Rows whose text lies within objects, as logs of APIs and exports of services have it, and the command for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.data.chat.messages import ends_with_answer
from burnish.data.rows.typed import jq_command
from burnish.data.tags.annotations import label_key, place_keys

Path = tuple[str | int, ...]

_DEEPEST = 6
_LEAST_WORDS = 3


def nested_advice(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a row with its text within objects is not read, and the command that writes it as columns; None for others.

    Args:
        first: values of the first row.
    """
    return _logged(first) or _of_passages(first) or _annotated(first) or _asked_and_answered(first)


def _logged(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """What to do with the request and the response of a model, or with a conversation inside an object."""
    talks = [(path, cell) for path, cell in _walk(first) if _are_messages(cell)]
    if not talks:
        return None
    path, turns = talks[0]
    answers = (found for found, cell in _walk(first) if _is_answer(cell) and found[: len(path)] != path)
    answer = next(answers, None)
    if ends_with_answer(turns) or answer is None:
        if len(path) == 1 or not ends_with_answer(turns):
            return None
        form = _jq(path)
    else:
        form = f"({_jq(path)} + [{_last_answer(answer)}])"
    tools = next((found for found, cell in _walk(first) if found[-1] == "tools" and isinstance(cell, list)), None)
    more = f", tools: {_jq(tools)}" if tools else ""
    where = f" and the answer in `{_shown(answer)}`" if answer is not None and not ends_with_answer(turns) else ""
    return (
        f"The conversation seems to be in `{_shown(path)}`{where}.",
        f"Write each as one row: {jq_command(f'{{messages: {form}{more}}}')}",
    )


_PASSAGES = (
    '(reduce (.%s[] | [%s, (.text | if type == "array" then join(" ") else . end)]) as [$at, $said] '
    '(""; . + (" " * ([$at - length, 0] | max)) + $said))'
)
"""For jq: the texts of passages as one text, in which each begins where it says."""


_PARTS = ("passages", "paragraphs", "sections", "sentences")
"""Columns with the parts of a document."""


def _of_passages(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """What to do with entities of which each has a list of places, in a text or its passages, as BigBio and BioC have
    them."""
    name = next((name for name, cell in first.items() if name in _PARTS and _begin_somewhere(cell)), None)
    text = next((key for key in ("text", "sentence", "document") if isinstance(first.get(key), str)), None)
    if name is not None:
        begin = ".offsets[0][0]" if "offsets" in first[name][0] else ".offset"
        joined, said = _PASSAGES % (name, begin), f"`{name}`"
        if any(isinstance(passage.get("annotations"), list) for passage in first[name]):
            spans = (
                f".{name}[].annotations[] | .infons.type as $type | .locations[] | [.offset, .offset + .length, $type]"
            )
            return _in_passages(f"{name}[].annotations", said, joined, spans)
    elif text is not None:
        joined, said = f".{text}", f"`{text}`"
    else:
        return None
    for key, cell in first.items():
        if key != name and isinstance(cell, list) and cell and all(map(_has_places, cell)):
            label = label_key(cell[0])
            if label is not None:
                return _in_passages(
                    key, said, joined, f".{key}[] | .{label} as $type | .offsets[] | [.[0], .[1], $type]"
                )
    return None


def _in_passages(entities: str, said: str, text: str, spans: str) -> tuple[str, str]:
    return (
        f"`{entities}` seems to have entities, each with a list of its places in {said}.",
        f"Write them as `text` and `entities`: {jq_command(f'{{text: {text}, entities: [{spans}]}}')}",
    )


def _begin_somewhere(cell: Any) -> bool:
    """Whether a cell is a list of passages that say where in a document they begin."""
    is_list = isinstance(cell, list) and bool(cell) and all(isinstance(one, Mapping) and "text" in one for one in cell)
    return is_list and all(isinstance(one.get("offset"), int) or _has_places(one) for one in cell)


def _has_places(one: Any) -> bool:
    places = one.get("offsets") if isinstance(one, Mapping) else None
    return (
        isinstance(places, list)
        and bool(places)
        and all(isinstance(place, list) and len(place) == 2 for place in places)
    )


def _annotated(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """What to do with entities whose text or places are inside other objects."""
    for path, cell in _walk(first):
        item = cell[0] if isinstance(cell, list) and cell else None
        if not isinstance(item, Mapping):
            continue
        places = next(((inner, found) for inner, found in _walk(item, (), with_self=True) if _has_place(found)), None)
        texts = [(where, text) for where, text in _walk(first) if isinstance(text, str) and where[: len(path)] != path]
        texts = [(where, text) for where, text in texts if len(text.split()) >= _LEAST_WORDS]
        if places is None or not texts:
            continue
        inner, place = places
        keys = place_keys(place)
        label = next(
            ((*where, key) for where, found in ((inner, place), ((), item)) if (key := label_key(found))), None
        )
        if keys is None or label is None:
            continue
        start, end = (_jq((*inner, key)) for key in keys)
        text = max(texts, key=lambda one: len(one[1]))[0]
        form = f"{{text: {_jq(text)}, entities: [{_jq(path)}[] | [{start}, {end}, {_jq(label)}]]}}"
        return (
            f"`{_shown(path)}` seems to have the entities of the text in `{_shown(text)}`, with their places.",
            f"Write them as `text` and `entities`: {jq_command(form)}",
        )
    return None


def _asked_and_answered(first: Mapping[str, Any]) -> tuple[str, str] | None:
    """What to do with a prompt and an answer of which each is the only text of an object."""
    found = []
    for known in (("inputs", "input", "request"), ("outputs", "output", "response")):
        name = next((name for name in known if isinstance(first.get(name), Mapping)), None)
        texts = [key for key, text in first[name].items() if isinstance(text, str) and text.strip()] if name else []
        if name is None or len(texts) != 1:
            return None
        found.append((name, texts[0]))
    asked, answer = found
    return (
        f"The prompt seems to be in `{_shown(asked)}`, and the answer in `{_shown(answer)}`.",
        f"Write them as columns: {jq_command(f'{{prompt: {_jq(asked)}, completion: {_jq(answer)}}}')}",
    )


def _walk(cell: Any, path: Path = (), *, with_self: bool = False) -> Iterator[tuple[Path, Any]]:
    """Everything inside of a value with its path, outer things first; of lists the first entries alone."""
    if with_self:
        yield path, cell
    entries: Sequence[tuple[str | int, Any]] = ()
    if isinstance(cell, Mapping):
        entries = [(str(key), value) for key, value in cell.items()]
    elif isinstance(cell, list):
        entries = list(enumerate(cell))[:3]
    if len(path) < _DEEPEST:
        for key, value in entries:
            yield (*path, key), value
        for key, value in entries:
            yield from _walk(value, (*path, key))


def _are_messages(cell: Any) -> bool:
    is_list = isinstance(cell, list) and bool(cell) and all(isinstance(one, Mapping) for one in cell)
    return is_list and all("role" in one and not {"content", "parts"}.isdisjoint(one) for one in cell)


def _is_answer(cell: Any) -> bool:
    return isinstance(cell, Mapping) and cell.get("role") in ("assistant", "model") and "content" in cell


def _has_place(cell: Any) -> bool:
    keys = place_keys(cell) if isinstance(cell, Mapping) else None
    return keys is not None and all(isinstance(cell[key], int) for key in keys)


def _last_answer(path: Path) -> str:
    """Where jq finds the answer; in a list of things that a model wrote it is the last message."""
    if isinstance(path[-1], int):
        return f'([{_jq(path[:-1])}[] | select(.role? == "assistant")] | last)'
    return _jq(path)


def _jq(path: Path) -> str:
    parts = [f"[{key}]" if isinstance(key, int) else f".{json.dumps(key, ensure_ascii=False)}" for key in path]
    return "".join(parts) or "."


def _shown(path: Path) -> str:
    """A path for people: `response.choices[0].message`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
