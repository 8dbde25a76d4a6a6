"""Generating answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from burnish.decoding import support
from burnish.decoding.context import longest_answer, prompt_room
from burnish.decoding.generate import Generator, generate_batch
from burnish.decoding.reference import generate_reference
from burnish.decoding.row import Asked
from burnish.decoding.sampling import Sampling
from burnish.decoding.text_stream import Decoder
from tests.tiny_models import CONTEXT, LAYOUTS, make_network

LENGTHS = (1, 4, 9, 17, 30)
EOS = 2


def prompts_of(lengths: tuple[int, ...]) -> list[list[int]]:
    """Random prompts."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 300, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def greedy(network: Any, prompt: list[int], number: int) -> list[int]:
    """The likeliest token, one after the other until EOS, by reading everything again each time."""
    ids = list(prompt)
    for _ in range(number):
        likeliest = int(network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if likeliest == EOS:
            break
        ids.append(likeliest)
    return ids[len(prompt) :]


class Widest(TorchDispatchMode):
    """Keeps the largest number of elements that one operand of a product has."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.bmm.default, torch.ops.aten.mm.default):
            self.elements = max(self.elements, *(one.numel() for one in args))
        return func(*args, **(kwargs or {}))


def test_the_output_matrix_is_not_copied_for_each_prompt(tiny_tokenizer: Any) -> None:
    network = make_network("llama")
    with Widest() as seen:
        generate_batch(network, tiny_tokenizer, prompts_of((9, 9, 9)), [EOS], 2)
    assert seen.elements == network.get_output_embeddings().weight.numel()


LIMITED: dict[str, tuple[Any, dict[str, Any]]] = {
    "bart": (transformers.BartConfig, {"max_position_embeddings": 24}),
    "mbart": (transformers.MBartConfig, {"max_position_embeddings": 24, "decoder_start_token_id": 2}),
    "pegasus": (transformers.PegasusConfig, {"max_position_embeddings": 24}),
    "led": (
        transformers.LEDConfig,
        {"max_encoder_position_embeddings": 32, "max_decoder_position_embeddings": 24, "attention_window": 16},
    ),
}


@pytest.mark.parametrize("layout", LIMITED)
def test_answers_of_encoder_decoders_end_with_their_positions(layout: str, tiny_tokenizer: Any) -> None:
    """Prompt and answer have positions of their own: one is truncated, the other ends."""
    make, positions = LIMITED[layout]
    sizes = {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    layers = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    config = make(vocab_size=300, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes, **layers, **positions)
    torch.manual_seed(0)
    network = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    network.generation_config.forced_eos_token_id = None
    room = prompt_room(network, 100)
    assert room == (32 if layout == "led" else 24)
    prompts = prompts_of((50, 5))
    assert longest_answer(network, 50, 100, False) == 24
    (cut, *others), (same,) = (
        generate_batch(network, tiny_tokenizer, asked, [299], 100) for asked in (prompts, [prompts[0][-room:]])
    )
    assert cut == same
    assert all(len(answer) <= 24 for answer in (cut, *others))
    assert max(len(answer) for answer in (cut, *others)) == 24


def test_answers_of_relative_positions_have_no_end(tiny_tokenizer: Any) -> None:
    config = transformers.T5Config(
        vocab_size=300, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, decoder_start_token_id=0, pad_token_id=0
    )
    network = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    assert prompt_room(network, 100) is None
    assert longest_answer(network, 600, 2_000, False) == 2_000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_answers_as_each_prompt_alone(layout: str, tiny_tokenizer: Any) -> None:
    """Prompts of many lengths, so all but one are padded on the left."""
    network, prompts = make_network(layout), prompts_of(LENGTHS)
    expected = [greedy(network, prompt, 12) for prompt in prompts]
    assert len({tuple(answer) for answer in expected}) == len(prompts)
    assert any(len(set(answer)) > 6 for answer in expected), "a model that repeats one token shows little"
    assert generate_batch(network, tiny_tokenizer, prompts, [EOS], 12) == expected
    assert [generate_batch(network, tiny_tokenizer, [prompt], [EOS], 12)[0] for prompt in prompts] == expected


def test_an_answer_ends_before_its_stop_token(tiny_tokenizer: Any) -> None:
    network, prompts = make_network("llama"), prompts_of(LENGTHS)
    whole = generate_batch(network, tiny_tokenizer, prompts, [EOS], 12)
    stops = [EOS, whole[0][4], whole[1][7]]
    ends = [min([answer.index(stop) for stop in stops if stop in answer], default=12) for answer in whole]
    assert ends[0] <= 4
    assert max(ends) > min(ends)
    stopped = generate_batch(network, tiny_tokenizer, prompts, stops, 12)
    assert stopped == [answer[:end] for answer, end in zip(whole, ends, strict=True)]


def test_a_prompt_too_long_loses_its_oldest_tokens(tiny_tokenizer: Any) -> None:
    network = make_network("gpt2")
    (prompt,) = prompts_of((200,))
    (answer,) = generate_batch(network, tiny_tokenizer, [prompt], [EOS], 10)
    assert answer == greedy(network, prompt[-(CONTEXT - 10) :], 10)


def test_an_answer_never_outgrows_the_context(tiny_tokenizer: Any) -> None:
    network, (prompt,) = make_network("gpt2"), prompts_of((9,))
    (answer,) = generate_batch(network, tiny_tokenizer, [prompt], [EOS], 10 * CONTEXT)
    assert answer[:20] == greedy(network, prompt, 20)


@pytest.mark.parametrize("habit", [{"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"num_beams": 4}], ids=str)
def test_greedy_is_greedy_whatever_the_base_is_used_to(habit: dict[str, Any], tiny_tokenizer: Any) -> None:
    """Base models bring a generation_config.json; Qwen's, for one, punishes repetition."""
    network, prompts = make_network("llama"), prompts_of(LENGTHS)
    expected = generate_batch(network, tiny_tokenizer, prompts, [EOS], 20)
    network.generation_config.update(**habit)
    assert generate_batch(network, tiny_tokenizer, prompts, [EOS], 20) == expected


def test_sampling_follows_the_seed_and_the_temperature(tiny_tokenizer: Any) -> None:
    network, prompts = make_network("llama"), prompts_of((5,))

    def answer(seed: int, temperature: float) -> list[int]:
        torch.manual_seed(seed)
        return generate_batch(network, tiny_tokenizer, prompts, [EOS], 20, sampling=Sampling(temperature))[0]

    assert answer(1, 1.0) == answer(1, 1.0)
    assert len({tuple(answer(seed, 1.0)) for seed in range(5)}) == 5
    assert answer(1, 1e-4) == answer(1, 0.0), "near zero, the likeliest token wins"


@pytest.mark.parametrize("sampling", [Sampling(1.0, top_k=1), Sampling(1.0, top_p=1e-6)])
def test_drawing_from_one_token_is_greedy(sampling: Sampling, tiny_tokenizer: Any) -> None:
    network, prompts = make_network("llama"), prompts_of((5,))
    expected = greedy(network, prompts[0], 12)
    assert generate_batch(network, tiny_tokenizer, prompts, [EOS], 12, sampling=sampling)[0] == expected
    assert generate_batch(network, tiny_tokenizer, prompts, [EOS], 12, sampling=Sampling(1.0))[0] != expected


@torch.no_grad()
def test_the_repetition_penalty_weighs_on_tokens_that_were_there(tiny_tokenizer: Any) -> None:
    network, prompt, penalty = make_network("llama"), prompts_of((5,))[0], 1.8
    ids = list(prompt)
    for _ in range(10):
        logits = network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        seen = torch.tensor(sorted(set(ids)))
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        ids.append(int(logits.argmax()))
    sampling = Sampling(repetition_penalty=penalty)
    assert generate_batch(network, tiny_tokenizer, [prompt], [], 10, sampling=sampling)[0] == ids[len(prompt) :]
    assert generate_reference(network, tiny_tokenizer, [Asked(prompt, (), 10, sampling)], "fp32") == [
        ids[len(prompt) :]
    ]
    assert ids[len(prompt) :] != greedy(network, prompt, 10)


def streamed(tokenizer: Any, ids: list[int]) -> list[str]:
    """The pieces of an answer, the rest last."""
    decoder = Decoder(tokenizer)
    return [piece for piece in [*map(decoder.add, ids), decoder.rest()] if piece]


def test_the_stream_is_the_answer_in_whole_characters(tiny_tokenizer: Any) -> None:
    text = "naïve – 狐 and 🦊 end"
    ids = tiny_tokenizer(text).input_ids
    assert len(ids) > len(text), "some characters take several tokens"
    pieces = streamed(tiny_tokenizer, ids)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 10


def test_the_stream_gives_out_even_half_a_character_at_the_end(tiny_tokenizer: Any) -> None:
    ids = tiny_tokenizer("a🦊").input_ids[:-1]
    assert "".join(streamed(tiny_tokenizer, ids)) == tiny_tokenizer.decode(ids)


@pytest.mark.parametrize("is_sharded", [False, True])
def test_hands_over_each_token_that_it_generates(
    is_sharded: bool, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, prompts = make_network("llama"), prompts_of((5,))
    if is_sharded:  # so by transformers' `generate`
        monkeypatch.setattr(support, "is_sharded", lambda network: True)
    whole = generate_batch(network, tiny_tokenizer, prompts, [], 15)[0]
    stop = whole[9]
    seen: list[int] = []
    (ids,) = Generator(network, tiny_tokenizer, "fp32").answer(prompts, [stop], 15, on_token=seen.append)
    assert seen == [*ids, stop]
    assert ids == whole[: whole.index(stop)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(repetition_penalty=1.4)], ids=["greedy", "penalty"])
def test_answers_are_those_of_transformers(layout: str, sampling: Sampling, tiny_tokenizer: Any) -> None:
    network, prompts = make_network(layout), prompts_of(LENGTHS)
    found = generate_batch(network, tiny_tokenizer, prompts, [299], 12, sampling=sampling)
    expected = generate_reference(network, tiny_tokenizer, [Asked(ids, [299], 12, sampling) for ids in prompts], "fp32")
    assert found == [ids[: ids.index(299)] if 299 in ids else ids for ids in expected]


def test_a_generator_that_was_interrupted_can_be_used_again(tiny_tokenizer: Any) -> None:
    network, prompts = make_network("llama"), prompts_of((20, 25))
    expected = [generate_batch(network, tiny_tokenizer, [ids], [EOS], 12) for ids in prompts]
    generator = Generator(network, tiny_tokenizer, "fp32", kept_bytes=10**7)

    def interrupt(token: int) -> None:
        raise KeyboardInterrupt

    for ids, answer in zip(prompts * 2, expected * 2, strict=True):
        with pytest.raises(KeyboardInterrupt):
            generator.answer([ids], [EOS], 12, on_token=interrupt)
        assert generator.answer([ids], [EOS], 12) == answer


def test_a_network_that_is_trained_can_be_trained_after_it_answered(tiny_tokenizer: Any) -> None:
    network = make_network("llama").train()
    generate_batch(network.eval(), tiny_tokenizer, prompts_of((5, 9)), [EOS], 6)
    network.train()(input_ids=torch.tensor(prompts_of((9,)))).logits.sum().backward()
    assert network.get_input_embeddings().weight.grad is not None
