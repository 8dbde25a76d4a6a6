"""The verdict on a run: one sentence about what the user wants, and its kind for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from burnish.evaluate.figure import Figure

Kind = Literal[
    "better",
    "better_but_forgot",
    "diverged",
    "stuck",
    "loss_only",
    "worse_though_loss_fell",
    "worse",
    "no_difference",
    "too_few_rows",
    "no_rows",
]
"""`better`: the answers or labels improved beyond the interval. `better_but_forgot`: so they did, but the loss on other
texts rose by much. `diverged`, `stuck`: so they did, but the run as a whole went wrong, and a diagnosis says so.
`loss_only`: the loss fell and no improvement of the answers is shown. `worse_though_loss_fell`: the loss fell and the
answers got worse. `too_few_rows`: nothing is shown, and the interval is too wide to say that nothing happened."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run achieved."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on."""

    deciding: Sequence[Figure]
    """The metrics of what the user wants, the most important first: improved if any is, and none is worse."""
    loss: Figure | None
    """Evidence of second rank; the deciding metric itself if there is no other."""
    rows: str
    """The rows in words: `60 test rows (40 distinct)`."""
    answered: int | None = None
    """Number of rows that the deciding metrics were measured on, if not on all of them."""
    wanted: str = "the answers"
    """What the deciding metrics are about."""
    alone: str = ""
    """Why the loss decides although the task writes answers, in a sentence; empty if it does not."""
    forgotten: str = ""
    """What was forgotten, in a sentence; empty if nothing is."""
    findings: Mapping[str, str] = field(default_factory=dict)
    """Evidence of diagnoses that hold at the end of the run, by name."""

    @property
    def measured(self) -> str:
        """The rows that the deciding metrics were measured on, in words."""
        return self.rows if self.answered is None else f"{self.answered} of {self.rows}"


def verdict_on(evidence: Evidence) -> Verdict:
    """The verdict, and after it what was forgotten."""
    kind, sentences = _on_rows(evidence)
    if kind == "better" and evidence.forgotten:
        kind = "better_but_forgot"
    return Verdict(kind, " ".join(one for one in (*sentences, evidence.forgotten) if one))


def _on_rows(evidence: Evidence) -> tuple[Kind, list[str]]:
    if not evidence.deciding:
        return "no_rows", ["There are no test or validation rows to evaluate on."]
    worse = next((one for one in evidence.deciding if one.is_worse), None)
    if worse is not None:
        return _worse(worse, evidence)
    better = next((one for one in evidence.deciding if one.is_better), None)
    if better is not None:
        return _better(better, evidence)
    kind, sentences = _open(evidence)
    return kind, [*sentences, evidence.alone]


def _worse(figure: Figure, evidence: Evidence) -> tuple[Kind, list[str]]:
    although, fell = "", evidence.loss is not None and evidence.loss.is_better
    if evidence.loss is not None and fell:
        although = f", although {evidence.loss.moved}"
    text = f"The tuned model is worse than the base on {evidence.measured}: {figure.moved}{although}."
    return "worse_though_loss_fell" if fell else "worse", [text, evidence.alone]


def _better(figure: Figure, evidence: Evidence) -> tuple[Kind, list[str]]:
    """Better, unless a diagnosis of the whole run says otherwise: the two must not contradict each other."""
    rose = f"The {figure.moved.removeprefix('the ')} on {evidence.measured}"
    if "diverging" in evidence.findings:
        text = f"{rose}, but training diverged, and the best weights before that were kept"
        return "diverged", [f"{text}: {evidence.findings['diverging']}.", evidence.alone]
    if "stuck" in evidence.findings:
        return "stuck", [f"{rose}, but training was stuck: {evidence.findings['stuck']}.", evidence.alone]
    although = f", although {evidence.loss.moved}" if evidence.loss is not None and evidence.loss.is_worse else ""
    text = f"The tuned model is better than the base on {evidence.measured}: {figure.moved}{although}."
    return "better", [text, evidence.alone]


def _open(evidence: Evidence) -> tuple[Kind, list[str]]:
    """Neither better nor worse. Between a metric that was perfect all along and another one, the other is named."""
    perfect = [one.is_share and min(one.base.value, one.tuned.value) == 1 for one in evidence.deciding]
    figure = evidence.deciding[perfect.index(False) if False in perfect else 0]
    loss = evidence.loss
    if loss is not None and loss.is_better:
        some = "" if evidence.answered is None else f" on {evidence.answered} of them"
        text = (
            f"The {loss.moved.removeprefix('the ')} on {evidence.rows}, but no improvement of {evidence.wanted} is "
            f"shown{some}: {figure.before_and_after}."
        )
        return "loss_only", [text, f"There are few rows: {figure.changed}." if figure.is_wide else ""]
    rose = f"The {loss.moved.removeprefix('the ')}." if loss is not None and loss.is_worse else ""
    if figure.is_wide:
        be = "is" if evidence.measured.startswith("1 ") else "are"
        few = f"{evidence.measured} {be} too few to show a difference between base and tuned model"
        return "too_few_rows", [f"{few}: {figure.changed}.", rose]
    return "no_difference", [f"Base and tuned model do not differ significantly on {evidence.measured}.", rose]
