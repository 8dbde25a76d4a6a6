"""A model with fast paths gives what it gives without them, or is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from burnish.kernels.attention import NAME
from burnish.kernels.varlen_attention import VARLEN
from burnish.models import fast_paths
from burnish.models.fast_paths import FusedRMSNorm, arrange, install_fast_paths
from burnish.models.packing import row_inputs
from burnish.models.probe import probe_dtypes
from tests.snapshots import check_text
from tests.tiny_models import WINDOW, make_network
from tests.unit.kernels.comparison import distance
from tests.unit.models.tiny_families import (
    LENGTHS,
    Operations,
    make_family,
    packed_inputs,
    padded_inputs,
    plain_inputs,
)

DECODERS = ("gpt2", "llama", "qwen2", "gemma2", "phi3", "mistral")
WINDOWED = ("gemma2", "phi3", "mistral")
FAMILIES = (*DECODERS, "bert", "t5")
TOLERANCE = 1e-5


def both(name: str) -> tuple[Any, Any]:
    """With fast paths, and without; only Gemma 2 computes attention its own way."""
    plain = make_family(name)
    fast = copy.deepcopy(plain)
    assert install_fast_paths(fast) == []
    assert fast.config._attn_implementation == ("eager" if name == "gemma2" else NAME)
    assert plain.config._attn_implementation != NAME
    return fast, plain


def outcome(network: Any, inputs: dict[str, Any], counted: torch.Tensor | None = None) -> list[torch.Tensor]:
    """Logits where they are counted, and all gradients of a made-up loss over them."""
    logits = network(**inputs).logits
    logits = logits if counted is None else logits[counted]
    slopes = torch.randn(logits.shape, generator=torch.Generator().manual_seed(4))
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad((logits * slopes).sum(), weights, allow_unused=True)
    return [logits.detach(), *(one for one in gradients if one is not None)]


def assert_equal_outcomes(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    """Logits, and gradients one behind the other: that of a key's bias is but rounding."""
    assert distance(ours[0], theirs[0]) <= TOLERANCE
    flat = [torch.cat([one.flatten() for one in many[1:]]) for many in (ours, theirs)]
    assert distance(*flat) <= TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_equal_length(name: str) -> None:
    fast, plain = both(name)
    inputs = plain_inputs(name)
    assert_equal_outcomes(outcome(fast, inputs), outcome(plain, inputs))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", FAMILIES)
def test_padded_rows(name: str, side: str) -> None:
    """Equal at every token; what stands in padding is not used."""
    fast, plain = both(name)
    inputs = padded_inputs(name, side)
    counted = None if name in ("bert", "t5") else inputs["attention_mask"].bool()
    assert_equal_outcomes(outcome(fast, inputs, counted), outcome(plain, inputs, counted))
    assert all(one.isfinite().all() for one in outcome(fast, inputs))


@pytest.mark.parametrize("name", DECODERS)
def test_packed_rows(name: str) -> None:
    """Some examples are longer than the window of those that have one."""
    assert max(max(row) for row in LENGTHS) > WINDOW
    fast, plain = both(name)
    inputs = packed_inputs()
    made = outcome(fast, inputs)
    assert_equal_outcomes(made, outcome(plain, inputs))
    mixed = plain(**{**inputs, "use_cache": True}).logits
    assert distance(made[0], mixed) > 0.05, "a wrong mask would change nothing"


@pytest.mark.parametrize("name", DECODERS)
def test_packed_examples_are_as_alone(name: str) -> None:
    fast, plain = both(name)
    inputs = packed_inputs()
    with torch.no_grad():
        packed = fast(**inputs).logits
        for row, lengths in enumerate(LENGTHS):
            begin = 0
            for length in lengths:
                alone = plain(input_ids=inputs["input_ids"][row : row + 1, begin : begin + length]).logits
                assert distance(packed[row : row + 1, begin : begin + length], alone) <= TOLERANCE
                begin += length


