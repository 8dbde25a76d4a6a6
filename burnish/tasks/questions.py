"""Questions in the batches in which they are answered, and the answers that a model writes to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.decoding.generate import generate_batch
from burnish.models.sharded import compute
from burnish.tasks.task import Predictor, Question

_BATCH = 32


def answer_batches(questions: Sequence[Question]) -> list[list[int]]:
    """Numbers of the questions of each batch: prompts of similar length together, prompts with images on their own.

    Args:
        questions: in any order.

    Returns:
        Batches by length, the longest prompts last; after them those with images.
    """
    order = sorted(range(len(questions)), key=lambda index: len(questions[index].prompt_ids))
    plain = [index for index in order if questions[index].inputs is None]
    batches = [plain[begin : begin + _BATCH] for begin in range(0, len(plain), _BATCH)]
    return batches + [[index] for index in order if questions[index].inputs is not None]


def written_answers(
    network: Any,
    tokenizer: Any,
    predictor: Predictor,
    questions: Sequence[Question],
    max_new_tokens: int,
    precision: str,
) -> list[str]:
    """Greedy answers to one batch of questions.

    Args:
        network: in evaluation mode, on its device.
        tokenizer: of the network.
        predictor: determines where an answer ends, and which part of the text it is.
        questions: of a batch of `answer_batches`.
        max_new_tokens: maximum length of an answer.
        precision: of the arithmetic.
    """
    load = questions[0].inputs
    outputs = compute(
        network,
        generate_batch,
        tokenizer,
        [question.prompt_ids for question in questions],
        predictor.stop_ids,
        max_new_tokens,
        precision,
        inputs=load() if load else None,
    )
    texts = (tokenizer.decode(predictor.visible_ids(ids), skip_special_tokens=True) for ids in outputs)
    return [predictor.answer_text(text) for text in texts]
