"""Ways to damage bytes and values, as networks, editors, other programs and attackers do."""

from __future__ import annotations

import copy
import random
from typing import Any

_PIECES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x85", b"\r", b"\n", b"\r\n", b"\x1b[2J",
    b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[", b"]", b"\\", b"\\u0000", b"\\ud800", b"1e999", b"-1", b"NaN",
    b"null", b"true", b"9" * 400, b"{{", b"{%", b"../", b"~nouser/x", b"\xe2\x80\xae", b"\x1a", b"%s", b"<script>",
    b"[" * 600, b"&a ", b"*a", b"!!int ", b"0000-00-00",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(10**30), 0.5, float("nan"), float("inf"), 1e308, "", " ", "\n",
    "a", "\x00", "\u2028", "\x1b[31m", "é" * 50, "auto", "none", "../../etc/passwd", "/dev/zero", "~nouser/x",
    "{{ 1/0 }}", "x" * 5000, [], {}, [[]], [None], {"": None}, [1, "a", None], {"a": {"b": {}}}, "2024-13-99",
    "12:30:99", "1,5", "٣", "NaN",
)  # fmt: skip


def damage_bytes(content: bytes, source: random.Random) -> bytes:
    """Content with one to four damages."""
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        content = _damage(content, source)
    return content


def _damage(content: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(content) + 1)
    end = min(len(content), at + source.choice((1, 2, 8, 64, 512)))
    kind = source.randrange(9)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[end:]
    if kind == 2:
        return content[:at] + source.choice(_PIECES) + content[at:]
    if kind == 3:
        return content[:at] + bytes(source.randrange(256) for _ in range(end - at)) + content[end:]
    if kind == 4:
        return content[:at] + content[at:end] * source.choice((2, 3, 50)) + content[end:]
    if kind == 5:
        other = source.randrange(len(content) + 1)
        return content[:at] + content[other : other + (end - at)] + content[end:]
    if kind == 6:
        return content[at:] + content[:at]
    if kind == 7:
        return content.replace(content[at:end], source.choice(_PIECES)) if end - at < 9 and at < end else content[:at]
    flipped = bytearray(content)
    for _ in range(source.choice((1, 3, 20))):
        if flipped:
            flipped[source.randrange(len(flipped))] ^= 1 << source.randrange(8)
    return bytes(flipped)


def damage_value(value: Any, source: random.Random) -> Any:
    """A value like that of a JSON or YAML file, with one to three of its parts replaced, removed, renamed or moved."""
    value = copy.deepcopy(value)
    for _ in range(source.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return odd_value(source)
        holder, key = source.choice(places)
        kind = source.randrange(6)
        if kind <= 2:
            holder[key] = odd_value(source)
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            other, name = source.choice(places)
            holder[key] = copy.deepcopy(other[name])
        elif isinstance(holder, dict):
            holder[source.choice((f"{key}s", str(key).upper(), "", " ", "__class__", "x" * 300))] = holder.pop(key)
        else:
            holder.insert(0, odd_value(source))
    return value


def odd_value(source: random.Random) -> Any:
    """A value that no program expects."""
    if source.random() < 0.05:
        nested: Any = "deep"
        for _ in range(source.choice((20, 200))):
            nested = [nested] if source.random() < 0.5 else {"a": nested}
        return nested
    return copy.deepcopy(source.choice(_VALUES))


def _places(value: Any) -> Any:
    """Every part of a value, as the list or dict that holds it and its key."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(parts):
        yield value, key
        yield from _places(part)
