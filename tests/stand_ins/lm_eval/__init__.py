"""Stands in for lm-evaluation-harness: its interface, two tasks, and results in its form, computed on the model."""

from __future__ import annotations

import math
from typing import Any

import torch

_COLOURS = ("red", "blue", "green", "yellow", "grey")


@torch.no_grad()
def simple_evaluate(model: Any, tasks: list[str], log_samples: bool, bootstrap_iters: int) -> dict[str, Any]:
    """`colours`: how likely is each answer; `perplexing`: a figure that is no mean of rows."""
    assert log_samples
    assert bootstrap_iters
    result: dict[str, Any] = {"results": {}, "samples": {}, "higher_is_better": {}, "n-samples": {}}
    for task in tasks:
        samples = [_sample(model, number) for number in range(5)]
        result["samples"][task] = samples
        result["n-samples"][task] = {"original": 5, "effective": 5}
        result["higher_is_better"][task] = {"likely": True, "loss": False, "perplexity": False}
        mean = sum(sample["loss"] for sample in samples) / 5
        result["results"][task] = {"alias": task}
        if task == "colours":
            likely = sum(sample["likely"] for sample in samples) / 5
            result["results"][task] |= {"likely,none": likely, "likely_stderr,none": 0.1, "loss,none": mean}
        else:
            result["results"][task] |= {"perplexity,strict": math.exp(mean), "perplexity_stderr,strict": 0.5}
            result["results"][task] |= {"loss_stderr,strict": "N/A"}
    return result


def _sample(model: Any, number: int) -> dict[str, Any]:
    ids = model.tokenizer(f"It is {_COLOURS[number]}.", return_tensors="pt")["input_ids"].to(model.pretrained.device)
    loss = float(model.pretrained(input_ids=ids, labels=ids).loss)
    return {"doc_id": number, "filter": "none", "loss": loss, "likely": math.exp(-loss), "perplexity": loss}
