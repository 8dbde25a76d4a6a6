"""An answer is the same alone, in any batch, behind any beginning, and as transformers' `generate` writes it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from burnish.decoding.ahead import Pace
from burnish.decoding.batch import Batch
from burnish.decoding.group import Group, joined
from burnish.decoding.key_values import KeyValues
from burnish.decoding.lookup import MOST_AHEAD
from burnish.decoding.reference import generate_reference
from burnish.decoding.row import Asked, Row, Token
from burnish.decoding.sampling import Sampling
from burnish.models import growing_cache, packed_linear
from burnish.models.answering import arrange_for_answers
from burnish.models.packed_linear import PackedWeights, can_pack
from tests.numeric.test_gguf import MODELS
from tests.tiny_adapters import with_adapter
from tests.tiny_models import make_network, make_tokenizer

PACKS = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")
LAYOUTS = ("llama", "gpt2", "gemma2", "gemma3", "phi3", "qwen3")
STOPS = tuple(range(2, 300, 9))
"""Enough that some answers end early."""


def prompts(number: int, seed: int = 0) -> list[list[int]]:
    drawn = random.Random(seed)
    return [[drawn.randrange(3, 290) for _ in range(drawn.randrange(1, 30))] for _ in range(number)]


def asked(ids: list[int], most: int = 12, sampling: Sampling | None = None, top: int | None = None) -> Row:
    sampling = sampling or Sampling()
    return Row(Asked(ids, STOPS, most, sampling, top))


def alone(network: Any, row: Row, looks_up: bool = False) -> list[int]:
    batch = Batch(network, "fp32", looks_up=looks_up)
    batch.join([row])
    while batch.rows:
        batch.step()
    return row.new


def by_transformers(
    network: Any, tokenizer: Any, texts: Sequence[list[int]], stops: Sequence[int], most: int
) -> list[list[int]]:
    """Each answer by itself."""
    found = [generate_reference(network, tokenizer, [Asked(ids, stops, most)], "fp32")[0] for ids in texts]
    return [until_stop(ids) for ids in found] if stops else found


def until_stop(ids: Sequence[int]) -> list[int]:
    end = next((place for place, token in enumerate(ids) if token in STOPS), len(ids))
    return list(ids[:end])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_those_of_generate(layout: str) -> None:
    network, tokenizer = MODELS[layout](), make_tokenizer()
    texts = prompts(9)
    expected = by_transformers(network, tokenizer, texts, STOPS, 12)
    batch, rows, drawn = Batch(network, "fp32", kept_bytes=10**7), [asked(ids) for ids in texts], random.Random(1)
    waiting = list(rows)
    while waiting or batch.rows:  # rows join at different times
        if waiting and (not batch.rows or drawn.random() < 0.5):
            batch.join([waiting.pop(0)])
        batch.step()
    assert [until_stop(row.new) for row in rows] == expected
    assert {row.ended for row in rows} <= {"stop", "length"}
    assert len({len(answer) for answer in expected}) > 1, "they end at different times"
    assert batch.num_tokens == 0
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    parts = batch.parts(rows)
    assert max(map(len, parts)) > 1, "some are read together"
    for part in parts:
        batch.join(part)
    while batch.rows:
        batch.step()
    assert [until_stop(row.new) for row in rows] == expected


@pytest.mark.parametrize("layout", ["llama", "llama with an adapter", "qwen3", "gpt2"])
@pytest.mark.parametrize("looks_up", [False, True])
def test_answers_are_those_of_generate_after_arranging(
    layout: str, looks_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_linear, "_LEAST", 1)
    monkeypatch.setattr(growing_cache, "_STEP", 16)
    name, _, has_adapter = layout.partition(" ")
    network, tokenizer = MODELS[name]().eval(), make_tokenizer()
    if has_adapter:
        network = with_adapter(network, ("q_proj", "o_proj", "up_proj", "down_proj"), is_fused=False).eval()
    texts = prompts(6, seed=2)
    expected = by_transformers(network, tokenizer, texts, (), 34)
    arrange_for_answers(network, "fp32")
    rows = [Row(Asked(ids, (), 34)) for ids in texts]
    batch = Batch(network, "fp32", looks_up=looks_up)
    for part in batch.parts(rows):
        batch.join(part)
    while batch.rows:
        batch.step()
    assert [row.new for row in rows] == expected


def repeating() -> list[int]:
    return [*range(20, 40), *range(20, 31)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_guessed_tokens_change_no_answer(layout: str, temperature: float) -> None:
    network = MODELS[layout]()
    for number, ids in enumerate([repeating(), [7, 7, 7, 7, 7, 7], *prompts(4, seed=9)]):
        sampling = Sampling(temperature=temperature, seed=number, frequency_penalty=0.1)
        row, plain = (Row(Asked(ids, (), 24, sampling, 2)) for _ in range(2))
        assert alone(network, row, looks_up=True) == alone(network, plain)
        assert row.ended == "length"


@torch.no_grad()
def make_repeating(period: int) -> Any:
    """A network that continues each of the first tokens with the next, and the last of a period with the first."""
    network = make_network("llama")
    for layer in network.model.layers:
        for matrix in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            matrix.zero_()
    directions = torch.nn.functional.normalize(torch.randn(300, 32), dim=-1)
    network.model.embed_tokens.weight.copy_(directions)
    network.model.norm.weight.fill_(1.0)
    network.lm_head.weight[:period] = directions[:period].roll(1, 0)
    network.lm_head.weight[period:] = 0
    return network


def test_guessed_tokens_save_steps_and_the_rest_is_forgotten() -> None:
    network = make_repeating(9)
    widths: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    # after 3, 4 came 290, which is guessed once and wrong
    batch, row = Batch(network, "fp32"), Row(Asked([3, 4, 290, 8, 0, 1, 2, 3], (), 60))
    batch.join([row])
    while batch.rows:
        assert batch.num_tokens == row.num_held, "what was guessed wrongly is not held"
        batch.step()
    handle.remove()
    assert row.new == [(4 + place) % 9 for place in range(60)]
    assert max(widths) == 1 + MOST_AHEAD
    assert len(widths) < 20


def asked_together(network: Any, texts: Sequence[list[int]], looks_up: bool) -> tuple[list[Row], int]:
    """The answers of a batch that rows join and leave at different times, and its steps."""
    batch = Batch(network, "fp32", kept_bytes=10**7, looks_up=looks_up, together=True)
    rows = [Row(Asked(ids, (), 20 + 7 * (number % 3), top=1)) for number, ids in enumerate(texts)]
    batch.join(rows[:1])
    steps = 0
    for part in [[row] for row in rows[1:]] + [[]] * 200:
        if part:
            batch.join(part)
        batch.step()
        steps += bool(batch.rows)
        for group in batch._groups:
            for place, row in enumerate(group.rows):
                assert group.held.length(place) == (0 if place in group.left else row.num_held)
    return rows, steps


@pytest.mark.parametrize("layout", [*LAYOUTS, "repeating"])
def test_each_row_of_a_batch_takes_as_many_guesses_as_are_right(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long steps with guesses take: nothing but the number of steps depends on it."""
    monkeypatch.setattr("burnish.decoding.batch._MOST_EMPTY", 8)
    network = make_repeating(9) if layout == "repeating" else MODELS[layout]()
    texts = [repeating(), [3, 4, 290, 8, 0, 1, 2, 3], [7, 7, 7, 7, 7, 7], *prompts(4, seed=9)]
    texts += [[*range(9)] * 2] if layout == "repeating" else []
    plain, most = asked_together(network, texts, False)
    monkeypatch.setattr(Pace, "cost", lambda pace, tokens, others: 1.0)
    rows, steps = asked_together(network, texts, True)
    assert [row.new for row in rows] == [row.new for row in plain]
    assert steps <= most
    if layout == "repeating":
        assert steps < most / 2
    monkeypatch.setattr(Pace, "cost", lambda pace, tokens, others: tokens / others)
    assert asked_together(network, texts, True)[0][0].new == plain[0].new


