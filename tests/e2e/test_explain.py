"""`burnish explain`: a term, a mistyped one, all of them."""

from __future__ import annotations

from tests.e2e.conftest import Burnish


def test_a_term_is_explained(burnish: Burnish) -> None:
    told = burnish("explain lora")
    assert told.code == 0
    assert told.out.startswith("LoRA (low-rank adaptation")
    assert "\nin Burnish: " in told.out
    assert "\nwhat goes wrong: " in told.out
    assert "\noptions: method, lora.rank, lora.alpha, lora.targets\n" in told.out
    assert max(map(len, told.out.splitlines())) <= 96


def test_words_need_no_quotes(burnish: Burnish) -> None:
    assert burnish("explain learning rate").out == burnish('explain "learning rate"').out != ""


def test_a_mistyped_term(burnish: Burnish) -> None:
    told = burnish('explain "learnng rate"')
    assert told.code == 2
    assert told.out == ""
    assert told.err == "error: the glossary has no term `learnng rate`\n\nhint: Did you mean `learning rate`?\n"


def test_a_word_that_is_like_none(burnish: Burnish) -> None:
    told = burnish("explain xyzzy")
    assert told.code == 2
    assert "hint: `burnish explain` lists every term" in told.err


def test_one_object_with_json(burnish: Burnish) -> None:
    told = burnish("explain --json rank").json
    assert (told["name"], told["group"], told["options"]) == ("rank", "Methods", ["lora.rank"])
    assert {"aliases", "meaning", "setting", "trouble", "see"} < set(told)


def test_all_terms_are_listed(burnish: Burnish) -> None:
    told = burnish("explain")
    assert told.code == 0
    assert "Methods:\n  full fine-tuning, freezing, adapter, LoRA" in told.out
    listed = burnish("explain --json").json["terms"]
    assert {"name": "Chinchilla", "group": "Training"} in listed
    names = burnish("explain --quiet").out.splitlines()
    assert names == [term["name"] for term in listed]


def test_only_the_meaning_with_quiet(burnish: Burnish) -> None:
    told = burnish("explain rank --quiet")
    assert "LoRA's two matrices" in told.out.splitlines()[0]
    assert "Burnish" not in told.out
