"""The fast way to byte-level tokens gives what the tokenizers library gives, or is not taken."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from burnish.data.tokens import tokens as tokens_module
from burnish.data.tokens.byte_pairs import BytePairs, find_byte_pairs
from burnish.data.tokens.tokens import Tokens

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace("{1,3}", "")
OTHER = r"\p{L}+|\p{N}+|[^\p{L}\p{N}]+"
_CORPUS = [
    "The keeper's lamp won't burn; they'll see it's out.",
    "x = [1, 22, 333]\n\tprint(x)   # naïve café\r\n\r\n",
    "Müller sagt: „Über 1000 Größen“ — 東京で会う。  Ok?",
    "aaaa abab baba aaab     \n\n\n zzz...!!!\n",
]


def split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )


WAYS: dict[str, Any] = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "digits": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama3": split(LLAMA3),
    "qwen": split(QWEN),
    "other": split(OTHER),
}


def trained(way: str = "gpt2", size: int = 420, **changes: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = WAYS[way]
    tokenizer.normalizer = normalizers.NFC() if way == "qwen" else None
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(_CORPUS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet))
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.add_special_tokens(["<|end|>", "<|im_start|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def texts(count: int) -> list[str]:
    draw = random.Random(3)
    common, ascii_all = "  \n\t'sdlverm 0123 aAbBz.,!;", "".join(map(chr, range(128)))
    odd = "éüÜß„“—東京。\u00a0\u0085\u2028\u3000e\u0301\U0001f600"
    pools = (common, common, common, ascii_all, odd)
    made = ["".join(draw.choice(draw.choice(pools)) for _ in range(draw.randint(1, 40))) for _ in range(count)]
    marked = [
        f"{before}{mark}{behind}"
        for before in (" ", "a ")
        for mark in ("<|end|>", "<|im_start|>")
        for behind in (" ", "é b", "\n\n x", "\u0338 ", "a<|end|>b<|end|>")
    ]
    return made + marked + [*_CORPUS, "", "é", " é ", "é\n b", "abc\n é", "!\n é!\n x"]


@pytest.mark.parametrize("way", WAYS)
def test_the_fast_way_gives_the_same_tokens(way: str) -> None:
    tokenizer = trained(way)
    found = find_byte_pairs(tokenizer)
    assert found is not None
    asked = texts(3_000)
    assert found.encode(asked) == tokenizer(asked, add_special_tokens=False)["input_ids"]


def test_text_beyond_ascii_is_cut_where_the_expression_is_known() -> None:
    known, other = find_byte_pairs(trained("llama3")), find_byte_pairs(trained("other"))
    assert known is not None and other is not None
    text = "one two thrée four five"
    assert known._cut(text) == ["one two", " thrée", " four five"]
    assert other._cut(text) == [text]


def test_more_blanks_than_the_expression_can_look_back_on_are_encoded_all_the_same() -> None:
    tokenizer = trained()
    found = find_byte_pairs(tokenizer)
    assert found is not None
    text = "x" + " " * 1_000_000 + "y"
    assert found.encode([text, "a"]) == tokenizer([text, "a"], add_special_tokens=False)["input_ids"]


def _merges_out_of_order() -> PreTrainedTokenizerFast:
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    model = models.BPE(vocab={**letters, "ab": 256, "bc": 257}, merges=[("b", "c"), ("a", "b")])
    return trained(model=model)


def _unreachable_token() -> PreTrainedTokenizerFast:
    """`abc` comes from `ab` and `c`, but in its own text `bc` is merged first."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    return trained(model=models.BPE(vocab={**letters, "bc": 256, "ab": 257, "abc": 258}, merges=merges))


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda: trained(normalizer=normalizers.Lowercase()),
        lambda: trained(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda: trained(pre_tokenizer=pre_tokenizers.Whitespace()),
        lambda: trained(model=models.WordLevel({"a": 0})),
        _merges_out_of_order,
        _unreachable_token,
    ],
)
def test_a_tokenizer_of_another_form_is_left_to_its_library(tokenizer: Any) -> None:
    assert find_byte_pairs(tokenizer()) is None


def test_added_tokens_that_take_blanks_along_or_begin_alike_are_left_to_the_library() -> None:
    greedy = trained()
    greedy.add_tokens([AddedToken("<x>", lstrip=True)])
    alike = trained()
    alike.add_tokens([AddedToken("<a>"), AddedToken("<a>b")])
    assert find_byte_pairs(greedy) is None
    assert find_byte_pairs(alike) is None


def test_many_texts_take_the_fast_way_and_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained()
    seen: list[int] = []
    encode = BytePairs.encode

    def watched(self: BytePairs, asked: Any) -> list[list[int]]:
        seen.append(len(asked))
        return encode(self, asked)

    monkeypatch.setattr(BytePairs, "encode", watched)
    monkeypatch.setattr(tokens_module, "_FAST_FROM", 1_000)
    tokens = Tokens(tokenizer)
    asked = texts(50)
    first = tokens.encode(asked[:2])
    assert seen == []
    assert tokens.encode([]) == []
    assert first + tokens.encode(asked[2:]) == tokenizer(asked, add_special_tokens=False)["input_ids"]
    assert tokens.encode(asked) == tokenizer(asked, add_special_tokens=False)["input_ids"]
    assert seen[-1] == len(asked)
