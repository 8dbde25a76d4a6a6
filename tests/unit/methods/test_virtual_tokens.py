"""Methods `prompt`, `prefix` and `p-tuning`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlavaConfig, MambaConfig

from burnish.decoding.generate import generate_batch
from burnish.errors import RecipeError
from burnish.methods import make_method
from burnish.methods.virtual_tokens import _keys_and_values, start_ids
from burnish.models.heads import Head, Target
from burnish.recipe.schema import PromptSection, Recipe, TrainSection
from tests.tiny_models import CONTEXT, make_network, make_tokenizer
from tests.unit.methods.adapted import apply_to, make_case, outputs_of, train

FAMILY = ("prompt", "prefix", "p-tuning")
TEXT = "Where does the old man live?"


def apply(method: str, network: Any, tokenizer: Any = None, **options: Any) -> Any:
    """The network with virtual tokens before it."""
    torch.manual_seed(0)
    recipe = Recipe(method=method, prompt=PromptSection(**options))
    return make_method(method).apply(network, recipe, Target(tokenizer=tokenizer)).eval()


@pytest.mark.parametrize("layout", ["gpt2", "llama", "qwen2", "phi3"])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_begins_exactly_as_the_words_before_the_text(method: str, layout: str) -> None:
    tokenizer = make_tokenizer()
    words = tokenizer(TEXT, add_special_tokens=False).input_ids[:5]  # Phi-3's window is 8
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        expected = make_network(layout)(input_ids=torch.cat([torch.tensor([words]), ids], dim=1)).logits
        tuned = apply(method, make_network(layout), tokenizer, tokens=len(words), text=TEXT)
        torch.testing.assert_close(tuned(input_ids=ids).logits, expected[:, len(words) :], rtol=1e-4, atol=1e-4)


def test_a_text_is_repeated_or_cut_to_fit() -> None:
    tokenizer = make_tokenizer()
    words = tokenizer(TEXT, add_special_tokens=False).input_ids
    table = make_network("llama").get_input_embeddings().weight
    for number in (2, len(words) + 3):
        tuned = apply("prompt", make_network("llama"), tokenizer, tokens=number, text=TEXT)
        rows = [words[place % len(words)] for place in range(number)]
        assert torch.equal(tuned.prompt_encoder["default"].embedding.weight, table[rows])


def test_without_a_text_random_words() -> None:
    table = make_network("llama").get_input_embeddings().weight
    start = apply("prompt", make_network("llama"), tokens=5).prompt_encoder["default"].embedding.weight
    assert all(any(row.equal(word) for word in table) for row in start)


def test_a_text_is_taken_without_the_tokens_around_it() -> None:
    def tokenizer(text: str, add_special_tokens: bool = True) -> Any:
        return SimpleNamespace(input_ids=[1, 7, 8, 2] if add_special_tokens else [7, 8])

    ids = start_ids(make_network("llama"), PromptSection(text="any"), 3, Target(tokenizer=tokenizer))
    assert ids.tolist() == [7, 8, 7]


def test_outputs_of_a_decoder_are_as_many_as_its_own_tokens(tmp_path: Path) -> None:
    """However few tokens the encoder has."""
    case = make_case("t5", tmp_path)
    _, network = apply_to(case, "prompt")
    short = {name: tensor if name.startswith("decoder") else tensor[:, :3] for name, tensor in case.inputs.items()}
    assert outputs_of(network, short).shape[:2] == case.inputs["decoder_input_ids"].shape


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(RecipeError, match="empty"):
        apply("prompt", make_network("llama"), make_tokenizer(), text="")


def test_the_network_of_p_tuning_is_as_wide_as_asked() -> None:
    for asked, width in (("auto", 32), (7, 7)):
        encoder = apply("p-tuning", make_network("llama"), hidden=asked).prompt_encoder["default"]
        assert encoder.mlp_head[0].out_features == width


@pytest.mark.parametrize("method", FAMILY)
def test_answers_do_not_depend_on_who_else_is_asked(method: str, tmp_path: Path) -> None:
    """Padding on the left would stand between the virtual tokens and the prompt: only equal lengths go together."""
    case = make_case("gpt2", tmp_path)
    _, network = apply_to(case, method)
    train(network, case.inputs)
    prompts, tokenizer = [[5, 6, 7, 8, 9, 10, 11], [20, 21], [9, 8, 7, 6, 5, 4, 3], [30, 31]], make_tokenizer()
    together = generate_batch(network, tokenizer, prompts, [], 8)
    alone = [generate_batch(network, tokenizer, [prompt], [], 8)[0] for prompt in prompts]
    assert len({*map(tuple, alone)}) > 2
    assert together == alone


@pytest.mark.parametrize("method", FAMILY)
def test_virtual_tokens_count_as_context(method: str) -> None:
    """GPT-2 has no position beyond its context: a prompt that is too long must be cut in time."""
    assert make_method(method).virtual_tokens(Recipe(prompt=PromptSection(tokens=7))) == 7
    assert make_method(method).virtual_tokens(Recipe()) == 20
    tuned = apply(method, make_network("gpt2"))
    (answer,) = generate_batch(tuned, make_tokenizer(), [[5] * 2 * CONTEXT], [], 10)
    assert 0 < len(answer) <= 10


@pytest.mark.parametrize("method", FAMILY)
def test_refuses_with_the_reason(method: str) -> None:
    refuses = make_method(method).refuses
    llama, bert = LlamaConfig(architectures=["LlamaForCausalLM"]), _bert()
    assert refuses(Head(), llama) == ""
    assert "masked" in refuses(Head("AutoModelForMaskedLM", None), bert)  # type: ignore[arg-type]
    assert ("decoders" in refuses(Head(peft_type="TOKEN_CLS"), bert)) == (method == "prefix")
    assert refuses(Head(peft_type="SEQ_CLS"), llama) == ""


def _bert() -> Any:
    from transformers import BertConfig

    return BertConfig(architectures=["BertForMaskedLM"])


def test_the_refused_head_would_really_be_wrong(tmp_path: Path) -> None:
    """A decoder that classifies reads its last position, and takes padding for it where it sees only vectors."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = make_network("llama").config
    config.num_labels = 3
    network = AutoModelForSequenceClassification.from_config(config)
    recipe = Recipe(method="prompt", prompt=PromptSection(tokens=4))
    tuned = make_method("prompt").apply(network, recipe, Target("SEQ_CLS", ("score",))).eval()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0]])
    with torch.no_grad():
        padded = outputs_of(tuned, {"input_ids": ids, "attention_mask": (ids > 0).long()})
        alone = outputs_of(tuned, {"input_ids": ids[:, :3], "attention_mask": torch.ones(1, 3)})
    assert not torch.allclose(padded, alone, atol=1e-3)


