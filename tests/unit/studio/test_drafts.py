"""Drafts: settings of one run each, as a file, as YAML and as a command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from burnish.errors import RecipeError
from burnish.recipe.load import load_recipe
from burnish.studio.drafts import DraftStore, MissingDraft, shown_name


@pytest.fixture
def drafts(tmp_path: Path) -> DraftStore:
    return DraftStore(tmp_path / "drafts")


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "my rows.jsonl"
    path.write_text('{"text": "a", "label": "b"}\n')
    return str(path)


def test_a_draft_is_found_by_whoever_opens_the_folder_next(drafts: DraftStore, rows: str, tmp_path: Path) -> None:
    made = drafts.create("tickets", "my rows.jsonl", {"data.path": rows})
    drafts.put(made.with_option("lora.rank", 8))
    again = DraftStore(tmp_path / "drafts").get(made.id)
    assert again.options == {"data.path": rows, "lora.rank": 8}
    assert [one.id for one in drafts.all()] == [made.id]


@pytest.mark.parametrize("draft_id", ["draft-0000000000000000", "../../etc/passwd", "draft-x", ""])
def test_no_other_file_is_read_as_a_draft(drafts: DraftStore, draft_id: str) -> None:
    with pytest.raises(MissingDraft):
        drafts.get(draft_id)


def test_an_option_goes_back_to_its_default(drafts: DraftStore, rows: str) -> None:
    made = drafts.create("tickets", "", {"data.path": rows, "train.epochs": 2})
    assert made.with_option("train.epochs", None).options == {"data.path": rows}


def test_the_command_and_the_text_give_the_same_recipe(drafts: DraftStore, rows: str, tmp_path: Path) -> None:
    options = {
        "data.path": rows,
        "data.columns": {"text": "My text; $(rm)", "label": "l"},
        "train.betas": [0.9, 0.95],
        "method": "lora",
    }
    draft = drafts.create("tickets", "", options)
    words = shlex.split(draft.as_command())
    assert words[:3] == ["burnish", "train", rows]
    by_command = load_recipe(words[2], {}, words[4::2]).recipe
    (tmp_path / "recipe.yaml").write_text(draft.as_yaml())
    by_text = load_recipe(str(tmp_path / "recipe.yaml"), {}, []).recipe
    assert by_command == by_text == draft.loaded().recipe


def test_a_text_replaces_the_options(drafts: DraftStore, rows: str) -> None:
    draft = drafts.create("tickets", "", {"data.path": rows, "method": "lora", "train.epochs": 2})
    again = drafts.from_text(draft, draft.as_yaml().replace("epochs: 2", "epochs: 3"))
    assert again.options == {**draft.options, "train.epochs": 3}


def test_a_wrong_text_is_refused_with_its_line(drafts: DraftStore, rows: str) -> None:
    draft = drafts.create("tickets", "", {"data.path": rows})
    with pytest.raises(RecipeError, match="lerning_rate.*line 2"):
        drafts.from_text(draft, "train:\n  lerning_rate: 1\n")
    with pytest.raises(RecipeError, match="decided by the studio"):
        drafts.from_text(draft, "runs: /elsewhere\n")


@pytest.mark.parametrize("option", ["model.trust_remote_code", "model.allow_pickle"])
def test_a_page_switches_no_code_on(drafts: DraftStore, rows: str, option: str) -> None:
    draft = drafts.create("tickets", "", {"data.path": rows, option: True})
    with pytest.raises(RecipeError, match="run code"):
        draft.loaded()


def test_names_are_one_line_without_characters_that_act() -> None:
    assert shown_name("a\n  b\x1b[2J") == "a b\\x1b[2J"
    assert shown_name("   ") == "run"
    assert len(shown_name("x" * 1000)) == 80


def test_a_command_comes_back_as_the_options_it_was_made_from(drafts: DraftStore, rows: str) -> None:
    options = {"data.path": rows, "method": "lora", "train.betas": [0.9, 0.95], "data.columns": {"text": "My; text"}}
    draft = drafts.create("tickets", "my rows.jsonl", options)
    empty = drafts.create("other", "my rows.jsonl", {"data.path": rows, "lora.rank": 4})
    assert drafts.from_text(empty, f"$ {draft.as_command()}").options == options


def test_a_command_is_read_with_its_flags(drafts: DraftStore, rows: str) -> None:
    draft = drafts.create("tickets", "my rows.jsonl", {"data.path": rows, "data.shape": "text", "lora.rank": 4}, "f")
    again = drafts.from_text(draft, "burnish train --epochs 2 \\\n  --lr=1e-3 --set lora.rank=8 --json")
    kept = {"data.path": rows, "data.shape": "text"}
    assert again.options == kept | {"train.epochs": 2, "train.learning_rate": 0.001, "lora.rank": 8}
    assert again.file == "f", "rows that are not named stay"
    moved = drafts.from_text(draft, "burnish train other.jsonl")
    assert (moved.options, moved.file, moved.source) == ({"data.path": "other.jsonl"}, "", "other.jsonl")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("burnish train rows.jsonl --epoch 2", "--epoch"),
        ("burnish serve run", "not a command with a recipe"),
        ("burnish train 'rows", "not a command"),
        ("burnish train rows.jsonl --set lerning_rate=1", "lerning_rate"),
        ("burnish train rows.jsonl --trust-remote-code", "run code"),
        ("burnish train rows.jsonl --runs elsewhere", "decided by the studio"),
    ],
)
def test_a_wrong_command_is_refused_by_name(drafts: DraftStore, rows: str, text: str, what: str) -> None:
    draft = drafts.create("tickets", "", {"data.path": rows})
    with pytest.raises(RecipeError, match=what):
        drafts.from_text(draft, text)
