"""The test rows of `bench/outcome.py` under one model: loss of the known answers, and generated answers.

    python bench/outcome_evaluation.py FOLDER ADAPTER ANSWERS     ADAPTER: a PEFT folder, or `-` for the base

The same for every program: the base by transformers, the adapter on it by PEFT, none of Burnish's fast arithmetic,
prompts by the chat template of the model. The loss is computed in fp32; greedy answers are generated in bf16, which
takes half as long, and which both programs trained the adapter beside. Prints one JSON object: of each test row
the summed loss in nats and the number of its tokens, and of the first ANSWERS rows the known and the given answer.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.data.batching.batches import BatchPlan
from burnish.decoding.generate import MAX_NEW_TOKENS
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.evaluate.answers import answer_questions
from burnish.prepare.context import other_rows
from burnish.prepare.encode import encode_records
from burnish.recipe.schema import ModelSection, Recipe
from burnish.tasks import make_task

BASE = "-"
CONTEXT = 1024
PRECISION = "fp32"
"""Of the arithmetic around the weights, which have a dtype of their own."""
_BATCH_TOKENS = 2048


def load(model: str, adapter: str) -> Any:
    """The base, or the base with an adapter on it."""
    network: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter != BASE:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, adapter)
    return network.eval()


def longest_answer(answers: list[int]) -> int:
    """Room for a generated answer in tokens, as `burnish train` has it: for the longest known one and a quarter more.

    Args:
        answers: tokens of the known ones.
    """
    return min(MAX_NEW_TOKENS, math.ceil(max(answers) * 1.25) + 8)


def evaluate(model: str, adapter: str, test: Path, num_answers: int) -> dict[str, Any]:
    """What `main` prints.

    Args:
        model: folder of the base.
        adapter: folder of the adapter, or `BASE`.
        test: the rows.
        num_answers: of how many rows answers are generated.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    recipe = Recipe(task="chat", model=ModelSection(name=model, device="cpu", precision=PRECISION, kernels="plain"))
    task = make_task("chat", tokenizer, recipe)
    records = other_rows(recipe, str(test), lambda event: None).test
    encoded = encode_records(task.encoder, records, CONTEXT)
    if encoded.rejected or encoded.truncated_rows:
        raise SystemExit(f"{test} has rows that cannot be evaluated whole: {encoded.rejected[:3]}")
    plan = BatchPlan(
        encoded.examples,
        collate=task.encoder.collate,
        context=CONTEXT,
        packing=False,
        step_tokens=_BATCH_TOKENS,
        micro_rows=_BATCH_TOKENS // CONTEXT,
        seed=0,
    )
    network = load(model, adapter)
    sums, counts = evaluate_rows(network, task, HeldOut.of(plan, encoded.owners), PRECISION).by_row()
    questions = [task.predictor.question(record) for record in records[:num_answers]]
    room = longest_answer([example.num_trained for example in encoded.examples])
    answers = answer_questions(
        network.to(torch.bfloat16),
        tokenizer,
        task.predictor,
        [one for one in questions if one is not None],
        room,
        PRECISION,
    )
    return {
        "sums": sums.tolist(),
        "counts": counts.tolist(),
        "expected": [answer.expected for answer in answers],
        "given": [answer.given for answer in answers],
        "most_tokens": room,
    }


def main() -> None:
    """Evaluates one model."""
    folder, adapter, num_answers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    model = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["model"]
    print(json.dumps(evaluate(model, adapter, folder / "test.jsonl", num_answers)))


if __name__ == "__main__":
    main()
