"""The words of this repository: names, docstrings, messages, comments and pages hold none of `words.yaml`.

A room whose words have not been gone through is in `PENDING`; it leaves the list when the test says so.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PENDING: frozenset[str] = frozenset()
"""Rooms still to be swept; none."""
PENDING_NAMES: frozenset[str] = frozenset()
"""Public names that other rooms use, still to be renamed everywhere at once."""
OTHERS_NAMES = frozenset({"tell"})
"""Names in other libraries: Optuna's `Study.tell`."""
DATA = (
    "samples",
    "probe",
    "configs",
    "seedling/chat_template.jinja",
    "models/chatml.jinja",
    "tools/seedling/world",
)
"""Parts of paths whose text is data, not words of ours."""


@dataclass(frozen=True)
class Word:
    """A pattern that is not to be written, and what to write instead."""

    pattern: str
    instead: str
    allow: tuple[str, ...] = ()

    def finds(self, text: str) -> str | None:
        """The first match in a text, apart from where it is allowed."""
        rest = text
        for allowed in self.allow:
            rest = re.sub(allowed, " ", rest, flags=re.IGNORECASE)
        found = re.search(self.pattern, rest, re.IGNORECASE)
        return found[0] if found else None


class Text(NamedTuple):
    """A name, a string, a comment or a line of a page."""

    line: int
    text: str


def words() -> list[Word]:
    """The list of words."""
    entries = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return [Word(one["pattern"], one["instead"], tuple(one.get("allow", ()))) for one in entries]


def as_words(name: str) -> str:
    """`one_by_oneLine` as `one by one Line`."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name))


def texts_of_code(source: str) -> Iterator[Text]:
    """Names where they are defined or used, strings and comments of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "NAME" and token.string not in PENDING_NAMES | OTHERS_NAMES:
            yield Text(token.start[0], as_words(token.string))
        elif kind in ("STRING", "FSTRING_MIDDLE", "COMMENT"):
            for number, line in enumerate(_paragraphs(token.string)):
                yield Text(token.start[0] + number, line)


def texts_of_page(content: str) -> Iterator[Text]:
    """Paragraphs of a page, or of a YAML file."""
    for number, line in enumerate(_paragraphs(content), start=1):
        yield Text(number, line)


def _paragraphs(text: str) -> list[str]:
    """Each line, with the beginning of the next one, so that a phrase across two lines is found."""
    lines = [re.sub(r"[\"']|\\n", " ", line) for line in text.splitlines()]
    following = [" ".join(line.split()[:3]) for line in [*lines[1:], ""]]
    return [f"{line.rstrip()} {after}".strip() for line, after in zip(lines, following, strict=True)]


def rooms() -> dict[str, list[Path]]:
    """The files of every room: a folder of the package, a page, or another folder."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*ROOT.glob("burnish/**/*"), *ROOT.glob("bench/*"), *ROOT.glob("tools/**/*")]):
        name = path.relative_to(ROOT)
        is_data = any(part in name.as_posix() for part in DATA) or path.suffix not in (".py", ".md", ".yaml")
        if path.is_file() and not is_data and "__pycache__" not in name.parts:
            room = "/".join(name.parts[:2]) if name.parts[0] == "burnish" else name.parts[0]
            found.setdefault(room, []).append(path)
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        found[path.relative_to(ROOT).as_posix()] = [path]
    return found


def findings(paths: list[Path]) -> list[str]:
    """What is written that should not be, each with its place and what to write instead."""
    found: dict[str, None] = {}
    for path in paths:
        content = path.read_text(encoding="utf-8")
        for line, text in texts_of_code(content) if path.suffix == ".py" else texts_of_page(content):
            if not may_be_private(text):
                continue
            for word in words_of_ours:
                if match := word.finds(text):
                    found[f"{path.relative_to(ROOT)}:{line}: `{match}`: rather {word.instead}"] = None
    return list(found)


words_of_ours = words()
_ANY = re.compile("|".join(f"(?:{word.pattern})" for word in words_of_ours), re.IGNORECASE)


@cache
def may_be_private(text: str) -> bool:
    """Whether any word is found, allowed or not: of most texts this is all that one needs to know."""
    return _ANY.search(text) is not None


@pytest.mark.parametrize("room", rooms())
def test_no_private_words(room: str) -> None:
    found = findings(rooms()[room])
    if room in PENDING:
        assert found, f"{room} has no such words any more: take it out of PENDING"
    else:
        assert found == []


def test_what_is_pending_exists() -> None:
    assert set(rooms()) >= PENDING
    assert len(rooms()) > 30


@pytest.mark.parametrize(
    "text",
    [
        "def told(self): ...",
        "_LOOKED_AT = 1",
        "class JudgedRow: ...",
        '"""It is\ntold twice."""',
        "# anew",
        'say(f"it stands {x}")',
    ],
)
def test_private_words_are_found(text: str) -> None:
    assert any(word.finds(part.text) for part in texts_of_code(f"{text}\n") for word in words_of_ours)


@pytest.mark.parametrize("text", ["stand_ins = 1", "# looks like a path", "fingerprints = 2"])
def test_other_words_are_not(text: str) -> None:
    found = [word.finds(part.text) for part in texts_of_code(f"{text}\n") for word in words_of_ours]
    assert not any(found)