def test_tokens_are_guessed_where_that_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    for is_alike in (True, False):
        network = make_repeating(9)
        network.register_forward_pre_hook(
            lambda module, args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
        )
        monkeypatch.setattr(torch, "equal", lambda first, second, is_alike=is_alike: is_alike)
        batch, row = Batch(network, "bf16"), Row(Asked([1, 2, 3, 1, 2], (), 30))
        batch.join([row])
        batch.step()
        widths.clear()
        while batch.rows:
            batch.step()
        assert (max(widths) > 1) == is_alike
        assert len(row.new) == 30


@PACKS
def test_a_row_has_the_same_product_alone_and_among_others() -> None:
    torch.manual_seed(0)
    weights = torch.randn(64, 3 * 1024)
    inputs = torch.randn(5, 3 * 1024)
    with torch.no_grad():
        packed = PackedWeights([weights], [], torch.float32)
        whole = packed.product(inputs)
        for number in (1, 2, 3):
            assert torch.equal(packed.product(inputs[:number]), whole[:number])


def test_an_answer_that_is_not_alone_any_more_goes_on() -> None:
    network = make_network("llama")
    texts = [repeating(), [9, 8, 9, 8, 9, 8, 9]]
    expected = [alone(network, Row(Asked(ids, (), 30))) for ids in texts]
    batch, rows = Batch(network, "fp32"), [Row(Asked(ids, (), 30)) for ids in texts]
    batch.join([rows[0]])
    for _ in range(4):
        batch.step()
    batch.join([rows[1]])
    while batch.rows:
        batch.step()
    assert [row.new for row in rows] == expected


