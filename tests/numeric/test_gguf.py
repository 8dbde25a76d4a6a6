"""A GGUF file answers in llama.cpp as the model does in transformers, for each layout; and a spoilt one is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import torch
import transformers

from burnish.errors import BurnishError, InputError, MachineError
from burnish.export.gguf.file import Weights, check_vocabulary, check_weights, write_gguf
from burnish.export.gguf.layouts import describe
from burnish.export.gguf.types import check_types
from burnish.export.gguf.vocabulary import Vocabulary, guesses, read_vocabulary
from burnish.inference.exported import OutputProof
from burnish.inference.llama_cpp import LlamaCpp
from burnish.inference.proof import prove_outputs, prove_tokens
from tests.tiny_models import make_network, make_tokenizer, randomize_vectors, save_model

CONTEXT = 64
PROMPTS = ([5, 60, 61, 200, 7], [88, 3, 9], list(range(20, 60)))
_SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.25,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
_LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 2.0, 3.0, 4.0],
    "original_max_position_embeddings": 32,
}


def _other(name: str, **changes: Any) -> Callable[[], Any]:
    """Makes a random model by the name of its config."""

    def make() -> Any:
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**{**_SIZES, **changes})
        network = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        randomize_vectors(network, 0)
        return network

    return make


_SCALED = {"query_pre_attn_scalar": 8, "sliding_window": 16}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: make_network("llama"),
    "llama-linear": lambda: make_network(
        "llama", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    ),
    "llama-llama3": lambda: make_network("llama", rope_parameters=_LLAMA3),
    "llama-yarn": lambda: make_network("llama", rope_parameters=_YARN),
    "llama-biased-tied": lambda: make_network("llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "mistral": lambda: make_network("mistral", sliding_window=None),
    "qwen2": lambda: make_network("qwen2"),
    "qwen3": _other("Qwen3"),
    "gemma": _other("Gemma"),
    "gemma2": _other("Gemma2", **_SCALED, num_hidden_layers=4),
    "gemma3": _other("Gemma3Text", **_SCALED, num_hidden_layers=7),
    "phi3": lambda: make_network("phi3", sliding_window=None),
    "phi3-longrope": lambda: make_network("phi3", sliding_window=None, rope_parameters=_LONG),
    "gpt2": lambda: make_network("gpt2"),
}
QUICK = "llama-llama3", "qwen3", "gemma3", "phi3", "gpt2"
"""Each has a way of its own; the others differ from one of them by a part that another one has."""


def written(folder: Path, network: Any, kind: str = "f32") -> tuple[Path, Weights, Vocabulary]:
    """A file of a model with the tiny tokenizer."""
    tokenizer = make_tokenizer()
    model = save_model(folder / "model", network, tokenizer)
    config = transformers.AutoConfig.from_pretrained(model)
    weights = Weights.of(model, config, describe(config, config.vocab_size))
    vocabulary = read_vocabulary(tokenizer, config.vocab_size, [2])
    file = folder / "model.gguf"
    write_gguf(file, weights, vocabulary, kind, "tiny")
    return file, weights, vocabulary


def proved(file: Path, network: Any, tolerance: float = 1e-4) -> OutputProof:
    """What llama.cpp answers from a file, beside the network."""
    with LlamaCpp(file, CONTEXT, 1) as llama:
        return prove_outputs(llama, network, PROMPTS, [2], {0, 1}, 12, tolerance)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_llama_cpp_answers_as_the_model_does(name: str, tmp_path: Path) -> None:
    network = MODELS[name]()
    file, weights, vocabulary = written(tmp_path, network)
    check_vocabulary(file, vocabulary)
    assert check_weights(file, weights, "f32") == 0
    tolerance = weights.described.layout.tolerance
    assert tolerance == (1e-2 if "gelu" in str(weights.config) else 1e-4)
    assert proved(file, network, tolerance).compared > 10


def changed(weights: Weights, change: Callable[[str, numpy.ndarray], numpy.ndarray]) -> Weights:
    """The same weights, some of them changed as they are written."""
    layout = weights.described.layout

    def spoil(key: str, tensor: numpy.ndarray, config: Any) -> numpy.ndarray:
        return change(key, layout.change(key, tensor, config))

    return replace(weights, described=replace(weights.described, layout=replace(layout, change=spoil)))


def rewritten(file: Path, weights: Weights, vocabulary: Vocabulary, kind: str = "f32") -> Path:
    """The file written again."""
    file.unlink()
    write_gguf(file, weights, vocabulary, kind, "tiny")
    return file


def test_queries_and_keys_that_are_not_permuted_are_caught(tmp_path: Path) -> None:
    network = make_network("llama")
    file, weights, vocabulary = written(tmp_path, network)
    layout = replace(weights.described.layout, change=lambda name, tensor, config: tensor)
    plain = replace(weights, described=replace(weights.described, layout=layout))
    with pytest.raises(BurnishError, match="answers differently"):
        proved(rewritten(file, plain, vocabulary), network)


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0", "q4_k_m"])
def test_a_spoilt_tensor_is_caught(kind: str, tmp_path: Path) -> None:
    network = make_network("llama", num_attention_heads=4, hidden_size=256 if "k" in kind else 64)
    file, weights, vocabulary = written(tmp_path, network, kind)
    assert check_weights(file, weights, kind) <= (0 if kind == "f32" else 0.2)

    def spoil(key: str, tensor: numpy.ndarray) -> numpy.ndarray:
        if key == "model.layers.1.mlp.up_proj.weight":
            tensor = tensor.copy()
            tensor[3, 5] += abs(tensor[3]).max()
        return tensor

    with pytest.raises(BurnishError, match=r"blk\.1\.ffn_up\.weight"):
        check_weights(rewritten(file, changed(weights, spoil), vocabulary, kind), weights, kind)


def test_a_tensor_in_another_format_is_caught(tmp_path: Path) -> None:
    file, weights, _ = written(tmp_path, make_network("llama"), "f16")
    with pytest.raises(BurnishError, match="is stored as F16"):
        check_weights(file, weights, "f32")


_WIDE = {"num_attention_heads": 4, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8}


@pytest.mark.parametrize("kind", ["q6_k", "q5_k_m", "q4_k_m"])
def test_k_quants_are_near_the_weights_and_load(kind: str, tmp_path: Path) -> None:
    network = make_network("llama", **_WIDE)
    file, weights, _ = written(tmp_path, network, kind)
    worst = {"q6_k": 0.03, "q5_k_m": 0.06, "q4_k_m": 0.12}[kind]
    assert worst / 3 < check_weights(file, weights, kind) < worst
    with LlamaCpp(file, CONTEXT, 1) as llama:
        assert llama.complete(PROMPTS[0], 4).ids


def test_a_library_that_does_not_quantize(monkeypatch: pytest.MonkeyPatch) -> None:
    check_types(["q4_k_m"])
    monkeypatch.setattr("burnish.export.gguf.types._quantizer", lambda: None)
    check_types(["q8_0"])
    with pytest.raises(MachineError, match="`q4_k_m` cannot be written here"):
        check_types(["q8_0", "q4_k_m"])


def test_a_tensor_that_is_no_number_is_caught(tmp_path: Path) -> None:
    file, weights, vocabulary = written(tmp_path, make_network("llama"))
    broken = changed(weights, lambda key, tensor: tensor * numpy.nan if key == "model.norm.weight" else tensor)
    with pytest.raises(BurnishError, match=r"output_norm\.weight"):
        check_weights(rewritten(file, broken, vocabulary), weights, "f32")


def test_a_wrong_end_is_caught(tmp_path: Path) -> None:
    """An answer of this model holds token 148, at which it would not end."""
    network = make_network("llama")
    file, weights, vocabulary = written(tmp_path, network)
    wrong = replace(vocabulary, ids={**vocabulary.ids, "eos": 148})
    with pytest.raises(BurnishError, match="eos_token_id"):
        check_vocabulary(rewritten(file, weights, wrong), vocabulary)
    with pytest.raises(BurnishError, match="ends the answer, and the model goes on"):
        proved(file, network)
    with (
        LlamaCpp(rewritten(file, weights, vocabulary), CONTEXT, 1) as llama,
        pytest.raises(BurnishError, match="does not end"),
    ):
        prove_outputs(llama, network, PROMPTS, [2, 148], {0, 1}, 12, 1e-4)


def test_a_file_that_is_none_ends_the_other_process_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(BurnishError, match="cannot be loaded by llama.cpp"), LlamaCpp(file, CONTEXT, 1):
        pass


def test_the_split_is_found_by_trying(tmp_path: Path) -> None:
    """The tokenizer splits as GPT-2 does, which begins a word with one blank; Qwen's pattern keeps digits apart."""
    network, tokenizer = make_network("llama"), make_tokenizer()
    file, weights, vocabulary = written(tmp_path, network)
    tried = []

    def opened(one: Vocabulary) -> LlamaCpp:
        tried.append(one.split)
        return LlamaCpp(rewritten(file, weights, one), CONTEXT, 1)

    assert guesses(tokenizer)[0] == vocabulary.split == "gpt-2"
    found, proof = prove_tokens(tokenizer, vocabulary, ["gpt-2"], ["The red fox is 12345."], opened)
    assert (found.split, proof.texts, proof.tokens) == ("gpt-2", 1, len(tokenizer("The red fox is 12345.").input_ids))
    spoilt = replace(vocabulary, merges=vocabulary.merges[5:])
    with pytest.raises(BurnishError, match="other tokens"):
        prove_tokens(tokenizer, spoilt, ["gpt-2", "qwen2"], ["The red fox is in the garden."], opened)
    assert tried == ["gpt-2", "gpt-2", "qwen2"]


