"""On real weights: a batch answers as `generate` does, and llama.cpp answers from a GGUF file as the model does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from burnish.decoding.ahead import Pace
from burnish.decoding.batch import Batch
from burnish.decoding.reference import generate_reference
from burnish.decoding.row import Asked, Row
from burnish.decoding.sampling import Sampling
from burnish.export.gguf.file import Weights, check_vocabulary, check_weights, write_gguf
from burnish.export.gguf.layouts import describe
from burnish.export.gguf.vocabulary import Vocabulary, guesses, read_vocabulary
from burnish.inference.llama_cpp import LlamaCpp
from burnish.inference.proof import ODD_TEXTS, prove_outputs, prove_tokens
from burnish.models import answering_blocks
from burnish.models.answering import arrange_for_answers
from burnish.models.attention import NAMES
from burnish.models.packed_linear import can_pack

pytestmark = pytest.mark.slow
QUESTIONS = (
    "What is the capital of France?",
    "Name three colours.",
    "Write one sentence about the sea.",
    "What is 12 times 12?",
)


@pytest.fixture
def folder(real_model: Callable[[str], Path]) -> Path:
    return real_model("smollm2")


@pytest.fixture
def network(folder: Path) -> Any:
    """SmolLM2 in fp32."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


def prompts(tokenizer: Any) -> list[list[int]]:
    """The questions by the model's own template."""
    turns = ([{"role": "user", "content": text}] for text in QUESTIONS)
    return [tokenizer.apply_chat_template(one, add_generation_prompt=True)["input_ids"] for one in turns]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_guessed_tokens_change_no_answer(folder: Path, precision: str) -> None:
    """In bf16, where the logits are the same bit for bit: else nothing is guessed, and there is nothing to compare."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    arrange_for_answers(network, precision)
    guesses = 0
    for ids in prompts(tokenizer):
        answers = []
        for looks_up in (None, False):
            batch = Batch(network, precision, looks_up=looks_up)
            row = Row(Asked(ids, (2,), 48))
            batch.join([row])
            steps = 0
            while batch.rows:
                batch.step()
                steps += 1
            answers.append(row.new)
            guesses += len(row.new) - 1 - steps
        assert answers[0] == answers[1]
    assert guesses or precision == "bf16"


def test_fast_answers_in_bf16_are_as_exact_as_the_models_own(folder: Path, network: Any) -> None:
    """Beside fp32; tokens such as the first ones of the vocabulary, which the weights never learned, are far off in
    bf16 in any arithmetic, and refuse nothing."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    half: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="bfloat16").eval()

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([model(input_ids=torch.tensor([ids])).logits[0].float() for ids in prompts(tokenizer)])

    def errors() -> torch.Tensor:
        return (logits(half) - exact).norm(dim=-1) / exact.norm(dim=-1)

    exact = logits(network)
    own = errors()
    arrange_for_answers(half, "bf16")
    assert half.config._attn_implementation == NAMES["cpu"]
    assert type(half.model.layers[0].self_attn).__name__ == "AnsweringLlamaAttention" or not can_pack(torch.bfloat16)
    assert errors().median() <= 1.25 * own.median()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_block_gives_what_its_parts_give(folder: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, so that the tokens drawn are the same, too."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    arrange_for_answers(network, precision)
    if not can_pack(network.dtype):
        pytest.skip(f"no products in {precision} on this machine")
    assert {type(block).__name__ for block in network.model.layers} == {"AnsweringLlamaDecoderLayer"}
    sampling, answers = Sampling(1.0, seed=1), []
    for _ in range(2):
        rows = [Row(Asked(ids, (2,), 24, sampling)) for ids in prompts(tokenizer)]
        batch = Batch(network, precision, looks_up=False)
        for part in batch.parts(rows):
            batch.join(part)
        while batch.rows:
            batch.step()
        answers.append([row.new for row in rows])
        monkeypatch.setattr(answering_blocks, "_are_few", lambda *given: False)
    assert answers[0] == answers[1]


def test_guesses_in_several_rows_change_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are checked, which depends on the time that steps take; here all of them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    arrange_for_answers(network, "fp32")
    monkeypatch.setattr(Pace, "cost", lambda pace, tokens, others: 1.0)
    answers, chances, steps = [], [], []
    texts = ["one two three four " * 6, "A, B, C, D, " * 9, '{"name": "Ann", "age": 3}\n{"name": "Bob", "age":']
    for looks_up in (False, None):
        rows = [Row(Asked(tokenizer(text).input_ids, (2,), 40, top=0)) for text in texts]
        batch = Batch(network, "fp32", looks_up=looks_up, together=True)
        for part in batch.parts(rows):
            batch.join(part)
        said: dict[Row, list[float]] = {row: [] for row in rows}
        steps.append(0)
        while batch.rows:
            steps[-1] += 1
            for row, token in batch.step():
                assert token is not None
                assert token.log_probability is not None
                said[row].append(token.log_probability)
        answers.append([row.new for row in rows])
        chances.append(torch.tensor([one for row in rows for one in said[row]]))
    assert answers[0] == answers[1]
    assert float((chances[0] - chances[1]).abs().max()) < 1e-3
    assert steps[1] < steps[0]


def test_answers_in_a_batch_are_those_of_generate(folder: Path, network: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    asked = prompts(tokenizer)
    found = [generate_reference(network, tokenizer, [Asked(ids, [2], 24)], "fp32")[0] for ids in asked]
    expected = [[token for token in ids if token != 2] for ids in found]
    batch = Batch(network, "fp32", kept_bytes=10**8)
    rows = [Row(Asked(ids, (2,), 24)) for ids in asked]
    for row in rows:
        batch.join([row])
        batch.step()
    while batch.rows:
        batch.step()
    assert [[token for token in row.new if token != 2] for row in rows] == expected
    assert "Paris" in tokenizer.decode(expected[0])


def test_llama_cpp_answers_alike(folder: Path, network: Any, tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    weights = Weights.of(folder, config, describe(config, config.vocab_size))
    vocabulary, file = read_vocabulary(tokenizer, config.vocab_size, [2]), tmp_path / "model.gguf"

    def opened(one: Vocabulary) -> LlamaCpp:
        file.unlink(missing_ok=True)
        write_gguf(file, weights, one, "q4_0", "smollm2")
        return LlamaCpp(file, 256)

    asked = prompts(tokenizer)
    texts = [tokenizer.decode(ids) for ids in asked]
    found, proof = prove_tokens(tokenizer, vocabulary, guesses(tokenizer), texts, opened)
    assert proof.odd_texts == len(ODD_TEXTS)
    check_vocabulary(file, found)
    assert check_weights(file, weights, "q4_0") < 0.13
    file.unlink()
    write_gguf(file, weights, found, "f32", "smollm2")
    assert check_weights(file, weights, "f32") == 0
    with LlamaCpp(file, 256) as llama:
        outputs = prove_outputs(llama, network, asked, [2], {0, 1}, 24, 1e-4)
    assert outputs.compared > 40
    assert outputs.ended > 0