@pytest.mark.parametrize("name", DECODERS)
def test_attention_is_torchs_no_more(name: str) -> None:
    """Where it is neither windowed nor bent, nothing is left to torch's own, forward or backward."""
    fast, plain = both(name)
    counts = []
    for network in (fast, plain):
        for inputs in (plain_inputs(name), packed_inputs()):
            with Operations() as seen:
                outcome(network, inputs)
            counts.append(seen.torchs_attention)
    if name == "gemma2":
        assert counts == [0] * 4
    else:
        assert counts[0] == counts[1] == 0
        assert min(counts[2:]) > 0


@pytest.mark.parametrize("side", ["none", "left"])
@pytest.mark.parametrize("name", [*DECODERS, "t5"])
def test_the_same_tokens_are_generated(name: str, side: str) -> None:
    """With a cache, of which the window of some models drops the beginning."""
    inputs = padded_inputs(name, side) if side == "left" else plain_inputs(name)
    inputs.pop("decoder_input_ids", None)
    made = []
    for network in both(name):
        network.generation_config.eos_token_id = None
        done = network.generate(
            **inputs, max_new_tokens=12, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        made.append((done.sequences, torch.stack(done.scores)))
    (ours, our_scores), (theirs, their_scores) = made
    assert torch.equal(ours, theirs)
    assert ours.shape[1] >= 13
    assert distance(our_scores, their_scores) <= TOLERANCE


def test_in_bf16() -> None:
    """Equal up to the rounding of 8 bits, of which two orders of sums part by some percent."""
    fast, plain = (network.bfloat16() for network in both("llama"))
    for inputs in (plain_inputs("llama"), packed_inputs()):
        with torch.no_grad():
            assert 0 < distance(fast(**inputs).logits, plain(**inputs).logits) < 0.02


def deafen(network: Any, message: str | None = None) -> Any:
    """Makes attention listen to masks of one kind only, as in many models that come with code of their own."""
    for module in network.modules():
        if type(module).__name__.endswith("Attention"):
            heard = module.forward

            def forward(*args: Any, attention_mask: Any = None, heard: Any = heard, **others: Any) -> Any:
                if attention_mask is not None and not isinstance(attention_mask, torch.Tensor):
                    if message:
                        raise TypeError(message)
                    attention_mask = None
                return heard(*args, attention_mask=attention_mask, **others)

            module.forward = forward
    return network


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("message", [None, "a mask has to be a tensor"])
@pytest.mark.parametrize("was_training", [True, False])
def test_attention_with_which_a_model_differs_is_not_installed(
    name: str, message: str | None, was_training: bool
) -> None:
    """Whether it computes something else, or fails. Norms and activations are no part of it."""
    network = deafen(make_family(name), message)
    with torch.no_grad():
        before = network(**packed_inputs()).logits
    network.train(was_training)
    (note,) = install_fast_paths(network)
    check_text(note)
    assert network.config._attn_implementation == "sdpa"
    assert {"llama": FusedRMSNorm, "gpt2": nn.GELU}[name] in {type(module) for module in network.modules()}
    assert network.training == was_training
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(**packed_inputs()).logits, before)


def test_a_model_that_cannot_be_probed_is_left_as_it_was() -> None:
    """Nothing is known of what the faster way would compute."""

    class Silent(LlamaForCausalLM):
        """Takes more than texts."""

        def forward(self, *args: Any, weather: Any = None, **others: Any) -> Any:
            if weather is None:
                raise ValueError("no weather")
            return super().forward(*args, **others)

    network = Silent(make_network("llama").config)
    kinds = [type(module) for module in network.modules()]
    (result,) = install_fast_paths(network)
    check_text(result)
    assert network.config._attn_implementation == "sdpa"
    assert [type(module) for module in network.modules()] == kinds


def test_only_torchs_attention_is_replaced() -> None:
    network = make_network("llama")
    network.set_attn_implementation("eager")
    assert install_fast_paths(network) == []
    assert network.config._attn_implementation == "eager"
    arrange(network, "cpu")
    assert network.config._attn_implementation == "eager"