def test_the_factors_of_llama_3_are_those_of_transformers() -> None:
    network = make_network("llama", rope_parameters=_LLAMA3)
    expected = network.model.rotary_emb.inv_freq
    plain = 10000.0 ** -(torch.arange(0, 8, 2).float() / 8)
    factors = describe(network.config, 300).factors["rope_freqs.weight"]
    torch.testing.assert_close(plain / torch.from_numpy(factors), expected)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: make_network("llama", hidden_act="relu"), "activation is `relu`"),
        (_other("Gemma2", **{**_SCALED, "query_pre_attn_scalar": 100}), "scales queries by 100"),
        (lambda: make_network("gpt2", scale_attn_by_inverse_layer_idx=True), "scales attention by block"),
        (
            lambda: make_network("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            "scaled by `dynamic`",
        ),
        (_other("GPTNeoX", intermediate_size=64), "type `gpt_neox`"),
    ],
    ids=["activation", "scale", "by block", "positions", "unknown"],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        describe(make().config, 300)


def test_a_window_limits_the_context() -> None:
    described = describe(make_network("mistral").config, 300)
    assert described.context == 8
    assert "8 tokens" in described.notes[0]


def test_matrices_of_odd_width_stay_in_16_bits(tmp_path: Path) -> None:
    file, weights, _ = written(tmp_path, make_network("llama"), "q4_0")
    found = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert found["blk.0.ffn_down.weight"] == "F16", "48 numbers are not whole blocks"
    assert found["blk.0.attn_q.weight"] == "Q4_0"
    assert found["output.weight"] == found["token_embd.weight"] == "Q8_0"
    assert found["output_norm.weight"] == "F32"
    assert check_weights(file, weights, "q4_0") < 0.2


