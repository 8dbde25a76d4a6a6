"""Trying a model that does not write: labels with their probabilities, numbers, entities in a text, passages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish.studio.answering import TUNED, Models
from burnish.studio.collected import CORRECTIONS
from burnish.studio.curves import histogram, shortened
from burnish.studio.parts import Part, button, choice, group, loading, markup, notice, part, prose, text_area

_ROUTES = {
    "labels": "/v1/classify",
    "number": "/v1/score",
    "entities": "/v1/tag",
    "passage": "/v1/answer",
    "words": "/v1/fill-mask",
}
"""Of the server, by what a model predicts."""
_TITLES = {
    "input": "Text",
    "text_1": "First text",
    "text_2": "Second text",
    "question": "Question",
    "context": "Text",
}
"""Of the fields of a request."""
_MOST_BARS = 12


class Predictions:
    """One text, or two that belong together, and what the tuned model says of them.

    Args:
        models: of the run.
        kind: of its prediction.
        is_pair: whether it reads two texts.
        labels: that it may give.
        examples: texts to begin with.
        keep: receives the kind and the row of a correction.
    """

    def __init__(
        self,
        models: Models,
        kind: str,
        is_pair: bool,
        labels: Sequence[str],
        examples: Sequence[str],
        keep: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._models, self._kind, self._labels, self._keep = models, kind, labels, keep
        self._names = ("question", "context") if kind == "passage" else ("text_1", "text_2") if is_pair else ("input",)
        self._texts: dict[str, str] = dict.fromkeys(self._names, "")
        part("h2", "Try it")
        with group("halves"):
            with group():
                self._fields = part("div")
                self._draw_fields()
                button("Ask the tuned model", self._ask, "primary", id="ask")
                if examples and len(self._names) == 1:
                    prose("From the test rows:", "help")
                    for text in examples:
                        button(
                            shortened(text, 90),
                            lambda text=text: self._take(text),
                            "quiet small",
                        )
            self._shown: Part = part("div", role="status", aria_live="polite")

    def _draw_fields(self) -> None:
        self._fields.clear()
        with self._fields:
            for name in self._names:
                text_area(_TITLES[name], lambda text, name=name: self._texts.update({name: text}), self._texts[name],
                          live=True, rows=4, data_sends="#ask")  # fmt: skip

    async def _take(self, text: str) -> None:
        self._texts["input"] = text
        self._draw_fields()
        await self._ask()

    async def _ask(self) -> None:
        if not all(text.strip() for text in self._texts.values()):
            return
        self._shown.clear()
        with self._shown:
            waiting = loading("Asking")
        asked = dict(self._texts)
        found = await self._models.ask(_ROUTES[self._kind], {"model": TUNED, **asked})
        if waiting.is_deleted:
            return
        waiting.delete()
        with self._shown:
            if "error" in found:
                notice(str(found["error"].get("message", "")), "bad", "alert")
                return
            shown = {"labels": self._labelled, "number": _scored, "entities": _tagged, "passage": _answered}
            shown.get(self._kind, _filled)(found, asked)

    def _labelled(self, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        first = found["data"][0]
        part("h3", ", ".join(first["labels"]) or "none of the labels")
        ranked = sorted(zip(found["classes"], first["probs"], strict=True), key=lambda pair: -pair[1])
        markup(
            histogram("Probabilities in percent", [(name, round(100 * share)) for name, share in ranked[:_MOST_BARS]])
        )
        prose("Probabilities in percent.", "help")
        if len(self._names) == 1 and self._labels:
            choice("If that is wrong, choose the right label", lambda label: self._correct(asked["input"], label),
                   {"": "it is right", **{one: one for one in self._labels}}, "")  # fmt: skip

    def _correct(self, text: str, label: str) -> None:
        if label:
            self._keep(CORRECTIONS, {"text": text, "label": label})
            with self._shown:
                notice(f"Kept as a row with the label “{label}”.", "good", "status")


def _scored(found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    part("h3", f"{found['data'][0]['score']:.3f}")
    prose("In the unit of the training rows.", "help")


def _tagged(found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """The text with its entities marked."""
    text, place = asked["input"], 0
    entities = sorted(found["data"][0]["entities"], key=lambda one: one["start"])
    with group("said"):
        for one in entities:
            if one["start"] < place:
                continue
            if one["start"] > place:
                part("span", text[place : one["start"]])
            with group("entity", "span", title=f"{100 * one['score']:.0f} %"):
                part("span", text[one["start"] : one["end"]])
                part("b", one["entity_group"])
            place = one["end"]
        if place < len(text):
            part("span", text[place:])
    if not entities:
        prose("Nothing in this text is marked.", "help")


def _answered(found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """The text with the passage that answers the question."""
    text, start, end = asked["context"], found["start"], found["end"]
    if end <= start:
        part("h3", "The text has no answer")
        return
    part("h3", text[start:end])
    with group("said"):
        for piece, kind in ((text[:start], "span"), (text[start:end], "mark"), (text[end:], "span")):
            if piece:
                part(kind, piece)


def _filled(found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """The likely words of each mask."""
    for number, mask in enumerate(found["data"][0]["masks"], 1):
        shares = [(one["token_str"], round(100 * one["score"])) for one in mask]
        part("h3", f"Mask {number}")
        markup(histogram(f"Words of mask {number}, in percent", shares))