def test_a_guessed_stop_token_ends_the_answer() -> None:
    network = make_network("llama")
    plain = alone(network, Row(Asked(repeating(), (), 40)))
    for stop in dict.fromkeys(plain):
        row = Row(Asked(repeating(), (stop,), 40))
        assert alone(network, row, looks_up=True) == plain[: plain.index(stop) + 1]
        assert row.ended == "stop"


def test_a_known_beginning_is_not_read_again() -> None:
    network = make_network("llama")
    shared = list(range(20, 60))
    widths: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    batch, found = Batch(network, "fp32", kept_bytes=10**7), []
    for end in ([70, 71], [72], [70, 71]):
        row = asked([*shared, *end], most=1)
        batch.join([row])
        found.append(row.new)
    handle.remove()
    assert widths == [42, 1, 1], "of the second only what differs, of the third the last token"
    assert found == [alone(network, asked([*shared, *end], most=1)) for end in ([70, 71], [72], [70, 71])]
    few = Batch(network, "fp32", kept_bytes=100)
    for _ in range(2):
        row = asked(shared, most=1)
        few.join([row])
        assert row.new == alone(network, asked(shared, most=1))


COMMON = list(range(20, 50))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_known", [False, True], ids=["of the same burst", "known before"])
def test_answers_to_prompts_that_begin_alike_are_those_of_generate(layout: str, is_known: bool) -> None:
    network, tokenizer = MODELS[layout](), make_tokenizer()
    texts = [[*COMMON[: 30 - 2 * number], *ids[:20]] for number, ids in enumerate(prompts(7, seed=6))]
    expected = by_transformers(network, tokenizer, texts, STOPS, 12)
    batch, rows = Batch(network, "fp32", kept_bytes=10**7), [asked(ids) for ids in texts]
    if is_known:
        batch.join([asked([*COMMON, 3], most=1)])
    parts = batch.parts(rows)
    assert max(map(len, parts)) > 1
    for part in parts:
        batch.join(part)
    while batch.rows:
        batch.step()
    assert [until_stop(row.new) for row in rows] == expected


def test_a_beginning_that_prompts_have_in_common_is_read_once() -> None:
    network = make_network("llama")
    shapes: list[tuple[int, ...]] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    batch = Batch(network, "fp32", kept_bytes=10**7)
    rows = [asked([*COMMON, 70 + number, *range(90, 91 + number)], most=1) for number in range(4)]
    (part,) = batch.parts(rows)
    batch.join(part)
    later = [asked([*COMMON, 80 + number, *range(90, 91 + number)], most=1) for number in range(3)]
    (part,) = batch.parts(later)
    batch.join(part)
    alone_yet = asked([*COMMON[:20], 99], most=1)
    batch.join([alone_yet])
    batch.join([asked(COMMON[:15], most=1)])
    handle.remove()
    assert shapes == [(1, 30), (4, 5), (3, 4), (1, 1), (1, 15)]
    for row in (*rows, *later, alone_yet):
        assert row.new == alone(network, asked(row.asked.ids, most=1))


def test_what_becomes_known_before_prompts_are_read_makes_no_gaps() -> None:
    network = make_network("mistral", sliding_window=8)
    batch = Batch(network, "fp32", kept_bytes=10**7)
    rows = [asked([*COMMON, *ids]) for ids in ([70], [71, 72, 73, 74, 75])]
    (part,) = batch.parts(rows)
    batch.join([asked([*COMMON, 3], most=1)])
    batch.join(part)
    while batch.rows:
        batch.step()
    for row in rows:
        assert row.new == alone(network, asked(row.asked.ids))


