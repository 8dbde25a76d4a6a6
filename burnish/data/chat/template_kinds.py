"""Classifies the values of a chat template's expressions, and the conditions that hold for all plain conversations.

In a plain conversation every message has only a role and a content, there are no tools, no content is blank, and none
contains any of the `needles` that the template searches for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes

PLAIN, CONTENT, MIXED, LIST, ITEM = "plain", "content", "mixed", "list", "item"
"""Independent of the contents; a content, perhaps trimmed; a text that includes contents; messages; a message."""
Kinds = frozenset[str]
P, C = frozenset({PLAIN}), frozenset({CONTENT})
_CONTENTS = frozenset({CONTENT, MIXED})
WRITABLE = frozenset({PLAIN, CONTENT, MIXED})
_KEYS = ("role", "content")
_METHODS = frozenset(dir(dict))
_TESTS_OF_TEXT = {
    "defined": True,
    "string": True,
    "iterable": True,
    "sequence": True,
    "undefined": False,
    "none": False,
    "mapping": False,
    "number": False,
    "boolean": False,
}
"""Results of Jinja's tests for any text."""
_OF_LIST = {"length": P, "count": P, "first": frozenset({ITEM}), "last": frozenset({ITEM}), "list": frozenset({LIST})}
_WITHOUT_TOOLS = ("tools", "documents")


class NoProofError(Exception):
    """The template may do more with contents than insert them."""


