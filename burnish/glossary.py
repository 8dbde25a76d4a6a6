"""The words of fine-tuning in plain English: what a thing is, what to set it to here, and what goes wrong.

One glossary for the command line, the documentation and the studio. Its text lies in `assets/glossary/`.

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
    "judging": "Judging and keeping",
}
"""The files of the glossary, in the order in which they are told, each with its heading."""

_NEAR_ENOUGH = 0.7
_INTRODUCTION = """\
# Glossary

The words of fine-tuning in plain English. `burnish explain TERM` shows the same in a terminal. This page is made from
`burnish/assets/glossary/` by `make docs`; every option stands on [the options page](options.md).
"""


@dataclass(frozen=True, slots=True)
class Term:
    """One word of the glossary."""

    name: str
    """As the field writes it."""
    group: str
    """The heading it stands under."""
    aliases: tuple[str, ...]
    """What else it is called, also in other tools."""
    meaning: str
    setting: str
    """What to set it to in Burnish, and when to change it."""
    trouble: str
    """What goes wrong, and its cure."""
    options: tuple[str, ...]
    """Dotted names in the recipe, those first that this term is the first to explain."""
    see: tuple[str, ...]
    """Names of related terms."""


class UnknownTerm(LookupError):
    """The glossary has no such term.

    Args:
        words: what was asked for.
        near: the name of the term that was probably meant; None where nothing is near.
    """

    def __init__(self, words: str, near: str | None) -> None:
        super().__init__(words)
        self.words = words
        self.near = near


@functools.cache
def load_glossary() -> tuple[Term, ...]:
    """Every term, group by group."""
    import yaml

    # The parser in C, where PyYAML was built with it, reads the glossary many times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = resources.files("burnish") / "assets" / "glossary"
    terms = []
    for file, group in GROUPS.items():
        text = (folder / f"{file}.yaml").read_text(encoding="utf-8")
        terms += [_term(entry, group) for entry in yaml.load(text, loader)]
    return tuple(terms)


def find_term(words: str) -> Term:
    """The term of that name or alias, or the first to explain a dotted option.

    Case, blanks, hyphens and underscores do not matter, nor does an `s` at the end.

    Args:
        words: `LoRA`, `learning-rate`, `lr`, `train.epochs`.

    Raises:
        UnknownTerm: with the nearest name.
    """
    known = _by_key()
    key = _key(words)
    term = known.get(key) or known.get(key.removesuffix("s"))
    if term is None:
        near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR_ENOUGH)
        raise UnknownTerm(" ".join(words.split()), known[near[0]].name if near else None)
    return term


def grouped(terms: Iterable[Term]) -> dict[str, list[Term]]:
    """Terms by the heading they stand under, in the order of the glossary."""
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
    """An entry of the file; lists become tuples."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Term(group=group, **values)


@functools.cache
def _by_key() -> dict[str, Term]:
    """Terms by every name that leads to them: names win over aliases, and aliases over options."""
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
    """What is left of a name when case, blanks, hyphens and underscores do not matter."""
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
    """To the table on the options page that holds it; options of no section stand under `The run`."""
    section = option.rpartition(".")[0]
    return f"[`{option}`](options.md#{section or 'the-run'})"


def _anchor(heading: str) -> str:
    """As GitHub makes it of a heading: lower case, hyphens for blanks, no other signs."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    main(sys.argv[1:])
