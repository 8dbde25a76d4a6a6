"""What came of a run: the verdict, base against tuned, answers side by side with what differs, and finer tables."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from burnish.errors import InputError
from burnish.report import course, outcome
from burnish.report.record import RunRecord, bare_place, read_record
from burnish.runs.folder import begun_at
from burnish.studio.frame import run_page
from burnish.studio.parts import button, details, empty, facts, group, link, markup, part, prose, refusal
from burnish.templates import render_html

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_PAGE = 10
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


async def show_results(project: Project, entry: Entry, tab: str) -> None:
    """The content of the sides with results.

    Args:
        project: of the run.
        entry: the run.
        tab: `results` or `answers`.
    """
    if begun_at(entry.run) is None:
        empty("Nothing to show yet", "The run has not begun.")
        return
    try:
        record = await asyncio.to_thread(read_record, entry.run)
    except InputError as error:
        refusal(error)
        return
    if tab == "answers":
        _answers(record, lambda text: _named(project, entry, text))
    else:
        _verdict(project, entry, record)


def _verdict(project: Project, entry: Entry, record: RunRecord) -> None:
    heading = outcome.heading(record)
    with group(f"card verdict-card {heading['outcome'] or 'none'}", "section", aria_label="Verdict"):
        prose(heading["verdict"], "said-verdict")
        prose(_named(project, entry, heading["summary"]), "help")
        with group("tiles", "dl"):
            for name, value in heading["tiles"]:
                if value:
                    with group("tile"):
                        part("dt", name)
                        part("dd", value)
        if record.evaluation:
            with group("row"):
                link("Answers side by side", run_page(entry.id, "answers"), "button")
                link("Use it", run_page(entry.id, "use"), "button primary")
    with group("card report", "section"):
        part("h2", "Base against tuned")
        markup(render_html("report/figures.html", **outcome.before_after(record)))
    with group("columns"):
        with group("card report", "section"):
            part("h2", "Curves")
            markup(render_html("report/curves.html", **course.curves(record)))
        with group("card report", "section"):
            part("h2", "How it went")
            markup(render_html("report/findings.html", **course.findings(record)))
    with group("card report", "section"):
        part("h2", "Planned and measured")
        markup(render_html("report/plan.html", **course.plan(record)))
    with group("card report", "section"):
        part("h2", "What was trained, and where")
        facts([(name, _named(project, entry, value)) for name, value in outcome.setup(record)["pairs"]])


def _answers(record: RunRecord, named: Callable[[str], str]) -> None:
    found = record.evaluation.get("answers", [])
    if not found:
        empty("No answers were recorded", "`evaluate.answers` says how many rows both models answer after a training.")
        return
    ranked = sorted(enumerate(found), key=lambda pair: (is_right(pair[1], "tuned"), pair[0]))
    wrong = sum(not is_right(one, "tuned") for one in found)
    with group("card", "section"):
        part("h2", f"{len(found)} test rows, answered by both models")
        prose(
            f"The tuned model gives {len(found) - wrong} of {len(found)} exactly as expected. Those it does not come "
            "first; what differs from the expected answer is marked.",
            "help",
        )
        AnswerList([{**one, "place": named(bare_place(one.get("place", "")))} for _, one in ranked])


class AnswerList:
    """Answers, some at a time.

    Args:
        answers: as the evaluation has them.
    """

    def __init__(self, answers: Sequence[Mapping[str, str]]) -> None:
        self._answers, self._shown = answers, 0
        self._list = part("div")
        self._more = part("div", kind="row")
        self._add()

    def _add(self) -> None:
        with self._list:
            for one in self._answers[self._shown : self._shown + _PAGE]:
                _answer(one)
        self._shown += _PAGE
        self._more.clear()
        left = len(self._answers) - self._shown
        if left > 0:
            with self._more:
                button(f"Show {min(left, _PAGE)} more of {left}", self._add, "small")


def is_right(answer: Mapping[str, str], side: str) -> bool:
    """Whether a side has exactly the expected answer; a label comes with its probability."""
    return re.sub(r" \(\d\.\d\d\)$", "", answer[side].strip()) == answer["expected"].strip()


def differing(expected: str, given: str) -> list[tuple[str, bool]]:
    """The given text in pieces, each with whether it differs from what was expected."""
    old, new = _WORD.findall(expected), _WORD.findall(given)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    pieces = [("".join(new[b1:b2]), kind != "equal") for kind, _, _, b1, b2 in matcher.get_opcodes()]
    return [(text, differs) for text, differs in pieces if text]


def _answer(answer: Mapping[str, str]) -> None:
    with group("answer", "article"):
        prompt = answer["prompt"].strip()
        if len(prompt) > 400:
            part("p", f"{prompt[:300]} …", "said")
            with details("The whole prompt"):
                part("p", prompt, "said")
        else:
            part("p", prompt or "(nothing)", "said strong")
        part("p", answer["place"] or " ", "help")
        with group("sides"):
            with group("side"):
                part("h3", "expected")
                part("div", answer["expected"].strip() or "(nothing)", "said")
            for side in ("base", "tuned"):
                right = is_right(answer, side)
                with group(f"side {'right' if right else 'wrong'}"):
                    part("h3", f"{side}, {'as expected' if right else 'different'}")
                    _marked(answer["expected"].strip(), answer[side].strip(), right)


def _marked(expected: str, given: str, right: bool) -> None:
    if right or not given:
        part("div", given or "(nothing)", "said")
        return
    with group("said"):
        for text, differs in differing(expected, given):
            part("mark" if differs else "span", text)


def _named(project: Project, entry: Entry, text: str) -> str:
    """A sentence about a run with the user's name of its file instead of where it is kept."""
    return project.named(text, str(entry.viewed.job.details.get("source", "")) if entry.viewed else "")
