"""The training rows of a run as any other program can read them: token ids, and the steps that read each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.data.batch_plan import BatchPlan
from burnish.data.preference_format import Answer, PairExample
from burnish.data.row import IGNORED


def rows_by_step(plan: BatchPlan, total_steps: int) -> list[dict[str, Any]]:
    """One JSON-ready object for each row of the plan; `steps` are counted from 0 over whole epochs.

    Args:
        plan: of the training examples: `Example` or `PairExample`.
        total_steps: of the run.
    """
    steps: list[list[int]] = [[] for _ in plan.rows]
    for epoch in range(-(-total_steps // plan.steps_per_epoch)):
        for place, number in enumerate(plan.epoch_order(epoch).tolist()):
            steps[number].append(epoch * plan.steps_per_epoch + place // plan.rows_per_step)
    return [
        {**_row([plan.examples[index] for index in row], plan.packing), "steps": read}
        for row, read in zip(plan.rows, steps, strict=True)
    ]


def _row(examples: Sequence[Any], packed: bool) -> dict[str, Any]:
    if isinstance(examples[0], PairExample):
        return _pair(examples[0])
    row: dict[str, Any] = {"input_ids": [], "labels": []}
    for example in examples:
        row["input_ids"] += _plain(example.input_ids)
        row["labels"] += [IGNORED, *_plain(example.labels)[1:]]  # nothing before an example predicts its first token
    if packed:
        row["position_ids"] = [place for example in examples for place in range(len(example.input_ids))]
    return row


def _pair(pair: PairExample) -> dict[str, Any]:
    return {**_answer("chosen", pair.prompt_ids, pair.chosen), **_answer("rejected", pair.prompt_ids, pair.rejected)}


def _answer(name: str, prompt: list[int], answer: Answer) -> dict[str, Any]:
    learned = [int(label != IGNORED) for label in answer.labels]
    return {f"{name}_ids": _plain([*prompt, *answer.ids]), f"{name}_mask": [0] * len(prompt) + learned}


def _plain(values: Any) -> list[int]:
    return [int(value) for value in values]


def micro_rows(plan: BatchPlan, most: int) -> int:
    """Rows of a micro-batch: as many as divide the rows of a step, which trainers of transformers count in batches.

    Pairs are weighed by micro-batch there, so these must divide the last step of an epoch, too; tokens are not.

    Args:
        plan: of the run.
        most: rows that fit into memory at once.
    """
    last = len(plan.rows) % plan.rows_per_step if isinstance(plan.examples[0], PairExample) else 0
    return max(size for size in range(1, most + 1) if plan.rows_per_step % size == 0 and last % size == 0)