class ExpressionKinds:
    """Tracks the kinds of names, and derives those of expressions.

    Attributes:
        needles: texts that no content may contain for the result to hold.
        names: the kinds assigned to each name.
        sure: names that are assigned before the next expression; others may be undefined there.
    """

    def __init__(self) -> None:
        self.needles: set[str] = set()
        self.names: dict[str, Kinds] = {"messages": frozenset({LIST})}
        self.sure = {"messages"}

    def of(self, node: Any) -> Kinds:
        """The kinds of an expression's value. Raises NoProofError if more is done with contents than inserting them."""
        look = self._EXPRESSIONS.get(type(node))
        if look is not None:
            return look(self, node)
        for child in node.iter_child_nodes():  # arithmetic, lists and whatever else
            self._plain(child)
        return P

    def _plain(self, node: Any) -> Kinds:
        need(self.of(node) == P, "something is made of what is said")
        return P

    def _name(self, node: Any) -> Kinds:
        known = self.names.get(node.name, P)
        return known if node.name in self.sure else known | P

    def _part(self, node: Any) -> Kinds:
        """`of.key` or `of[key]`."""
        of = self.of(node.node)
        is_attribute = isinstance(node, nodes.Getattr)
        if is_attribute:
            key: Any = node.attr
            if isinstance(node.node, nodes.Name) and node.node.name == "loop" and key in ("previtem", "nextitem"):
                return frozenset({ITEM, PLAIN})
        else:
            self._plain(node.arg)
            key = node.arg.value if isinstance(node.arg, nodes.Const) else None
        need(not of & _CONTENTS, "a part of what is said")
        found = set[str](of & P)
        if LIST in of:
            need(not is_attribute and not isinstance(key, str), "a part of all messages")
            found.add(LIST if isinstance(getattr(node, "arg", None), nodes.Slice) else ITEM)
        if ITEM in of:
            need(isinstance(key, str) and key not in _METHODS, "a part of a message that is not named")
            found.add(CONTENT if key == "content" else PLAIN)
        return frozenset(found)

    def _joined(self, node: Any) -> Kinds:
        parts = node.nodes if isinstance(node, nodes.Concat) else (node.left, node.right)
        found = [self.of(part) for part in parts]
        need(all(kinds <= WRITABLE for kinds in found), "messages are joined")
        if not any(kinds & _CONTENTS for kinds in found):
            return P
        return frozenset({MIXED}) if any(kinds <= _CONTENTS for kinds in found) else frozenset({MIXED, PLAIN})

    def _filtered(self, node: Any) -> Kinds:
        need(node.node is not None, "a filter of a block")
        of = self.of(node.node)
        for argument in _arguments(node):
            self._plain(argument)
        if of == P:
            return P
        if of == {LIST} and node.name in _OF_LIST:
            return _OF_LIST[node.name]
        is_trim = node.name == "trim" and not _arguments(node)
        need(of <= {PLAIN, CONTENT} and (is_trim or node.name == "string"), f"the filter {node.name}")
        return of

    def _tested(self, node: Any) -> Kinds:
        of = self.of(node.node)
        for argument in _arguments(node):
            self._plain(argument)
        need(of == P or node.name in _TESTS_OF_TEXT, f"the test {node.name}")
        return P

    def _compared(self, node: Any) -> Kinds:
        if self._needle(node) is None and not self._is_against_nothing(node):
            self._plain(node.expr)
            for operand in node.ops:
                self._plain(operand.expr)
        return P

    def _needle(self, node: Any) -> str | None:
        """The text searched for in a content, by `"x" in content` or a method; None if there is no search."""
        if isinstance(node, nodes.Compare) and len(node.ops) == 1 and node.ops[0].op in ("in", "notin"):
            asked: Any = node.expr
            place: Any = node.ops[0].expr
        elif isinstance(node, nodes.Call) and getattr(node.node, "attr", "") in ("startswith", "endswith"):
            if len(_arguments(node)) != 1:
                return None
            asked, place = _arguments(node)[0], getattr(node.node, "node", None)
        else:
            return None
        if not isinstance(asked, nodes.Const) or not isinstance(asked.value, str) or not asked.value.strip():
            return None
        kinds = self.of(place)
        if not kinds & _CONTENTS:
            return None
        need(kinds <= {PLAIN, CONTENT}, "something is looked for in a text")
        self.needles.add(asked.value)
        return asked.value

    def _is_against_nothing(self, node: Any) -> bool:
        """Whether a content is compared with an empty string or none."""
        if len(node.ops) != 1 or node.ops[0].op not in ("eq", "ne"):
            return False
        other = node.ops[0].expr
        is_nothing = isinstance(other, nodes.Const) and (other.value is None or other.value == "")
        return is_nothing and self.of(node.expr) == C

    def _either(self, node: Any) -> Kinds:
        """`and` and `or` give one of their sides."""
        stops = isinstance(node, nodes.Or)
        left, truth = self.of(node.left), self.truth(node.left)
        if truth is stops:
            return left
        right = self.of(node.right)
        return right if truth is not None else left | right

    def _negated(self, node: Any) -> Kinds:
        self.of(node.node)
        return P

    def _chosen(self, node: Any) -> Kinds:
        self.of(node.test)
        truth = self.truth(node.test)
        kinds = Kinds()
        if truth is not False:
            kinds |= self.of(node.expr1)
        if truth is not True:
            kinds |= self.of(node.expr2) if node.expr2 else P
        return kinds

    def _called(self, node: Any) -> Kinds:
        if self._needle(node) is not None:
            return P
        if isinstance(node.node, nodes.Getattr):
            of = self.of(node.node.node)
            if of & _CONTENTS:
                is_strip = node.node.attr == "strip" and not _arguments(node)
                need(of <= {PLAIN, CONTENT} and is_strip, f"the method {node.node.attr}")
                return of
        self._plain(node.node)
        for argument in _arguments(node):
            self._plain(argument)
        return P

    def truth(self, node: Any) -> bool | None:
        """Whether a condition holds; None if that differs between conversations. Call it after `of`."""
        look = self._TRUTHS.get(type(node))
        if look is not None:
            return look(self, node)
        if self._is_missing(node):
            return False
        return True if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem)) and self._is_said(node) else None

    def _truth_of_value(self, node: Any) -> bool:
        return bool(node.value if isinstance(node, nodes.Const) else node.items)

    def _truth_of_not(self, node: Any) -> bool | None:
        truth = self.truth(node.node)
        return None if truth is None else not truth

    def _truth_of_either(self, node: Any) -> bool | None:
        stops = isinstance(node, nodes.Or)
        left = self.truth(node.left)
        if left is stops:
            return stops
        right = self.truth(node.right)
        return right if left is not None or right is stops else None

    def _truth_of_call(self, node: Any) -> bool | None:
        return False if self._needle(node) is not None and self.of(node.node.node) == C else None

    def _truth_of_name(self, node: Any) -> bool | None:
        if node.name in _WITHOUT_TOOLS and node.name not in self.names:
            return False
        return True if self._is_said(node) else None

    def _is_said(self, node: Any) -> bool:
        kinds = self.of(node)
        return bool(kinds) and kinds <= _CONTENTS

    def _truth_of_test(self, node: Any) -> bool | None:
        if self._is_missing(node.node):
            return {"defined": False, "undefined": True}.get(node.name)
        return _TESTS_OF_TEXT.get(node.name) if self._is_said(node.node) else None

    def _truth_of_compare(self, node: Any) -> bool | None:
        if self._needle(node) is not None:
            return node.ops[0].op == "notin" if self.of(node.ops[0].expr) == C else None
        return node.ops[0].op == "ne" if self._is_against_nothing(node) else None

    def _is_missing(self, node: Any) -> bool:
        """Whether it is a key that no message has."""
        if not isinstance(node, (nodes.Getattr, nodes.Getitem)) or self.of(node.node) != {ITEM}:
            return False
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        return isinstance(key, str) and key not in _KEYS

    _TRUTHS: dict[type, Callable[[ExpressionKinds, Any], bool | None]] = {
        nodes.Const: _truth_of_value,
        nodes.List: _truth_of_value,
        nodes.Not: _truth_of_not,
        nodes.And: _truth_of_either,
        nodes.Or: _truth_of_either,
        nodes.Test: _truth_of_test,
        nodes.Compare: _truth_of_compare,
        nodes.Call: _truth_of_call,
        nodes.Name: _truth_of_name,
    }
    _EXPRESSIONS: dict[type, Callable[[ExpressionKinds, Any], Kinds]] = {
        nodes.Name: _name,
        nodes.Getattr: _part,
        nodes.Getitem: _part,
        nodes.Concat: _joined,
        nodes.Add: _joined,
        nodes.Filter: _filtered,
        nodes.Test: _tested,
        nodes.Compare: _compared,
        nodes.And: _either,
        nodes.Or: _either,
        nodes.Not: _negated,
        nodes.CondExpr: _chosen,
        nodes.Call: _called,
    }


def _arguments(node: Any) -> list[Any]:
    more = [each for each in (node.dyn_args, node.dyn_kwargs) if each is not None]
    return [*node.args, *(pair.value for pair in node.kwargs), *more]


def need(holds: bool, otherwise: str) -> None:
    """Raises NoProofError if a condition does not hold."""
    if not holds:
        raise NoProofError(otherwise)
