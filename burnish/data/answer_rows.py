"""Rows of one prompt and one answer, or of one prompt and several answers side by side, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch

from burnish.data.preference_format import Answer
from burnish.data.row import IGNORED


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """Prompts with their answers, ready for a network. Answers are counted row by row, from left to right."""

    input_ids: torch.Tensor
    """`[rows, width]` int64."""
    position_ids: torch.Tensor
    """`[rows, width]` int64: every answer goes on from its prompt."""
    segments: torch.Tensor
    """`[rows, width]` int64: 0 in the prompt, then the number of the answer in its row; padding is one more."""
    places: torch.Tensor
    """`[answers, longest]` int64: where each learned token is predicted, as an index into rows x width."""
    targets: torch.Tensor
    """`[answers, longest]` int64: the learned tokens, filled up with `IGNORED`."""


def lay_out(rows: Sequence[tuple[list[int], Sequence[Answer]]], pad_id: int) -> AnswerRows:
    """Rows of a prompt (never empty) with the answers behind it; as wide as the longest."""
    width = max(len(prompt) + sum(len(answer.ids) for answer in answers) for prompt, answers in rows)
    input_ids = numpy.full((len(rows), width), pad_id, dtype=numpy.int64)
    position_ids = numpy.zeros((len(rows), width), dtype=numpy.int64)
    segments = numpy.zeros((len(rows), width), dtype=numpy.int64)
    learned: list[tuple[list[int], list[int]]] = []
    for number, (prompt, answers) in enumerate(rows):
        begin = len(prompt)
        input_ids[number, :begin] = prompt
        position_ids[number, :begin] = numpy.arange(begin)
        for count, answer in enumerate(answers, start=1):
            end = begin + len(answer.ids)
            input_ids[number, begin:end] = answer.ids
            position_ids[number, begin:end] = numpy.arange(len(prompt), len(prompt) + end - begin)
            segments[number, begin:end] = count
            before = [len(prompt) - 1, *range(begin, end - 1)]
            kept = [index for index, label in enumerate(answer.labels) if label != IGNORED]
            learned.append(([number * width + before[index] for index in kept], [answer.ids[index] for index in kept]))
            begin = end
        segments[number, begin:] = len(answers) + 1
    longest = max(len(tokens) for _, tokens in learned)
    places = numpy.zeros((len(learned), longest), dtype=numpy.int64)
    targets = numpy.full((len(learned), longest), IGNORED, dtype=numpy.int64)
    for number, (where, tokens) in enumerate(learned):
        places[number, : len(where)] = where
        targets[number, : len(tokens)] = tokens
    return AnswerRows(*map(torch.from_numpy, (input_ids, position_ids, segments, places, targets)))
