"""The glossary keeps to the recipe: its options exist, their defaults are as it says, and none is left unexplained."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.glossary import PAGE, Term, find_term, glossary_page, load_glossary
from burnish.recipe.load import load_recipe
from burnish.recipe.names import options, sections

ROOT = Path(__file__).parents[2]
EXPLAINED = ("train", "batch", "lora", "prompt", "freeze", "ia3", "preference", "evaluate", "data")
"""Sections whose every option belongs to a term."""
NO_DEFAULT = {
    "data.path": "must be given",
    "data.columns": "is a map, empty at first",
    "data.roles": "is a map, empty at first",
}
"""Options without a default that a sentence could name."""
MUST_HAVE = """
lora, rank, alpha, epoch, learning rate, bf16, overfitting, gradient accumulation, DPO, perplexity, Chinchilla, base
model, adapter, checkpoint, tokenizer, token, vocabulary, embedding, padding, EOS, special tokens, chat template,
context length, packing, truncation, masking, label, logits, parameters, full fine-tuning, freezing, target modules,
dropout, rsLoRA, DoRA, LoRA+, PiSSA, QLoRA, NF4, quantization, int8, prompt tuning, prefix tuning, p-tuning, IA3, KTO,
preference pair, reward model, beta, reference model, KL, instruction tuning, SFT, classification head, NER, IOB tags,
extractive QA, span, masked language modelling, loss, accuracy, F1, exact match, ROUGE-L, confidence interval,
validation set, split, leakage, underfitting, early stopping, patience, step, batch, micro-batch, gradient
checkpointing, gradient clipping, gradient norm, warmup, schedule, weight decay, optimizer, AdamW, optimizer states,
fp32, fp16, activation memory, OOM, seed, determinism, catastrophic forgetting, merge, safetensors, temperature,
greedy
"""

terms = pytest.mark.parametrize("term", load_glossary(), ids=lambda term: term.name)


def key(words: str) -> str:
    """A name as the glossary compares it."""
    return re.sub(r"[\s_-]+", "", words.casefold())


def test_what_must_be_there_is_found() -> None:
    for words in (" ".join(words.split()) for words in MUST_HAVE.split(",")):
        term = find_term(words)
        assert key(words) in map(key, (term.name, *term.aliases))


@terms
def test_an_entry_is_whole(term: Term) -> None:
    for text in (term.meaning, term.setting, term.trouble):
        assert 40 < len(text) < 700
        assert text.endswith((".", "?"))
        assert text.count("`") % 2 == 0


@terms
def test_its_options_and_related_terms_exist(term: Term) -> None:
    assert set(term.options) <= set(options())
    names = {other.name for other in load_glossary()}
    assert set(term.see) <= names - {term.name}
    assert len(set(term.see)) == len(term.see) > 0


def test_no_name_stands_twice() -> None:
    counts = Counter(key(name) for term in load_glossary() for name in (term.name, *term.aliases))
    assert [name for name, number in counts.items() if number > 1] == []
    assert len(load_glossary()) >= 60


def test_every_option_of_these_sections_is_explained() -> None:
    assert set(EXPLAINED) <= set(sections())
    wanted = {name for name in options() if name.partition(".")[0] in EXPLAINED}
    assert len(wanted) > 45
    assert wanted - {name for term in load_glossary() for name in term.options} == set()


def stated_defaults() -> list[tuple[str, str, Any]]:
    """Term, option and value of every "`option` is value" in what the glossary says about settings."""
    found = []
    for term in load_glossary():
        for name, quoted, bare in re.findall(r"`([a-z0-9_.]+)` is (?:`([^`]+)`|([^\s,;:]+))", term.setting):
            if name in options():
                value = None if bare == "empty" else yaml.safe_load(quoted or bare.removesuffix("."))
                found.append((term.name, name, value))
    return found


@pytest.mark.parametrize(("term", "option", "value"), stated_defaults())
def test_a_default_is_as_the_glossary_says(term: str, option: str, value: Any) -> None:
    default = options()[option].get_default(call_default_factory=True)
    assert (list(default) if isinstance(default, tuple) else default) == value


def test_every_default_of_these_sections_is_stated() -> None:
    wanted = {name for name in options() if name.partition(".")[0] in EXPLAINED}
    assert wanted - {option for _, option, _ in stated_defaults()} == set(NO_DEFAULT)


def test_settings_that_it_advises_are_valid() -> None:
    texts = " ".join(f"{term.meaning} {term.setting} {term.trouble}" for term in load_glossary())
    advised = re.findall(r"`([a-z0-9_]+\.[a-z0-9_]+=[^`]+)`", texts)
    assert len(advised) > 5
    for word in advised:
        load_recipe("rows.jsonl", {}, [word])


def test_options_in_the_text_exist() -> None:
    texts = " ".join(f"{term.meaning} {term.setting} {term.trouble}" for term in load_glossary())
    named = {name for name in re.findall(r"`([a-z0-9_]+\.[a-z0-9_]+)`", texts) if name.partition(".")[0] in sections()}
    assert len(named) > 45
    assert named - set(options()) == set()


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == glossary_page(), "run `make docs`"
