"""A small template language for the seedling corpus.

``[one|two|]`` picks one of the alternatives (they may be nested and may be empty), ``{name}`` fills in a slot,
``{Name}`` the same with a capital, ``{name+s}`` a form of it (s plural, 3 third person, ed past, en participle,
ing), ``{*bank}`` a random word of a bank, and ``{*bank:name}`` the same, remembered as the slot ``name``.
"""

from __future__ import annotations

import random
import re
from functools import cache

from world import grammar, lexicon

Node = str | tuple
_TOKEN = re.compile(r"[\[\]|]|\{[^{}]*\}|[^\[\]|{}]+")
_START = re.compile(r"(^\"?|[.!?] \"?|\n\"?|: \")([a-z])")
_SPACES = re.compile(r" {2,}")
_BEFORE = re.compile(r" +([,.!?;]|\n|$)")
_FORMS = {
    "s": grammar.plural,
    "3": grammar.third,
    "ed": grammar.past,
    "en": grammar.participle,
    "ing": grammar.gerund,
}


@cache
def _parse(template: str) -> tuple:
    tokens = _TOKEN.findall(template)
    if "".join(tokens) != template:
        raise ValueError(f"template has a stray brace: {template}")
    position = 0

    def sequence(inside: bool) -> list[list[Node]]:
        nonlocal position
        options: list[list[Node]] = [[]]
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token == "[":
                options[-1].append(("choice", sequence(True)))
            elif token == "]" and inside:
                return options
            elif token == "|" and inside:
                options.append([])
            elif token[0] == "{":
                options[-1].append(_slot(token[1:-1]))
            else:
                options[-1].append(token)
        if inside:
            raise ValueError(f"template has an open bracket: {template}")
        return options

    return tuple(sequence(False)[0])


def _slot(text: str) -> Node:
    body, _, form = text.partition("+")
    if body.startswith("*"):
        bank, _, name = body[1:].partition(":")
        return ("bank", bank, name, form)
    return ("slot", body[0].lower() + body[1:], body[0].isupper(), form)


def _write(rng: random.Random, nodes: list[Node] | tuple, slots: dict[str, str], out: list[str]) -> None:
    for node in nodes:
        if isinstance(node, str):
            out.append(node)
        elif node[0] == "choice":
            options = node[1]
            _write(rng, options[int(rng.random() * len(options))], slots, out)
        else:
            out.append(_value(rng, node, slots))


def _value(rng: random.Random, node: tuple, slots: dict[str, str]) -> str:
    if node[0] == "slot":
        _, name, upper, form = node
        text = slots[name]
    else:
        _, bank, name, form = node
        upper = False
        if name and name in slots:
            text = slots[name]
        else:
            text = expand(rng, lexicon.pick(rng, bank), slots)
            last = "_" + bank
            while text == slots.get(last):
                text = expand(rng, lexicon.pick(rng, bank), slots)
            slots[last] = text
            if name:
                slots[name] = text
    if form:
        text = _FORMS[form](text)
    return grammar.capital(text) if upper else text


def expand(rng: random.Random, template: str, slots: dict[str, str]) -> str:
    """The template with its choices made and slots filled, without any tidying."""
    if "{" not in template and "[" not in template:
        return template
    out: list[str] = []
    _write(rng, _parse(template), slots, out)
    return "".join(out)


def tidy(text: str) -> str:
    """Articles, spaces and sentence capitals put right."""
    text = _BEFORE.sub(r"\1", _SPACES.sub(" ", text)).strip()
    return _START.sub(lambda hit: hit[1] + hit[2].upper(), grammar.articles(text))


def write(rng: random.Random, template: str, slots: dict[str, str] | None = None) -> str:
    """A finished text from a template."""
    return tidy(expand(rng, template, {} if slots is None else slots))
