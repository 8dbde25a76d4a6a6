"""Commands with the names of a file: what a user types arrives as the name that it was."""

from __future__ import annotations

import shlex

import pytest
import yaml

from burnish.data.rows.typed import mapping, setting, settings

NAMES = ["label", "#1 String", "a: b", "it's", "1", "no", "null", '"x"', "[a", "a,b", "*", "- x", "Größe", "a  #b", "~"]


def typed(command: str) -> object:
    """The value that arrives: the shell takes its quotes off, and YAML its own."""
    option, word = shlex.split(command)
    assert option == "--set"
    return yaml.safe_load(word.partition("=")[2])


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_typed_is_that_name(name: str) -> None:
    assert typed(setting("data.columns.label", name)) == name
    assert typed(mapping(label=name)[1:-1]) == name
    listed = typed(settings("annotation.missing", [name, "plain", name]))
    assert isinstance(listed, list) and list(map(str, listed)) == [name, "plain", name]


def test_plain_names_have_no_quotes() -> None:
    assert mapping(text="My text", label="kind") == "`--set 'data.columns.text=My text' --set data.columns.label=kind`"
    assert settings("annotation.good", ["high"]) == "--set 'annotation.good=[high]'"
