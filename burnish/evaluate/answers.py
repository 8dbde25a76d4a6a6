"""Generated answers, beside the known ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.models.device import arithmetic
from burnish.models.generation import generate_batch
from burnish.tasks.task import Question, Task

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what it should have said."""

    prompt: str
    expected: str
    given: str
    place: str

    @property
    def is_exact(self) -> bool:
        """Equal up to white space at the ends."""
        return self.given.strip() == self.expected.strip()


def answer_questions(
    network: Any,
    tokenizer: Any,
    task: Task,
    questions: Sequence[Question],
    max_new_tokens: int,
    precision: str,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Answer]:
    """Greedy answers to every question, in their order; batched by length of prompt, alone where pixels belong to it.

    Args:
        network: on its device; left in evaluation mode.
        tokenizer: of the network.
        task: knows where an answer ends, and which part of the text it is.
        questions: with their known answers.
        max_new_tokens: longest answer.
        precision: of the arithmetic.
        tell: called with questions done and in all.
    """
    network.eval()
    device = next(network.parameters()).device
    order = sorted(range(len(questions)), key=lambda index: len(questions[index].prompt_ids))
    given: dict[int, str] = {}
    plain = [index for index in order if questions[index].inputs is None]
    groups = [plain[begin : begin + _BATCH] for begin in range(0, len(plain), _BATCH)]
    groups += [[index] for index in order if questions[index].inputs is not None]
    for chosen in groups:
        prompts = [questions[index].prompt_ids for index in chosen]
        load = questions[chosen[0]].inputs
        with arithmetic(device, precision):
            outputs = generate_batch(
                network, tokenizer, prompts, task.stop_ids, max_new_tokens, inputs=load() if load else None
            )
        for index, ids in zip(chosen, outputs, strict=True):
            given[index] = task.answer_in(tokenizer.decode(task.spoken(ids), skip_special_tokens=True))
        tell(len(given), len(questions))
    return [Answer(q.prompt, q.answer, given[index], q.place) for index, q in enumerate(questions)]
