"""What a training came to: the loss of a saved model or adapter, measured the same way whoever trained it.

    python bench/judge.py SETTINGS.json RESULT

RESULT is a folder for transformers or PEFT. The first rows are evaluated one at a time, in fp32 on the CPU and in bf16
on CUDA. For texts it prints the mean negative log-likelihood of a token; for pairs the mean DPO loss with beta 0.1
(arXiv 2305.18290, equation 7), the reference being the same network without its adapter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from quantized import nf4
from settings import Settings, read_settings
from texts import pair_ids
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

BETA = 0.1
_ROWS = 24
"""Number of rows for the evaluation."""


def load_result(settings: Settings, result: Path) -> Any:
    """The trained network, in evaluation mode."""
    is_adapter = (result / "adapter_config.json").is_file()
    dtype = torch.float32 if settings.device == "cpu" else torch.bfloat16
    folder = settings.model if is_adapter else str(result)
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **nf4(settings))
    if is_adapter:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, str(result))
    return network.to(settings.device).eval()


def log_likelihood(network: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Of the answer's tokens after the prompt, summed, in nats."""
    ids = torch.tensor([prompt + answer], device=network.device)
    logits = network(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).sum()


def text_loss(network: Any, tokenizer: Any, examples: list[dict[str, Any]]) -> float:
    """Mean over the tokens of all texts, EOS counted; the first token of each is not predicted."""
    total, tokens = 0.0, 0
    for example in examples:
        first, *rest = [*tokenizer(example["text"]).input_ids, tokenizer.eos_token_id]
        total -= log_likelihood(network, [first], rest).item()
        tokens += len(rest)
    return total / tokens


def dpo_loss(network: Any, tokenizer: Any, examples: list[dict[str, Any]]) -> float:
    """Mean over the pairs."""
    total = 0.0
    for example in examples:
        pairs = pair_ids(example, tokenizer)
        chosen, rejected = (log_likelihood(network, *pair) for pair in pairs)
        with network.disable_adapter():
            chosen_before, rejected_before = (log_likelihood(network, *pair) for pair in pairs)
        total -= logsigmoid(BETA * ((chosen - chosen_before) - (rejected - rejected_before))).item()
    return total / len(examples)


def main() -> None:
    """Prints the loss."""
    settings, result = read_settings(Path(sys.argv[1])), Path(sys.argv[2])
    network, tokenizer = load_result(settings, result), AutoTokenizer.from_pretrained(settings.model)
    measure = dpo_loss if settings.task == "dpo" else text_loss
    with torch.no_grad():
        print(json.dumps(measure(network, tokenizer, settings.examples()[:_ROWS])))


if __name__ == "__main__":
    main()