def test_prefix_needs_keys_and_values_in_every_layer() -> None:
    config = MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, state_size=4)
    with pytest.raises(RecipeError, match="prefix"):
        apply("prefix", AutoModelForCausalLM.from_config(config))


def test_prefix_must_lie_within_a_sliding_window() -> None:
    with pytest.raises(RecipeError, match="the last 7 tokens") as caught:
        apply("prefix", make_network("phi3"), tokens=14)
    assert "prompt.tokens=7" in caught.value.fix


def test_prefix_may_fill_the_window() -> None:
    """Phi-3's cache holds seven tokens beside the one that attends to them."""
    assert apply("prefix", make_network("phi3"), tokens=7).peft_config["default"].num_virtual_tokens == 7


def test_prefix_reads_keys_and_values_of_a_model_that_is_not_to_cache() -> None:
    network = make_network("llama", use_cache=False)
    given = torch.tensor([5, 6, 7])
    assert _keys_and_values(network, given).equal(_keys_and_values(make_network("llama"), given))


def test_pictures_are_found_by_ids_that_virtual_tokens_do_not_have() -> None:
    for method in FAMILY:
        assert "virtual tokens have no ids" in make_method(method).refuses(Head(), LlavaConfig())


def test_prefix_refuses_gradient_checkpointing() -> None:
    recipe = Recipe(method="prefix", train=TrainSection(gradient_checkpointing=True))
    with pytest.raises(RecipeError, match="checkpointing"):
        make_method("prefix").apply(make_network("llama"), recipe, Target())


@pytest.mark.parametrize("method", ["prompt", "p-tuning"])
def test_more_labels_than_tokens_are_all_given(method: str) -> None:
    """What a row gives as a whole is not cut to the length of its text, as the outputs of tokens are."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = AutoModelForSequenceClassification.from_config(BertConfig(**sizes, intermediate_size=16, num_labels=7))
    recipe = Recipe(method=method, prompt=PromptSection(tokens=4))
    tuned = make_method(method).apply(network, recipe, Target("SEQ_CLS", ("classifier",))).eval()
    assert outputs_of(tuned, {"input_ids": torch.tensor([[5, 6, 7], [8, 9, 10]])}).shape == (2, 7)


def test_the_usual_number_of_virtual_tokens_and_why() -> None:
    network = make_network("llama")
    found = {name: make_method(name).choices(network, Recipe()) for name in FAMILY}
    assert {name: [(option, what) for option, what, _ in chosen] for name, chosen in found.items()} == {
        "prompt": [("prompt.tokens", 20)],
        "p-tuning": [("prompt.tokens", 20), ("prompt.hidden", network.get_input_embeddings().embedding_dim)],
        "prefix": [("prompt.tokens", 20)],
    }
    assert [make_method(name).virtual_tokens(Recipe()) for name in (*FAMILY, "lora")] == [20, 20, 20, 0]
    assert all(make_method(name).changes_at_start(Recipe()) for name in FAMILY)


def test_keys_and_values_are_taken_without_dropout_and_training_goes_on() -> None:
    kept = _keys_and_values(make_network("gpt2", resid_pdrop=0.5).train(), torch.tensor([5, 6, 7]))
    assert kept.equal(_keys_and_values(make_network("gpt2").eval(), torch.tensor([5, 6, 7])))
    assert (kept.dtype, kept.shape[1], kept.shape[3]) == (torch.float32, 2, 3)
    trained = make_network("gpt2").train()
    _keys_and_values(trained, torch.tensor([5]))
    assert trained.training
