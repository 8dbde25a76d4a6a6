"""The template on a tokenizer: ChatML where there is none, and keyword arguments as defaults of its variables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from burnish.data.rows.row import did_you_mean, quoted
from burnish.data.tokens.tokens import Tokens, single_token_id
from burnish.errors import ModelError, RecipeError

TURN_END = "<|im_end|>"
_OWN_END = f'{{%- set answer_end = "{TURN_END}" %}}'
_EOS_END = "{%- set answer_end = eos_token %}"


def ensure_template(tokenizer: Any) -> bool:
    """Gives `tokenizer` the ChatML template if it has none; returns whether it had none.

    The template is set on the tokenizer, so it is saved with it. If `<|im_end|>` is one token of the vocabulary, every
    turn ends with it. Otherwise (GPT-2, for example) the vocabulary is not changed and answers end with the tokenizer's
    EOS instead: a model does not learn to stop from a marker of several ordinary tokens. If the tokenizer adds BOS to
    texts, the template writes it, because other tools that render the template do not add it.

    Raises:
        ModelError: the tokenizer has neither `<|im_end|>` nor EOS, so no token could end an answer.
    """
    if tokenizer.chat_template:
        return False
    template = chatml()
    if single_token_id(tokenizer, TURN_END) is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                "Without one the model cannot learn where an answer ends.",
                "Set `eos_token` in the model's tokenizer_config.json",
            )
        template = template.replace(_OWN_END, _EOS_END)
    if tokenizer.bos_token_id is not None and Tokens(tokenizer).lead == [tokenizer.bos_token_id]:
        template = "{{- bos_token }}" + template
    tokenizer.chat_template = template
    return True


def chatml() -> str:
    """The text of the ChatML template in which every turn ends with `<|im_end|>`."""
    return (files("burnish") / "models" / "chatml.jinja").read_text(encoding="utf-8")


_DEFAULT = "{{%- if {name} is not defined %}}{{%- set {name} = {value} %}}{{%- endif %}}\n"
# The line break after the block is removed by `trim_blocks`, with which transformers and the servers render templates,
# so that the template's own text begins on a line of its own as before.
_DEFAULTS = re.compile(r"\A(?:\{%- if \w+ is not defined %\}\{%- set \w+ = [^\n]* %\}\{%- endif %\}\n)+")
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_GIVEN = {"messages", "tools", "add_generation_prompt", "documents", "chat_template", "tokenize", "return_dict"}
"""Variables that are not for the user to set: every call gives its own."""
_FUNCTIONS = {"raise_exception", "strftime_now", "namespace", "range", "dict", "lipsum", "cycler", "joiner"}


def set_kwargs(tokenizer: Any, kwargs: Mapping[str, Any]) -> None:
    """Makes `kwargs` the defaults of the template's variables on `tokenizer`.

    They are written in front of the template, so they are saved with the tokenizer, and every client that renders the
    template has them without being given any. Defaults that were set before are replaced.

    Raises:
        RecipeError: the template never reads one of the variables; similar names are suggested.
    """
    template = tokenizer.chat_template
    if not template:
        if kwargs:
            raise _unread(sorted(kwargs)[0], [])
        return
    named = named_templates(tokenizer)
    bare = {name: _DEFAULTS.sub("", source) for name, source in named.items()}
    if not kwargs and bare == named:
        return
    read = set[str]().union(*map(template_variables, bare.values()))
    for name in kwargs:
        if name not in read:
            raise _unread(name, sorted(read))
    lines = "".join(_DEFAULT.format(name=name, value=_literal(kwargs[name])) for name in sorted(kwargs))
    with_defaults = {name: lines + source for name, source in bare.items()}
    tokenizer.chat_template = with_defaults if isinstance(template, dict) else with_defaults[""]


def named_templates(tokenizer: Any) -> dict[str, str]:
    """The chat templates of a tokenizer by name; the only one has no name."""
    template = tokenizer.chat_template
    return template if isinstance(template, dict) else {"": template} if template else {}


def parsed(source: str) -> nodes.Template:
    """The syntax tree of a template, which is not run.

    Raises:
        TemplateSyntaxError: it is not a template.
    """
    # `generation` is a block of transformers that marks the answers, and has no effect on the text
    return Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_GENERATION.sub("", source))


def template_variables(source: str) -> set[str]:
    """Names of the variables that a template reads and that a user may set."""
    try:
        tree = parsed(source)
    except TemplateSyntaxError:
        return set()
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    # What is assigned in a branch counts as undeclared too. Only where the template asks whether it is defined,
    # or has a default for it, can it come from outside.
    tests = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    tests += [used.node for used in tree.find_all(nodes.Filter) if used.name in ("default", "d")]
    asked = {node.name for node in tests if isinstance(node, nodes.Name)}
    read = {name for name in meta.find_undeclared_variables(tree) if name not in assigned or name in asked}
    return {name for name in read - _GIVEN - _FUNCTIONS if not name.endswith("_token")}


def _literal(value: Any) -> str:
    """A JSON value as Jinja writes it: null as none, text in ASCII."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(inner)}" for key, inner in value.items()) + "}"
    return "none" if value is None else json.dumps(value, ensure_ascii=True)


def _unread(name: str, read: list[str]) -> RecipeError:
    return RecipeError(
        f"`template.kwargs.{name}` has no effect: the chat template never reads `{name}`",
        f"It reads {quoted(read)}." if read else "It reads no variable that a user can set.",
        did_you_mean(name, read) or f"Remove `template.kwargs.{name}`",
    )
