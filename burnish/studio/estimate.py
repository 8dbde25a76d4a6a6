"""An estimate of the memory of a run, from the plan of the same run at other positions of its sliders.

A step is simulated in a second or more; this is arithmetic on what the last simulation has found, so that a page has
something to say meanwhile. It is right about weights, gradients and optimizer, and rough about activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from burnish.recipe.micro_batch import FEWEST_STEP_TOKENS, MOST_STEP_TOKENS, most_rows

RANK, CONTEXT, TOKENS = "lora.rank", "data.context", "batch.tokens"
ESTIMATED = (RANK, CONTEXT, TOKENS)
"""The options whose effect on the memory can be estimated."""
_ROWS = "batch.rows"
_OF_TOKENS = ("activations", "logits", "batch")
"""Parts of the memory that grow with the tokens of a micro-batch."""
_ALLOCATOR = "allocator"
_TRAINED_BYTES = 4
"""Of a trained weight, and of its gradient."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run may take."""

    memory: dict[str, int]
    """Bytes by use, as in a plan."""
    room: int
    """Bytes available to the run, as the plan has found."""

    @property
    def peak(self) -> int:
        """All bytes."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether there seems to be enough memory."""
        return self.peak <= self.room


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What decides the tokens of the largest micro-batch."""

    context: int
    step_tokens: int
    epoch_tokens: int
    rows: int
    width: int
    """Tokens of its longest row."""

    @property
    def tokens(self) -> int:
        """Of the micro-batch: as many rows as it has room for, and as there are."""
        together = max(1, self.rows * self.context // self.width) * self.width
        return max(self.width, min(together, self.epoch_tokens))

    @property
    def accumulates(self) -> bool:
        """Whether a step has several micro-batches."""
        return min(self.step_tokens, self.epoch_tokens) > self.tokens


def estimate(options: Mapping[str, Any], planned: Mapping[str, Any], found: Mapping[str, Any]) -> Estimate | None:
    """The memory of a run.

    Args:
        options: of the run, by dotted name.
        planned: those of the same run that were planned last.
        found: what `plan_run` found for them.

    Returns:
        None where it does not follow from the plan: it was refused, or the options differ in more than numbers of
        `ESTIMATED`.
    """
    moved = [name for name in {*options, *planned} if options.get(name) != planned.get(name)]
    if "error" in found or not set(moved) <= set(ESTIMATED):
        return None
    if not all(isinstance(options.get(name), int) for name in moved):
        return None
    memory, whole = dict(found["memory"]), _TRAINED_BYTES * found["trained_parameters"]
    if RANK in moved:
        before = _number(RANK, planned, found)
        if before is None:
            return None
        memory, whole = _with_rank(memory, options[RANK] / before, found)
    old = _planned_sizes(planned, found)
    new = _moved_sizes(options, old, found)
    made = _with_sizes(memory, whole, old, new, found)
    while made.peak > made.room and new.rows > 1 and not isinstance(options.get(_ROWS), int):
        new = replace(new, rows=new.rows // 2)  # as the plan does where memory is short
        made = _with_sizes(memory, whole, old, new, found)
    return made


def _with_rank(memory: dict[str, int], ratio: float, found: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """The memory with an adapter of so many times the rank, and the bytes of all gradients."""
    trained, inside = found["trained_parameters"], found["trained_in_blocks"]
    now = trained + inside * (ratio - 1)
    share = now / max(1, trained)
    moved = {name: round(memory[name] * share) for name in ("gradients", "optimizer") if name in memory}
    moved["weights"] = memory["weights"] + round(_TRAINED_BYTES * (now - trained))
    return {**memory, **moved}, round(_TRAINED_BYTES * now)


def _planned_sizes(planned: Mapping[str, Any], found: Mapping[str, Any]) -> _Sizes:
    batch = found["micro_batch"]
    context, epoch = batch["context"], batch["epoch_tokens"]
    tokens = _number(TOKENS, planned, found) or found["step_tokens"]
    return _Sizes(context, tokens, epoch, batch["rows"], _width(context, epoch, batch))


def _moved_sizes(options: Mapping[str, Any], old: _Sizes, found: Mapping[str, Any]) -> _Sizes:
    """The sizes of the run, before any thought of what fits."""
    batch, fixed = found["micro_batch"], options.get(_ROWS)
    context, tokens, epoch = old.context, old.step_tokens, old.epoch_tokens
    if isinstance(options.get(CONTEXT), int) and options[CONTEXT] != context:
        context = options[CONTEXT]
        epoch = max(1, round(epoch * _share_left(context, batch)))
        # a step that Burnish chooses is a share of the tokens, within limits
        least, most = min(FEWEST_STEP_TOKENS, tokens), max(MOST_STEP_TOKENS, tokens)
        tokens = max(least, min(most, tokens * epoch // old.epoch_tokens))
    if isinstance(options.get(TOKENS), int):
        tokens = options[TOKENS]
    if (context, tokens) == (old.context, old.step_tokens):
        return old
    rows = most_rows(context, tokens, batch["most_tokens"])
    if old.rows < most_rows(old.context, old.step_tokens, batch["most_tokens"]):
        rows = max(1, min(rows, old.rows * old.context // context))  # memory was too short for more
    return _Sizes(context, tokens, epoch, fixed if isinstance(fixed, int) else rows, _width(context, epoch, batch))


def _share_left(context: int, batch: Mapping[str, Any]) -> float:
    """Tokens of all training rows at another context, as a share of those at the planned one.

    Longer rows are cut, and left out where not even what is learned of them fits; rows that the plan has cut are
    taken to be as long as the new context.
    """
    now, before = batch["lengths"], batch["context"]
    whole = [max(one, context) if one >= before else one for one in now]
    left = [min(one, context) for one in whole if one * batch["trained_share"] < context]
    return sum(left) / max(1, sum(now))


def _width(context: int, epoch_tokens: int, batch: Mapping[str, Any]) -> int:
    """Tokens of the longest row: packed rows are full; without packing, a text that was not cut stays as it is."""
    if batch["is_packed"]:
        return max(1, min(context, epoch_tokens))
    was_cut = batch["width"] >= batch["context"]
    return context if was_cut else min(context, batch["width"])


def _with_sizes(memory: dict[str, int], whole: int, old: _Sizes, new: _Sizes, found: Mapping[str, Any]) -> Estimate:
    """The memory with a micro-batch of other sizes.

    Args:
        memory: at the old sizes.
        whole: bytes of all gradients.
        old: the planned sizes.
        new: those to estimate.
        found: by the plan.
    """
    parts = dict(memory)
    if new != old:
        ratio = new.tokens / old.tokens
        parts = {name: round(size * ratio) if name in _OF_TOKENS else size for name, size in memory.items()}
        # Of several micro-batches, the gradients of the first are kept while the next is computed. Those of a single
        # one take the place of its activations.
        alone = max(0, whole - parts.get("activations", 0))
        parts["gradients"] = whole if new.accumulates else alone
    if _ALLOCATOR in parts:
        share = _tensors(parts, found) / max(1, _tensors(found["memory"], found))
        parts[_ALLOCATOR] = round(parts[_ALLOCATOR] * share)
    return Estimate({name: size for name, size in parts.items() if size}, found["room"])


def _tensors(memory: Mapping[str, int], found: Mapping[str, Any]) -> int:
    """Bytes of tensors, of which the overhead of the allocator is a share."""
    return sum(size for name, size in memory.items() if name not in (*found["memory_sources"], _ALLOCATOR))


def _number(option: str, planned: Mapping[str, Any], found: Mapping[str, Any]) -> int | None:
    """What an option was: as given, or as chosen; None if that is not known."""
    chosen = {one["option"]: one["value"] for one in found["choices"]}
    given = planned.get(option)
    value = given if isinstance(given, int) else chosen.get(option)
    return value if isinstance(value, int) else None
