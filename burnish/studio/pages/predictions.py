"""Trying a model that does not write: labels with their probabilities, numbers, entities in a text, passages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from burnish.report.figures import counted
from burnish.studio.answering import TUNED, Models
from burnish.studio.collected import CORRECTIONS
from burnish.studio.curves import histogram, shortened
from burnish.studio.marked_text import entity_labels, marked, read_marks
from burnish.studio.parts import Part, button, choice, field, group, loading, markup, notice, part, prose, text_area

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
        shape: of the rows that it was trained on.
        labels: that it may give.
        examples: texts to begin with.
        keep: receives the kind and the row of a correction.
    """

    def __init__(
        self,
        models: Models,
        kind: str,
        shape: str,
        labels: Sequence[str],
        examples: Sequence[str],
        keep: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._models, self._kind, self._labels, self._keep = models, kind, labels, keep
        is_pair = shape.endswith("pair")
        self._names = ("question", "context") if kind == "passage" else ("text_1", "text_2") if is_pair else ("input",)
        self._learns_numbers = shape.startswith("scored")
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
            self._outcome: Part = self._shown

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
            shown = {
                "labels": self._labelled,
                "number": self._scored,
                "entities": self._tagged,
                "passage": self._answered,
            }
            shown.get(self._kind, _filled)(found, asked)
            self._outcome = part("div")

    def _labelled(self, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        first = found["data"][0]
        part("h3", ", ".join(first["labels"]) or "none of the labels")
        ranked = sorted(zip(found["classes"], first["probs"], strict=True), key=lambda pair: -pair[1])
        markup(
            histogram("Probabilities in percent", [(name, round(100 * share)) for name, share in ranked[:_MOST_BARS]])
        )
        prose("Probabilities in percent.", "help")
        if self._labels:
            choice("If that is wrong, choose the right label",
                   lambda label: label and self._correct({**_columns(asked), "label": label}, f"the label “{label}”"),
                   {"": "it is right", **{one: one for one in self._labels}}, "")  # fmt: skip

    def _scored(self, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        score = found["data"][0]["score"]
        part("h3", f"{score:.3f}")
        prose("In the unit of the training rows.", "help")

        def keep(text: str) -> str:
            try:
                right = float(text.strip())
            except ValueError:
                right = math.nan
            if not math.isfinite(right):
                return f"“{text}” is not a number. Write one, such as {score:.1f}."
            self._correct({**_columns(asked), "score": right}, f"the number {right:g}")
            return ""

        if self._learns_numbers:  # and not from which of two answers is better
            self._asks("If that is wrong, write the right number", "", keep)

    def _tagged(self, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        """The text with its entities marked."""
        entities, labels = found["data"][0]["entities"], entity_labels(self._labels)
        _show_entities(asked["input"], entities)
        if not entities:
            prose("Nothing in this text is marked.", "help")

        def keep(text: str) -> str:
            row = read_marks(text, labels)
            if row["text"].strip() != asked["input"].strip():
                why = "Apart from the marks, the text is not the same, or a mark has an unknown label."
                return f"{why} Mark it like this: [words]({labels[0]})"
            self._correct(row, counted(len(row["entities"]), "mark"))
            return ""

        help_ = f"If that is wrong, mark it right: [words](label), with the labels {', '.join(labels)}"
        if labels:
            self._asks(help_, marked(asked["input"], entities), keep, is_long=True)

    def _answered(self, found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        """The text with the passage that answers the question."""
        text, start, end = asked["context"], found["start"], found["end"]
        if end <= start:
            part("h3", "The text has no answer")
        else:
            part("h3", text[start:end])
            with group("said"):
                for piece, kind in ((text[:start], "span"), (text[start:end], "mark"), (text[end:], "span")):
                    if piece:
                        part(kind, piece)

        def keep(passage: str) -> str:
            begin = text.find(passage)
            if begin < 0:
                return (
                    "These words do not stand in the text. Copy them from it, or leave the field empty for no answer."
                )
            answers = {"text": [passage], "answer_start": [begin]} if passage else {"text": [], "answer_start": []}
            self._correct({**asked, "answers": answers}, f"the answer “{passage}”" if passage else "no answer")
            return ""

        self._asks("If that is wrong, copy the right passage; leave it empty for no answer", text[start:end], keep)

    def _asks(self, title: str, text: str, keep: Callable[[str], str], is_long: bool = False) -> None:
        """A field for what is right, and what is wrong with it.

        Args:
            title: of the field.
            text: to begin with.
            keep: takes what was written, and returns why it cannot be kept; empty if it was.
            is_long: whether there is room for several lines.
        """
        written = {"text": text}
        (text_area if is_long else field)(title, lambda new: written.update(text=new), text)
        button("Keep it", lambda: refused(keep(written["text"])), "small", id="keep")

        def refused(why: str) -> None:
            if why:
                self._say(why, "bad", "alert")

    def _correct(self, row: dict[str, Any], what: str) -> None:
        self._keep(CORRECTIONS, row)
        self._say(f"Kept as a row with {what}.", "good", "status")

    def _say(self, text: str, kind: str, role: str) -> None:
        """What became of the last correction, in place of the one before."""
        self._outcome.clear()
        with self._outcome:
            notice(text, kind, role)


def _columns(asked: Mapping[str, str]) -> dict[str, str]:
    """The texts of a request as columns of a row."""
    texts = list(asked.values())
    return {"text": texts[0]} if len(texts) == 1 else dict(zip(("sentence1", "sentence2"), texts, strict=True))


def _show_entities(text: str, entities: Iterable[Mapping[str, Any]]) -> None:
    place = 0
    with group("said"):
        for one in sorted(entities, key=lambda one: one["start"]):
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


def _filled(found: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """The likely words of each mask."""
    for number, mask in enumerate(found["data"][0]["masks"], 1):
        shares = [(one["token_str"], round(100 * one["score"])) for one in mask]
        part("h3", f"Mask {number}")
        markup(histogram(f"Words of mask {number}, in percent", shares))
