"""The terms of fine-tuning in plain English: what each means, what to set in Burnish, and what can go wrong.

One glossary for the command line and the documentation. The text is in `assets/glossary/`.

python -m burnish.glossary            writes docs/glossary.md
python -m burnish.glossary other.md   writes another file
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

PAGE = Path("docs/glossary.md")
GROUPS = {
    "models": "Models",
    "text": "Text and tokens",
    "tasks": "Tasks",
    "methods": "Methods",
    "preferences": "Preferences",
    "training": "Training",
    "memory": "Numbers and memory",
    "evaluation": "Evaluating and saving",
}
"""The files of the glossary in order, each with its heading."""

_MIN_SIMILARITY = 0.7
_INTRODUCTION = """\
# Glossary

The terms of fine-tuning in plain English. `burnish explain TERM` shows the same in a terminal. `make docs` generates
this page from `burnish/assets/glossary/`; all options are on [the options page](options.md).
"""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the glossary."""

    name: str
    """As it is written in the field."""
    group: str
    """The heading it belongs to."""
    aliases: tuple[str, ...]
    """Other names, including those in other tools."""
    meaning: str
    setting: str
    """What to set in Burnish, and when to change it."""
    trouble: str
    """What can go wrong, and how to fix it."""
    options: tuple[str, ...]
    """Dotted names of options; those that this term explains best come first."""
    see: tuple[str, ...]
    """Names of related terms."""


class UnknownTerm(LookupError):
    """The glossary has no such term.

    Args:
        words: what was asked for.
        near: the name of the term that was probably meant, or None.
    """

    def __init__(self, words: str, near: str | None) -> None:
        super().__init__(words)
        self.words = words
        self.near = near


@functools.cache
def load_glossary() -> tuple[Term, ...]:
    """Every term, group by group."""
    import yaml

    # The C parser, if PyYAML was built with it, is many times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = resources.files("burnish") / "assets" / "glossary"
    terms = []
    for file, group in GROUPS.items():
        text = (folder / f"{file}.yaml").read_text(encoding="utf-8")
        terms += [_term(entry, group) for entry in yaml.load(text, loader)]
    return tuple(terms)


def find_term(words: str) -> Term:
    """The term of that name or alias, or the one that explains a dotted option best.

    Ignores case, spaces, hyphens, underscores and an `s` at the end.

    Args:
        words: `LoRA`, `learning-rate`, `lr`, `train.epochs`.

    Raises:
        UnknownTerm: with the nearest name.
    """
    known = _by_key()
    key = _key(words)
    term = known.get(key) or known.get(key.removesuffix("s"))
    if term is None:
        near = difflib.get_close_matches(key, known, n=1, cutoff=_MIN_SIMILARITY)
        raise UnknownTerm(" ".join(words.split()), known[near[0]].name if near else None)
    return term


def grouped(terms: Iterable[Term]) -> dict[str, list[Term]]:
    """Terms by heading, in the order of the glossary."""
    found: dict[str, list[Term]] = {}
    for term in terms:
        found.setdefault(term.group, []).append(term)
    return found


def glossary_page() -> str:
    """The page as Markdown: every term in alphabetical order."""
    terms = sorted(load_glossary(), key=lambda term: term.name.casefold())
    return "\n".join([_INTRODUCTION, *(_as_markdown(term) for term in terms)])


def main(arguments: Sequence[str]) -> None:
    """Writes the page."""
    path = Path(arguments[0]) if arguments else PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(glossary_page(), encoding="utf-8")


def _term(entry: Mapping[str, Any], group: str) -> Term:
    """Converts an entry of the file; lists become tuples."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Term(group=group, **values)


@functools.cache
def _by_key() -> dict[str, Term]:
    """Terms by every key that finds them: names take precedence over aliases, and aliases over options."""
    terms = load_glossary()
    known = {_key(term.name): term for term in terms}
    for term in terms:
        for alias in term.aliases:
            known.setdefault(_key(alias), term)
    places = [(place, option, term) for term in terms for place, option in enumerate(term.options)]
    for _, option, term in sorted(places, key=lambda found: found[0]):
        known.setdefault(_key(option), term)
    return known


def _key(words: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", words.casefold())


def _as_markdown(term: Term) -> str:
    parts = [f"## {term.name}\n"]
    if term.aliases:
        parts.append(f"Also: {', '.join(term.aliases)}.\n")
    parts += [f"{term.meaning}\n", f"**In Burnish.** {term.setting}\n", f"**What goes wrong.** {term.trouble}\n"]
    if term.options:
        parts.append(f"Options: {', '.join(map(_option_link, term.options))}.\n")
    parts.append(f"See also: {', '.join(f'[{name}](#{_anchor(name)})' for name in term.see)}.\n")
    return "\n".join(parts)


def _option_link(option: str) -> str:
    """A link to the table on the options page; top-level options are under `The run`."""
    section = option.rpartition(".")[0]
    return f"[`{option}`](options.md#{section or 'the-run'})"


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: lower case, hyphens for spaces, no other punctuation."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    main(sys.argv[1:])
