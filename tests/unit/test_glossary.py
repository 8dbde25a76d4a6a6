"""The glossary: finding a term by any of its names, and the page that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.glossary import GROUPS, UnknownTerm, find_term, glossary_page, grouped, load_glossary, main


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("LoRA", "LoRA"),
        ("lora", "LoRA"),
        ("lora+", "LoRA+"),
        ("learning rate", "learning rate"),
        ("learning-rate", "learning rate"),
        ("Learning_Rate", "learning rate"),
        ("  learning   rate ", "learning rate"),
        ("lr", "learning rate"),
        ("sft", "instruction tuning"),
        ("nf4", "quantization"),
        ("oom", "out of memory"),
        ("micro batch size", "micro-batch"),
        ("optimizers", "optimizer"),
        ("loss", "loss"),
    ],
)
def test_a_term_is_found_however_it_is_written(words: str, name: str) -> None:
    assert find_term(words).name == name


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("train.epochs", "epoch"),
        ("train.learning_rate", "learning rate"),
        ("batch.tokens", "batch"),
        ("batch.rows", "micro-batch"),
        ("data.context", "context length"),
        ("data.packing", "packing"),
        ("data.validation", "validation set"),
        ("model.precision", "precision"),
        ("evaluate.answers", "generated answers"),
        ("preference.loss", "DPO"),
        ("seed", "seed"),
    ],
)
def test_an_option_leads_to_the_term_that_explains_it_first(option: str, name: str) -> None:
    assert find_term(option).name == name


@pytest.mark.parametrize(
    ("words", "near"),
    [("learnng rate", "learning rate"), ("overfiting", "overfitting"), ("chinchila", "Chinchilla"), ("xyzzy", None)],
)
def test_an_unknown_term_names_the_nearest(words: str, near: str | None) -> None:
    with pytest.raises(UnknownTerm) as caught:
        find_term(words)
    assert (caught.value.words, caught.value.near) == (words, near)


def test_no_words_are_no_term() -> None:
    with pytest.raises(UnknownTerm):
        find_term(" ")


def test_terms_stand_in_the_groups_of_their_files() -> None:
    groups = grouped(load_glossary())
    assert list(groups) == list(GROUPS.values())
    assert "rank" in [term.name for term in groups["Methods"]]
    assert sum(map(len, groups.values())) == len(load_glossary())


def test_the_page_is_alphabetical_and_links_to_options_and_terms() -> None:
    page = glossary_page()
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == sorted((term.name for term in load_glossary()), key=str.casefold)
    assert "[`train.epochs`](options.md#train)" in page
    assert "[`seed`](options.md#the-run)" in page
    assert "[target modules](#target-modules)" in page
    assert "Also: lr, rate, step size." in page


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    main([str(tmp_path / "docs" / "page.md")])
    assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == glossary_page()
