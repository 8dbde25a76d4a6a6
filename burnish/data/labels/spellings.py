"""Labels that are spelled in several ways: which spellings mean the same class, and the reading that makes them one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.labels.missing import spelled
from burnish.data.rows.row import quoted
from burnish.system.shell import quoted as shell_quoted

_PAIRS = (
    ("true", "false"), ("1", "0"), ("yes", "no"), ("t", "f"), ("y", "n"), ("wahr", "falsch"), ("ja", "nein"),
    ("vrai", "faux"), ("oui", "non"), ("verdadero", "falso"), ("sí", "no"), ("si", "no"), ("sim", "não"),
    ("да", "нет"), ("是", "否"), ("はい", "いいえ"),
)  # fmt: skip
"""How true and false are written."""
_STYLES = (str.lower, str.capitalize, str.upper)
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class SpellingReading:
    """Reads labels under the name of the class that they mean."""

    column: str
    names: Mapping[str, str]
    """Label, as `spelled` writes it -> the label that it means."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with the labels renamed, each of a list by itself."""
        cell = values.get(self.column)
        if isinstance(cell, (list, tuple)):
            return {**values, self.column: [self._named(item) for item in cell]}
        return {**values, self.column: self._named(cell)}

    def _named(self, label: Any) -> Any:
        return self.names.get(spelled(label), label)


def meaning_of(label: str) -> str:
    """`true` or `false` for a label that says so in some notation, empty for any other."""
    plain = label.casefold()
    return next((("true", "false")[pair.index(plain)] for pair in _PAIRS if plain in pair), "")


def find_spellings(labels: Sequence[str]) -> dict[str, str]:
    """Which labels of a column mean true or false, if it has nothing else and several notations of one of them.

    All become the most common notation. Their counterparts are named too, since held-out rows may have them.

    Args:
        labels: of all rows, as `spelled` writes them.

    Returns:
        Label -> the label that it means, without those that stay as they are; empty if each is spelled in one way.
    """
    counts = Counter(labels)
    meanings = {label: meaning_of(label) for label in counts}
    if not all(meanings.values()) or len(set(meanings.values())) == len(meanings):
        return {}
    common = _notation(counts.most_common(1)[0][0])
    names: dict[str, str] = {}
    for label in counts:
        for one, name in zip(_notation(label), common, strict=True):
            if one != name:
                names.setdefault(one, name)
    return names


def _notation(label: str) -> tuple[str, str]:
    """How true and false are written where one of them is written so."""
    pair = next(pair for pair in _PAIRS if label.casefold() in pair)
    style = next((style for style in _STYLES if style(label) == label), str.lower)
    return style(pair[0]), style(pair[1])


def renaming(names: Mapping[str, str]) -> str:
    """The option that reads labels under other names, as it is to be typed."""
    value = json.dumps(dict(names), ensure_ascii=False)
    return f"`--set {shell_quoted(f'annotation.rename={value}')}`"


def describe_spellings(column: str, names: Mapping[str, str], labels: Sequence[str]) -> str:
    """What is said of spellings that are taken for one class."""
    found = [label for label in dict.fromkeys(labels) if label in names]
    listed = ", ".join(f"`{label}` as `{names[label]}`" for label in found[:_SHOWN])
    return (
        f"`{column}` spells true and false in several ways; they are learned as two classes: {listed}. "
        "To keep each spelling as a class of its own: `--set 'annotation.rename={}'`."
    )


def describe_unused(column: str, names: Mapping[str, str], labels: Sequence[str]) -> list[str]:
    """What is said of names that were asked for but occur in no row, besides ways to write true and false."""
    unused = [label for label in names if label not in labels and not meaning_of(label)]
    return [f"`{column}` has no label {quoted(unused, _SHOWN)}, which `annotation.rename` names."] if unused else []
