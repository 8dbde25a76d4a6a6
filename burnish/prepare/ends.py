"""Where answers end: at what the task learns as their end, and at the end tokens of the base model.

transformers ends the answers of a base model at every end token of its generation settings. A run compares base and
tuned model with these tokens, too, and its result keeps them: otherwise a base whose answers end at another token than
those of the rows would be compared by answers that run on, and so would its own calls or thoughts after training. Only
what occurs inside an answer of the rows cannot end one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy

from burnish.data.tokens.file_column import PART
from burnish.data.tokens.tokens import TokenExamples
from burnish.models.ends import own_ends
from burnish.models.location import FoundModel
from burnish.prepare.resolve import Resolver
from burnish.recipe.schema import AUTO
from burnish.runs.events import Event, Note, Warned
from burnish.tasks.task import Encoder, Task


def resolve_ends(resolver: Resolver, task: Task, model: FoundModel, emit: Callable[[Event], None]) -> None:
    """Resolves the further end tokens of a run, and gives them to its task.

    Args:
        resolver: of the recipe that the task was made for.
        task: of the run.
        model: its base.
        emit: receives a warning if ends were asked for that have no effect.

    Raises:
        ModelError: the base model's generation settings cannot be read.
    """
    if not task.generates:
        if resolver.recipe.evaluate.ends not in (AUTO, []):
            emit(Warned(f"`evaluate.ends` has no effect: the model of the task `{task.name}` does not generate text."))
        resolver.fill("evaluate.ends", [], "nothing is generated", is_reported=False)
        return
    if resolver.recipe.evaluate.ends == AUTO:
        own = own_ends(model.location.folder, model.config, model.tokenizer)
        further = [number for number in own if number not in task.predictor.stop_ids]
        names = model.tokenizer.convert_ids_to_tokens(further)
        reason = "the base model's own, besides the end of its template"
        resolver.fill("evaluate.ends", names, reason, is_reported=bool(names))
        task.predictor.further_ends = tuple(further)


def taught_inside(encoder: Encoder, examples: Sequence[Any], ends: Iterable[int]) -> set[int]:
    """Those of some tokens that occur inside an answer that is learned, and not at its end.

    Args:
        encoder: of the task.
        examples: encoded.
        ends: the tokens.
    """
    wanted = numpy.asarray(sorted(ends))
    if not len(wanted):
        return set()
    if isinstance(examples, TokenExamples):
        return _in_columns(examples, wanted)
    found = set[int]()
    for segment in (segment for example in examples for segment in encoder.segments(example)):
        ids, learned = numpy.asarray(segment.ids), numpy.asarray(segment.is_learned, bool)
        found.update(ids[:-1][learned[:-1] & learned[1:] & numpy.isin(ids[:-1], wanted)].tolist())
    return found


def _in_columns(examples: TokenExamples, wanted: numpy.ndarray) -> set[int]:
    """`taught_inside` of examples in columns, part by part: they may be larger than memory."""
    ids, trained, ends = (examples.columns[name] for name in ("ids", "trained", "ends"))
    borders = numpy.union1d(ends, ends - 1)  # the first token of an example is never predicted, the last one ends it
    found = set[int]()
    for begin in range(0, len(ids), PART):
        # one more than the part: whether a token is the last of its answer, the next one says
        part, learned = ids[begin : begin + PART + 1], trained[begin : begin + PART + 1]
        places = numpy.flatnonzero(learned[:-1] & learned[1:] & numpy.isin(part[:-1], wanted))
        found.update(part[places[~numpy.isin(places + begin, borders) & (places + begin > 0)]].tolist())
    return found


def without_taught(
    ends: Sequence[str], inside: set[int], tokenizer: Any, asked: Any, emit: Callable[[Event], None]
) -> list[str]:
    """The further ends of a run without those that occur inside its answers, which are reported.

    Args:
        ends: as texts.
        inside: numbers of those that occur inside answers.
        tokenizer: of the model.
        asked: `evaluate.ends` as the user gave it; what is named there is kept, with a warning.
        emit: receives note or warning.
    """
    taught = [name for name in ends if tokenizer.convert_tokens_to_ids(name) in inside]
    if not taught:
        return list(ends)
    named = ", ".join(f"`{name}`" for name in taught)
    occurs = "occurs" if len(taught) == 1 else "occur"
    if asked != AUTO:
        emit(Warned(f"{named} of `evaluate.ends` {occurs} inside answers of the rows: the model's will be cut there."))
        return list(ends)
    emit(
        Note(
            f"The base model ends its answers at {named}, which {occurs} inside answers of the rows: so neither its "
            "answers nor those of the trained model end there."
        )
    )
    return [name for name in ends if name not in taught]