def test_each_device_has_its_own_attention() -> None:
    for device, wanted in (("cuda", VARLEN), ("mps", "sdpa"), ("cpu", NAME)):
        network = make_network("llama")
        arrange(network, device)
        assert network.config._attn_implementation == wanted


@pytest.mark.parametrize("name", FAMILIES)
def test_the_attention_of_cuda_is_the_models_own(name: str) -> None:
    """Where there is no such device, by way of a mask: packed, padded and plain rows."""
    plain = make_family(name)
    fast = copy.deepcopy(plain)
    arrange(fast, "cuda")
    assert fast.config._attn_implementation == ("eager" if name == "gemma2" else VARLEN)
    for inputs in (plain_inputs(name), padded_inputs(name, "right")):
        counted = None if name in ("bert", "t5") else inputs["attention_mask"].bool() if len(inputs) > 1 else None
        assert_equal_outcomes(outcome(fast, inputs, counted), outcome(plain, inputs, counted))
    if name in DECODERS:
        assert_equal_outcomes(outcome(fast, packed_inputs()), outcome(plain, packed_inputs()))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_masks_of_shared_prompts_stay_masks(device: str) -> None:
    """Numbers to be added to scores are for models that compute attention their own way."""
    network = make_network("llama")
    arrange(network, device)
    segments = torch.tensor([[0, 0, 1, 1, 2]])
    given = row_inputs(network, segments + 5, torch.tensor([[0, 1, 2, 3, 2]]), segments)
    assert given["attention_mask"].dtype == torch.bool
    network.set_attn_implementation("eager")
    given = row_inputs(network, segments + 5, torch.tensor([[0, 1, 2, 3, 2]]), segments)
    assert given["attention_mask"].dtype == torch.float32


def test_types_that_a_model_is_probed_in() -> None:
    for device, held in (("cpu", torch.float32), ("cuda", torch.bfloat16), ("mps", torch.float32)):
        assert probe_dtypes(torch.device(device), held) == [held]
    both = probe_dtypes(torch.device("cuda"), torch.float32)
    assert both[0] == torch.float32
    assert len(both) == 2
    assert both[1].itemsize == 2


def test_gelu_becomes_one_operation() -> None:
    network = make_network("gpt2")
    twin = copy.deepcopy(network)
    arrange(network, "cuda")
    kinds = [type(module) for module in network.modules()]
    assert NewGELUActivation not in kinds
    assert kinds.count(nn.GELU) == sum(isinstance(module, NewGELUActivation) for module in twin.modules()) == 2
    values = torch.linspace(-12, 12, 1001)
    torch.testing.assert_close(network.transformer.h[0].mlp.act(values), NewGELUActivation()(values))
    assert_equal_outcomes(outcome(network, plain_inputs("gpt2")), outcome(twin, plain_inputs("gpt2")))


def test_other_activations_stay() -> None:
    for name in ("llama", "bert"):
        network = make_family(name)
        kinds = {type(module) for module in network.modules()}
        arrange(network, "cuda")
        assert {type(module) for module in network.modules()} - {FusedRMSNorm} == kinds - {LlamaRMSNorm}


def test_what_failed_the_probe_is_left_out_of_every_network_of_that_identity() -> None:
    networks = [deafen(make_network("llama"), None) for _ in range(2)]
    first, second = (install_fast_paths(network, "a deaf model") for network in networks)
    assert first == second != []
    assert {network.config._attn_implementation for network in networks} == {"sdpa"}


def test_one_network_of_an_identity_is_probed_and_the_others_get_the_same_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, again, other = (make_network("llama") for _ in range(3))
    assert install_fast_paths(network, "a model") == []
    monkeypatch.setattr(fast_paths, "Probe", None)
    assert install_fast_paths(again, "a model") == []
    assert {type(module) for module in again.modules()} == {type(module) for module in network.modules()}
    with pytest.raises(TypeError):
        install_fast_paths(other, "another")
