"""A conversation with the tuned model and its base side by side; ratings and corrections of what they answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from burnish.studio.answering import BASE, TUNED, Models
from burnish.studio.collected import CORRECTIONS, PREFERENCES, correction_row, preference_row
from burnish.studio.parts import Part, button, details, group, notice, part, text_area, words
from burnish.studio.parts import field as text_field
from burnish.visible import visible

if TYPE_CHECKING:
    from nicegui.elements.mixins.text_element import TextElement

_SIDES = {BASE: "Base", TUNED: "Tuned"}
_DRAWN_SECONDS = 0.12
"""Between two times that a growing answer is drawn."""
_MOST_TOKENS, _CONTINUED_TOKENS = 2048, 128
_SENDS_PICTURE = "(event) => emit(event.detail)"
_PICTURE, _PICTURE_HEAD = re.compile(r"data:image/(jpeg|png);base64,"), 23
_MOST_PICTURE = 900_000
"""Characters of a picture, as the browser sends it."""


@dataclass(slots=True)
class _Turn:
    """A message and what both models answer to it."""

    text: str
    picture: str = ""
    """As a data URL, made smaller by the browser; empty without one."""
    answers: dict[str, str] = field(default_factory=dict)


class Thoughts:
    """What a model thinks before it answers: shown as it comes, and folded by whoever has read enough."""

    def __init__(self) -> None:
        self.text = ""
        self._place = part("div")
        self._shown: TextElement | None = None

    def show(self) -> None:
        """Brings the page up to date; a model that does not think has nothing here."""
        if self._shown is None and self.text:
            with self._place, details("Thoughts", is_open=True):
                self._shown = words("", "thoughts")
        if self._shown is not None:
            self._shown.set_text(visible(self.text))


class Chat:
    """The conversation. Each model continues from its own answers.

    Args:
        models: that are asked.
        reads_turns: whether the run learned conversations; if not, a text is continued.
        takes_pictures: whether a message may have a picture.
        keep: receives the kind and the row of what is said of an answer.
    """

    def __init__(
        self, models: Models, reads_turns: bool, takes_pictures: bool, keep: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._models, self._reads_turns, self._keep = models, reads_turns, keep
        self._turns: list[_Turn] = []
        self._takes_pictures, self._picture = takes_pictures, ""
        self._system, self._temperature, self._message = "", 0.0, ""
        self._most: int | None = None
        """Tokens of an answer; None for as many as the model has room for."""
        self._busy: set[asyncio.Task[None]] = set()
        part("h2", "Both models, the same question" if reads_turns else "Both models continue the same text")
        self._talks: dict[str, Part] = {}
        with group("chat"):
            for side, title in _SIDES.items():
                with group():
                    part("h3", title)
                    self._talks[side] = part("div", kind="talk", role="log", aria_label=f"{title} model")
        self._marks = part("div")
        self._entry = part("div")
        self._draw_entry()
        with details("System prompt and sampling"), group("options"):
            if reads_turns:
                text_area("System prompt", self._set_system, "")
            text_field("Temperature", self._set_temperature, "0", type="number", min=0, max=2, step=0.1,
                       term="temperature", help="0 takes the most likely token, as in the evaluation.")  # fmt: skip
            text_field("Most tokens of an answer", self._set_most, "", type="number", min=1, max=_MOST_TOKENS)

    def _draw_entry(self) -> None:
        self._entry.clear()
        with self._entry:
            text_area("Your message", self._set_message, "", live=True, rows=3, data_sends="#send",
                      help="Enter sends, Shift+Enter begins a line.")  # fmt: skip
            if self._takes_pictures:
                self._add_picture_field()
            with group("row"):
                button("Send", self._send, "primary", id="send")
                button("Begin again", self._restart)

    def _add_picture_field(self) -> None:
        """A picture to go with the message; it is read and made smaller in the browser."""
        name = "picture"
        with group("field"):
            part("label", "Picture", for_=name)
            chosen = part("input", type="file", accept="image/*", id=name, data_picture="")
            chosen.on("picture", lambda event: self._set_picture(str(event.args)), js_handler=_SENDS_PICTURE)
            self._shown_picture = part("div", role="status")

    def _set_picture(self, picture: str) -> None:
        self._shown_picture.clear()
        if not _PICTURE.fullmatch(picture[:_PICTURE_HEAD]) or len(picture) > _MOST_PICTURE:
            with self._shown_picture:
                notice("This is not a picture that the browser can read.", "bad", "alert")
            return
        self._picture = picture
        with self._shown_picture:
            part("img", kind="picture", src=picture, alt="The picture that goes with the message")

    def _set_message(self, text: str) -> None:
        self._message = text

    def _set_system(self, text: str) -> None:
        self._system = text

    def _set_temperature(self, text: str) -> None:
        self._temperature = _number(text, 0.0, 0.0, 2.0)

    def _set_most(self, text: str) -> None:
        self._most = int(_number(text, _CONTINUED_TOKENS, 1, _MOST_TOKENS)) if text.strip() else None

    def _restart(self) -> None:
        for task in self._busy:
            task.cancel()
        self._turns = []
        for talk in (*self._talks.values(), self._marks):
            talk.clear()

    async def _send(self) -> None:
        text = self._message.strip()
        if not text or self._busy:
            return
        turn = _Turn(text, self._picture)
        self._turns.append(turn)
        self._message = self._picture = ""
        self._draw_entry()
        self._marks.clear()
        for side in _SIDES:
            with self._talks[side]:
                if turn.picture:
                    part("img", kind="picture", src=turn.picture, alt="A picture")
                part("div", text, "bubble user")
        tasks = {asyncio.create_task(self._answer(turn, side)) for side in _SIDES}
        self._busy |= tasks
        await asyncio.gather(*tasks, return_exceptions=True)
        self._busy -= tasks
        if self._marks.is_deleted:
            return
        if self._turns and self._turns[-1] is turn:
            self._draw_marks(turn)

    async def _answer(self, turn: _Turn, side: str) -> None:
        """Asks one model, and shows its answer as it grows."""
        loop = asyncio.get_running_loop()
        with self._talks[side]:
            thinking = Thoughts()
            bubble = words("…", "bubble model")
        text, drawn = "", loop.time()
        async for thought, said in self._models.stream(*self._form(side)):
            text += said
            thinking.text += thought
            if loop.time() - drawn > _DRAWN_SECONDS:
                thinking.show()
                bubble.set_text(text or "…")
                drawn = loop.time()
        thinking.show()
        turn.answers[side] = text
        bubble.set_text(text or "(nothing)")

    def _form(self, side: str) -> tuple[str, dict[str, Any]]:
        """The route, and the request with this model's side of the conversation."""
        sampling = {"model": side, "temperature": self._temperature}
        if not self._reads_turns:
            return "/v1/completions", {
                **sampling,
                "prompt": self._turns[-1].text,
                "max_tokens": self._most or _CONTINUED_TOKENS,
            }
        most = {} if self._most is None else {"max_completion_tokens": self._most}
        return "/v1/chat/completions", {**sampling, "messages": self._messages(side), **most}

    def _messages(self, side: str) -> list[dict[str, Any]]:
        """The conversation up to the last message, with this model's own answers."""
        said: list[dict[str, Any]] = []
        if self._system.strip():
            said.append({"role": "system", "content": self._system.strip()})
        for turn in self._turns[:-1]:
            said.append({"role": "user", "content": _content(turn)})
            said.append({"role": "assistant", "content": turn.answers.get(side, "")})
        return [*said, {"role": "user", "content": _content(self._turns[-1])}]

    def _draw_marks(self, turn: _Turn) -> None:
        """What can be said of the two answers."""
        self._marks.clear()
        if not self._reads_turns or any(one.picture for one in self._turns):
            return  # rows of text are kept
        with self._marks, group("row", role="group", aria_label="Rate the answers"):
            part("span", "Which answer is better?", "help")
            for side, other in ((BASE, TUNED), (TUNED, BASE)):
                button(
                    f"{_SIDES[side]} is better", lambda side=side, other=other: self._prefer(turn, side, other), "small"
                )
            button("Write the right answer", lambda: self._correct(turn), "small")

    def _prefer(self, turn: _Turn, better: str, worse: str) -> None:
        answers = turn.answers
        if answers.get(better, "").strip() == answers.get(worse, "").strip():
            self._say("Both answers are the same: there is nothing to prefer. Write the right one.", "warning")
            return
        self._keep(PREFERENCES, preference_row(self._messages(TUNED), answers[better], answers[worse]))
        self._say(f"Kept: {_SIDES[better].lower()} is better.", "good")

    def _correct(self, turn: _Turn) -> None:
        self._marks.clear()
        kept = {"text": turn.answers.get(TUNED, "")}
        with self._marks:
            text_area("The right answer", lambda text: kept.update(text=text), kept["text"], live=True)
            with group("row"):
                button("Keep it", lambda: self._keep_correction(turn, kept["text"]), "primary small")
                button("Never mind", lambda: self._draw_marks(turn), "quiet small")

    def _keep_correction(self, turn: _Turn, text: str) -> None:
        if not text.strip():
            return
        self._keep(CORRECTIONS, correction_row(self._messages(TUNED), text))
        wrong = turn.answers.get(TUNED, "")
        if wrong.strip() and wrong.strip() != text.strip():
            self._keep(PREFERENCES, preference_row(self._messages(TUNED), text, wrong))
        self._say("Kept as a row, and as better than what the tuned model wrote.", "good")

    def _say(self, text: str, kind: str) -> None:
        self._marks.clear()
        with self._marks:
            notice(text, kind, "status")


def _content(turn: _Turn) -> Any:
    """A message as a request has it: its text, after its picture if it has one."""
    if not turn.picture:
        return turn.text
    return [{"type": "image_url", "image_url": {"url": turn.picture}}, {"type": "text", "text": turn.text}]


def _number(text: str, usual: float, low: float, high: float) -> float:
    """A number within bounds; the usual one where the text is none."""
    try:
        return min(high, max(low, float(text)))
    except ValueError:
        return usual