def test_a_network_that_counts_columns_gets_no_gaps() -> None:
    """The window is a number of columns."""
    network = make_network("mistral", sliding_window=8)
    batch = Batch(network, "fp32", kept_bytes=10**7)
    batch.join([asked([*COMMON, 3], most=1)])
    rows = [asked([*COMMON, *ids]) for ids in ([70], [71, 72], [73], [74, 75, 76])]
    parts = batch.parts(rows)
    assert [len(part) for part in parts] == [2, 1, 1]
    for part in parts:
        batch.join(part)
    unknown = [asked([*range(100, 140), *ids]) for ids in ([70], [71, 72, 73, 74])]
    for part in batch.parts(unknown):
        batch.join(part)
    while batch.rows:
        batch.step()
    for row in (*rows, *unknown):
        assert row.new == alone(network, asked(row.asked.ids))


def test_a_cancelled_answer_leaves_and_changes_no_other() -> None:
    network = make_network("llama")
    texts = prompts(3, seed=4)
    expected = [alone(network, asked(ids)) for ids in texts]
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    for row in rows:
        batch.join([row])
    batch.step()
    rows[1].ended = "cancelled"
    batch.sweep()
    assert rows[1] not in batch.rows
    while batch.rows:
        batch.step()
    assert [rows[0].new, rows[2].new] == [expected[0], expected[2]]
    assert rows[1].new == expected[1][:2]


def test_an_answer_that_is_cancelled_before_its_first_step_leaves_nothing() -> None:
    network = make_network("llama")
    texts = prompts(2, seed=5)
    expected = alone(network, asked(texts[0]))
    batch, rows = Batch(network, "fp32"), [asked(ids) for ids in texts]
    for row in rows:
        batch.join([row])
    assert batch.num_tokens == 2 * max(map(len, texts))
    rows[1].ended = "cancelled"
    batch.sweep()
    assert batch.rows == [rows[0]]
    assert batch.num_tokens == len(texts[0])
    while batch.rows:
        batch.step()
    assert rows[0].new == expected


def test_the_seed_decides_whatever_else_is_answered() -> None:
    network = make_network("llama")
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=7)
    first, other = [5, 9, 100], [8, 70, 33, 41]
    expected = alone(network, asked(first, sampling=sampling))
    batch, row = Batch(network, "fp32"), asked(first, sampling=sampling)
    batch.join([asked(other, sampling=Sampling(temperature=1.0))])
    batch.join([row])
    while batch.rows:
        batch.step()
    assert row.new == expected
    assert alone(network, asked(first, sampling=Sampling(temperature=1.0, seed=8))) != expected


def test_log_probabilities() -> None:
    network = make_network("llama")
    ids = [5, 60, 61, 200]
    batch = Batch(network, "fp32")
    row = asked(ids, most=3, top=4)
    tokens: list[Token] = batch.join([row])
    while batch.rows:
        tokens += [token for _, token in batch.step()]
    with torch.no_grad():
        whole = network(input_ids=torch.tensor([[*ids, *row.new]])).logits[0].log_softmax(-1)
    for place, token in enumerate(tokens):
        expected = whole[len(ids) - 1 + place]
        assert token.log_probability == pytest.approx(float(expected[token.id]), abs=1e-4)
        assert [one for one, _ in token.top] == expected.topk(4).indices.tolist()
        assert token.top[0][0] == token.id
    read = batch.log_probabilities([*ids, *row.new], 2)
    assert read[0].log_probability is None
    assert [one.id for one in read] == [*ids, *row.new]
    assert read[1].log_probability == pytest.approx(float(whole[0, 60]), abs=1e-5)
    assert len(read[1].top) == 2


def test_rows_are_aligned_at_their_last_token() -> None:
    network = make_network("llama")
    parts = []
    for ids in ([5, 6, 7], [8]):
        held = KeyValues(torch.ones(1, len(ids), dtype=torch.long))
        network(input_ids=torch.tensor([ids]), past_key_values=held.cache, use_cache=True)
        parts.append(held)
    both = KeyValues.joined(parts)
    assert both.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    layer = both.cache.layers[0]
    assert torch.equal(layer.keys[0], parts[0].cache.layers[0].keys[0])
    assert torch.equal(layer.keys[1, :, 2:], parts[1].cache.layers[0].keys[0])
    assert not layer.keys[1, :, :2].any()
    second = both.kept([1])
    assert second.mask.tolist() == [[1]]
    assert torch.equal(second.cache.layers[1].values, parts[1].cache.layers[1].values)
    assert second.num_bytes == parts[1].num_bytes