def sentence_pieces() -> Any:
    """A tokenizer of the kind that Llama 2, Mistral and Gemma have: pieces with a mark for blanks, and bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = [AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")]
    pieces = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=[*specials, *pieces], initial_alphabet=[], show_progress=False
    )
    tokenizer.train_from_iterator(["the red fox is in the garden", "a small boat sails over the water"], trainer)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = saved["added_tokens"][:3]
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    made = Tokenizer.from_str(json.dumps(saved))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)


def test_sentence_pieces_become_the_same_tokens(tmp_path: Path) -> None:
    tokenizer = sentence_pieces()
    network = make_network("llama", len(tokenizer))
    file, weights, _ = written(tmp_path, network)
    vocabulary = read_vocabulary(tokenizer, len(tokenizer), [2])
    assert (vocabulary.model, vocabulary.split, vocabulary.adds["space_prefix"]) == ("llama", "", True)
    assert vocabulary.types[:5] == [2, 3, 3, 6, 6], "unknown, control, control, byte, byte"
    texts = ["the red fox is over the water", "the garden", "né 😀 fox", "two  blanks"]

    def opened(one: Vocabulary) -> LlamaCpp:
        return LlamaCpp(rewritten(file, weights, one), CONTEXT, 1)

    found, proof = prove_tokens(tokenizer, vocabulary, [], texts, opened)
    assert (found, proof.texts, proof.split) == (vocabulary, 4, "")
    assert len(tokenizer("the garden").input_ids) == 2, "merges are used at all"
    unspaced = replace(vocabulary, adds={**vocabulary.adds, "space_prefix": False})
    with pytest.raises(BurnishError, match="other tokens"):
        prove_tokens(tokenizer, unspaced, [], texts, opened)
