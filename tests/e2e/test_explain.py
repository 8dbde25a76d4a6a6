"""`burnish explain`: a term, a mistyped one, all of them."""

from __future__ import annotations

from tests.e2e.conftest import Burnish


def test_a_term_is_explained(burnish: Burnish) -> None:
    result = burnish("explain lora")
    assert result.code == 0
    assert result.out.startswith("LoRA (low-rank adaptation")
    assert "\nin Burnish: " in result.out
    assert "\nwhat goes wrong: " in result.out
    assert "\noptions: method, lora.rank, lora.alpha, lora.targets\n" in result.out
    assert max(map(len, result.out.splitlines())) <= 96


def test_words_need_no_quotes(burnish: Burnish) -> None:
    assert burnish("explain learning rate").out == burnish('explain "learning rate"').out != ""


def test_a_mistyped_term(burnish: Burnish) -> None:
    result = burnish('explain "learnng rate"')
    assert result.code == 2
    assert result.out == ""
    assert result.err == "error: the glossary has no term `learnng rate`\n\nhint: Did you mean `learning rate`?\n"


def test_a_word_that_is_like_none(burnish: Burnish) -> None:
    result = burnish("explain xyzzy")
    assert result.code == 2
    assert "hint: `burnish explain` lists every term" in result.err


def test_one_object_with_json(burnish: Burnish) -> None:
    result = burnish("explain --json rank").json
    assert (result["name"], result["group"], result["options"]) == ("rank", "Methods", ["lora.rank"])
    assert {"aliases", "meaning", "setting", "trouble", "see"} < set(result)


def test_all_terms_are_listed(burnish: Burnish) -> None:
    result = burnish("explain")
    assert result.code == 0
    assert "Methods:\n  full fine-tuning, freezing, adapter, LoRA" in result.out
    listed = burnish("explain --json").json["terms"]
    assert {"name": "Chinchilla", "group": "Training"} in listed
    names = burnish("explain --quiet").out.splitlines()
    assert names == [term["name"] for term in listed]


def test_only_the_meaning_with_quiet(burnish: Burnish) -> None:
    result = burnish("explain rank --quiet")
    assert "LoRA's two matrices" in result.out.splitlines()[0]
    assert "Burnish" not in result.out