def test_a_row_that_is_held_for_long_is_one_piece_of_memory_without_room_for_more() -> None:
    network = make_network("llama")
    held = KeyValues(torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]]))
    ids = torch.tensor([[5, 6, 7, 8], [0, 11, 12, 13]])
    network(input_ids=ids, attention_mask=held.mask, past_key_values=held.cache, use_cache=True)
    held.forget([0, 1])
    packed = held.packed(1)
    assert packed.mask.tolist() == [[1, 1]]
    layers = list(zip(packed.cache.layers, held.cache.layers, strict=True))
    for layer, whole in layers:
        assert torch.equal(layer.keys[0], whole.keys[1, :, 1:3])
        assert torch.equal(layer.values[0], whole.values[1, :, 1:3])
    assert len({part.untyped_storage().data_ptr() for layer, _ in layers for part in (layer.keys, layer.values)}) == 1
    assert packed.num_bytes == sum(layer.keys.nbytes + layer.values.nbytes for layer, _ in layers)
    longer = packed.beginning(2)
    before = packed.cache.layers[0].keys.clone()
    longer.grow(torch.tensor([[1]]))
    network(input_ids=torch.tensor([[20]]), past_key_values=longer.cache, use_cache=True)
    assert torch.equal(longer.cache.layers[0].keys[:, :, :2], before)
    assert torch.equal(packed.cache.layers[0].keys, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_that_joins_takes_the_place_of_one_that_left(layout: str) -> None:
    network = MODELS[layout]()
    batch = Batch(network, "fp32", looks_up=False)
    drawn = random.Random(3)
    coming = [Row(Asked(ids, (), drawn.randrange(2, 9), top=2)) for ids in prompts(24, seed=5)]
    expected = [Row(row.asked) for row in coming]
    for row in expected:
        alone(network, row)
    rows, places = list(coming), 0
    while rows or batch.rows:
        while rows and len(batch.rows) < 4:
            batch.join([rows.pop(0)])
        before = batch._group
        memory = None if before is None else before.held.cache.layers[0].keys.data_ptr()
        batch.step()
        if before is not None and before is batch._group and before.held.cache.layers[0].keys.data_ptr() == memory:
            places += sum(row.ended is None for row in before.rows)
    assert [row.new for row in coming] == [row.new for row in expected]
    assert places > 40, "others were hardly ever left where they are"


def test_a_row_has_a_place_only_where_it_fits() -> None:
    network = make_network("llama")

    def group(*texts: list[int]) -> Group:
        held = KeyValues(torch.tensor([[0] * (5 - len(ids)) + [1] * len(ids) for ids in texts]))
        ids = torch.tensor([[0] * (5 - len(ids)) + ids for ids in texts])
        network(input_ids=ids, attention_mask=held.mask, past_key_values=held.cache, use_cache=True)
        return Group([Row(Asked(one, (), 4)) for one in texts], held)

    first, other = group([5, 6, 7], [8, 9]), group([11, 12, 13, 14], [15], [16, 17])
    first.held.mask, first.held.cache.layers[:] = first.held.mask[:, 2:], first.held.kept([0, 1]).cache.layers
    staying, joining = first.rows[0], list(other.rows)
    first.leave(1)
    assert first.staying == [staying]
    rest = first.take(other)
    assert rest is other
    assert first.rows == [staying, joining[1]]
    assert first.held.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert torch.equal(first.held.cache.layers[1].values[1, :, 2], other.held.cache.layers[1].values[1, :, 4])
    assert other.staying == [joining[0], joining[2]]
    whole = joined([first, other])
    assert whole.rows == [staying, joining[1], joining[0], joining[2]]
    assert whole.held.mask.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 1]]


def test_columns_of_wrong_guesses_are_let_go() -> None:
    network = make_network("llama")
    held = KeyValues(torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]))
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [0, 0, 11, 12, 13, 14]])
    network(input_ids=ids, attention_mask=held.mask, past_key_values=held.cache, use_cache=True)
    whole = held.cache.layers[1].keys.clone()
    held.forget([1, 3])
    assert held.mask.tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 0, 0]]
    assert held.columns == held.cache.get_seq_length() == 5
    held.grow(torch.tensor([[1], [1]]))
    network(input_ids=torch.tensor([[20], [21]]), attention_mask=held.mask, past_key_values=held.cache, use_cache=True)
    assert held.num_empty == 0
    last = held.cache.layers[1].keys[:, :, -1]
    second = held.kept([1])
    assert second.mask.tolist() == [[1, 1]]
    assert torch.equal(second.cache.layers[1].keys[0], torch.stack([whole[1, :, 2], last[1]], 1))
    assert KeyValues(torch.tensor([[1, 0, 1], [0, 0, 1]])).num_empty == 1
