"""Task, model and method: what is taken, and what is refused in which words."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from transformers import BertConfig, GPT2Config, LlamaConfig, T5Config

from burnish.errors import RecipeError
from burnish.methods import make_method
from burnish.methods.method import Method
from burnish.models.heads import CAUSAL, Head
from burnish.prepare.first_checks import check_choices
from burnish.prepare.resolve import check_pair, check_shape, choose_task, default_model
from burnish.recipe.schema import AUTO, BUNDLED_MODELS, Recipe
from burnish.tasks import task_facts, task_names, writes_text


class Writes:
    """A task for models that write."""

    name: ClassVar[str] = "writes"
    kinds: ClassVar[tuple[str, ...]] = ("causal",)


class Turns:
    """A task for models that turn one text into another."""

    name: ClassVar[str] = "turns"
    kinds: ClassVar[tuple[str, ...]] = ("seq2seq",)


class Labels:
    """A task for most models."""

    name: ClassVar[str] = "labels"
    kinds: ClassVar[tuple[str, ...]] = ("masked", "causal")


class Sees:
    """A task for models that see."""

    name: ClassVar[str] = "sees"
    kinds: ClassVar[tuple[str, ...]] = ("image-text",)


TABLE: dict[str, Any] = {task.name: task for task in (Writes, Turns, Labels, Sees)}


@pytest.mark.parametrize(
    ("option", "value", "near"),
    [("task", "chatt", "`chat`"), ("method", "lroa", "`lora`"), ("task", "zzz", None)],
)
def test_what_there_is_not_is_refused_with_the_nearest(option: str, value: str, near: str | None) -> None:
    with pytest.raises(RecipeError, match=f"there is no {option} `{value}`") as caught:
        check_choices(Recipe.model_validate({option: value}), ["text", "chat"], ["full", "lora"])
    assert caught.value.fix == (f"Did you mean {near}?" if near else "")
    listed = f"Choose one of `auto`, {'`full`, `lora`' if option == 'method' else '`text`, `chat`'}."
    assert caught.value.why == listed


def test_what_there_is_passes() -> None:
    for task in (AUTO, "text", "chat"):
        check_choices(Recipe(task=task), ["text", "chat"], ["full", "lora"])
    for method in (AUTO, "full"):
        check_choices(Recipe(method=method), ["text"], ["full", "lora"])


def test_rows_of_another_task_are_refused_with_the_task_they_are_for() -> None:
    with pytest.raises(RecipeError) as caught:
        check_shape(Recipe(task="tag"), "alpaca", ["chat", "text-to-text"])
    assert caught.value.what == "the rows do not fit the task `tag`"
    assert caught.value.why == "They have the shape `alpaca`, which is for the task `chat` or `text-to-text`."
    assert "Leave `task` at `auto`" in caught.value.fix
    for task in (AUTO, "chat", "text-to-text"):
        check_shape(Recipe(task=task), "alpaca", ["chat", "text-to-text"])


@pytest.mark.parametrize(("task", "model"), [("writes", "seedling"), ("labels", "acorn")])
def test_a_task_has_its_bundled_model(task: str, model: str) -> None:
    name, reason = default_model(TABLE[task])
    assert name == model
    assert name in BUNDLED_MODELS
    assert reason.startswith("the bundled model that")


def test_a_task_that_no_bundled_model_can_do_needs_one_to_be_named() -> None:
    with pytest.raises(RecipeError, match="the task `sees` has no bundled model") as caught:
        default_model(TABLE["sees"])
    assert caught.value.why == "It needs a model that takes images and text."
    assert "--model" in caught.value.fix


@pytest.mark.parametrize(
    ("wanted", "names", "kind", "task", "reason"),
    [
        (AUTO, ["writes", "turns"], "causal", "writes", "the shape of the rows"),
        (AUTO, ["writes", "turns"], "seq2seq", "turns", "the shape of the rows and the kind of model"),
        (AUTO, ["labels"], "masked", "labels", "the shape of the rows"),
        ("turns", ["writes", "turns"], "seq2seq", "turns", "the shape of the rows"),
    ],
)
def test_rows_and_model_choose_the_task(wanted: str, names: list[str], kind: str, task: str, reason: str) -> None:
    chosen, why = choose_task(wanted, [TABLE[name] for name in names], kind, "mine")
    assert (chosen.name, why) == (task, reason)


@pytest.mark.parametrize(
    ("wanted", "names", "kind", "what", "why"),
    [
        (
            AUTO,
            ["writes", "turns"],
            "masked",
            "`mine` cannot be used for the task `writes` or `turns`",
            "It encodes a text in both directions (an encoder); the task needs a model that continues a text (a "
            "decoder) or that maps one text to another (an encoder-decoder).",
        ),
        (
            "writes",
            ["writes", "turns"],
            "seq2seq",
            "`mine` cannot be used for the task `writes`",
            "It maps one text to another (an encoder-decoder); the task needs a model that continues a "
            "text (a decoder).",
        ),
        (
            AUTO,
            ["labels"],
            "image-text",
            "`mine` cannot be used for the task `labels`",
            "It takes images and text; the task needs a model that encodes a text in both directions (an encoder) or "
            "that continues a text (a decoder).",
        ),
    ],
)
def test_a_model_of_the_wrong_kind_is_refused(wanted: str, names: list[str], kind: str, what: str, why: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose_task(wanted, [TABLE[name] for name in names], kind, "mine")
    assert (caught.value.what, caught.value.why) == (what, why)
    assert "--model" in caught.value.fix
    assert caught.value.exit_code == 2


def test_a_head_that_transformers_has_not_is_refused() -> None:
    """BERT predicts whether one sentence follows another; Llama has no such head."""
    head = Head("AutoModelForNextSentencePrediction", "SEQ_CLS")
    with pytest.raises(RecipeError, match="`mine` cannot be used for the task `labels`") as caught:
        check_pair(TABLE["labels"], head, make_method("lora"), LlamaConfig(), "mine")
    why = "transformers has no NextSentencePrediction model for weights of type `llama`."
    assert caught.value.why == why
    check_pair(TABLE["labels"], head, make_method("lora"), BertConfig(), "mine")


class Picky:
    """A method that takes no GPT-2."""

    name: ClassVar[str] = "picky"

    def refuses(self, head: Head, config: Any) -> str:
        """With a reason."""
        return "It has no gates." if config.model_type == "gpt2" else ""


def test_a_method_may_refuse_and_says_why() -> None:
    picky: Method = Picky()  # type: ignore[assignment]
    with pytest.raises(RecipeError) as caught:
        check_pair(TABLE["writes"], CAUSAL, picky, GPT2Config(), "mine")
    assert caught.value.what == "the method `picky` cannot be used for the task `writes` with `mine`"
    assert caught.value.why == "It has no gates."
    assert "--method lora" in caught.value.fix
    check_pair(TABLE["writes"], CAUSAL, picky, LlamaConfig(), "mine")


def test_an_encoder_with_a_decoder_writes_no_text_of_its_own() -> None:
    with pytest.raises(RecipeError, match="`mine` cannot be used for the task `writes`"):
        check_pair(TABLE["writes"], CAUSAL, make_method("full"), T5Config(), "mine")


def test_the_command_line_knows_which_tasks_write() -> None:
    """It offers `chat` for these alone, and must not load the tasks to find out."""
    assert {name: task_facts(name).generates for name in task_names()} == {
        name: writes_text(name) for name in task_names()
    }
