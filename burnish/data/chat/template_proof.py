"""Proves that a chat template only inserts the contents of messages.

Then the text of a plain conversation (see `template_kinds.py`) consists of parts that depend only on its roles, with
the contents between them, and does not have to be rendered each time.

The kinds of names are followed through assignments and only grow, until nothing changes. Anything not known to be
harmless ends the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jinja2 import nodes

from burnish.data.chat.template_kinds import ITEM, LIST, PLAIN, WRITABLE, ExpressionKinds, Kinds, NoProofError, P, need

__all__ = ["NoProofError", "TemplateProof"]


class TemplateProof:
    """The proof for one template.

    Args:
        template: the parsed template, of an environment without autoescaping.

    Attributes:
        needles: texts that no content may contain for the proof to apply.

    Raises:
        NoProofError: the template cannot be proved to only insert contents.
    """

    def __init__(self, template: nodes.Template) -> None:
        self._values = ExpressionKinds()
        self.needles = self._values.needles
        self._has_grown = True
        while self._has_grown:
            self._has_grown = False
            self._ends_sure(template.body)

    def _run(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            step = self._STATEMENTS.get(type(node))
            need(step is not None, type(node).__name__)
            if step:
                step(self, node)

    def _ends_sure(self, body: Iterable[nodes.Node]) -> set[str]:
        """Analyzes statements, and returns the names assigned after them, without changing the current state."""
        before = self._values.sure
        self._values.sure = before.copy()
        self._run(body)
        after, self._values.sure = self._values.sure, before
        return after

    def _write(self, node: Any) -> None:
        for child in node.nodes:
            need(self._values.of(child) <= WRITABLE, "messages are written whole")

    def _branch(self, node: Any) -> None:
        self._values.sure = self._follow(node.test, node.body, node.elif_, node.else_)

    def _follow(self, test: Any, body: Sequence[Any], others: Sequence[Any], last: Sequence[Any]) -> set[str]:
        """Analyzes the branches that may be taken, and returns the names assigned after all of them."""
        self._values.of(test)
        truth, ends = self._values.truth(test), list[set[str]]()
        if truth is not False:
            ends.append(self._ends_sure(body))
        if truth is not True and others:
            ends.append(self._follow(others[0].test, others[0].body, others[1:], last))
        elif truth is not True:
            ends.append(self._ends_sure(last))
        return set.intersection(*ends)

    def _loop(self, node: Any) -> None:
        kinds = self._values.of(node.iter)
        need(kinds <= {PLAIN, LIST} and not node.recursive, "a loop over what is said")
        self._ends_sure(node.else_)
        if self._values.truth(node.iter) is False:
            return
        before = self._values.sure.copy()
        self._assign_to(node.target, frozenset(ITEM if kind == LIST else kind for kind in kinds))
        if node.test:
            self._values.of(node.test)
        self._run(node.body)
        self._values.sure = before  # assignments in a loop end with it

    def _assign(self, node: Any) -> None:
        self._assign_to(node.target, self._values.of(node.node))

    def _assign_to(self, target: Any, kinds: Kinds) -> None:
        need(kinds == P or isinstance(target, nodes.Name), "what is said is put elsewhere than into a name")
        for name in [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name):
            known = self._values.names.get(name.name, Kinds())
            self._has_grown = self._has_grown or not kinds <= known
            self._values.names[name.name] = known | kinds
            self._values.sure.add(name.name)

    def _pass(self, node: Any) -> None:
        """`break` and `continue`."""

    _STATEMENTS: dict[type, Callable[[TemplateProof, Any], None]] = {
        nodes.Output: _write,
        nodes.If: _branch,
        nodes.For: _loop,
        nodes.Assign: _assign,
        nodes.Break: _pass,
        nodes.Continue: _pass,
    }
