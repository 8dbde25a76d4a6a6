"""What `chat` and `generate` feed the model is, token for token, what the answers were trained from.

The model is a stand-in: it says the very tokens that training would teach it, so that the next turn is fed what the
session made of them.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import tests.unit.data.chat_templates as styles
import tests.unit.data.thinking_templates as thinking
from burnish.cli.commands.generate import talk
from burnish.data.chat.format import ChatFormat
from burnish.data.rows.records import PreferenceRecord
from burnish.data.rows.row import Example
from burnish.decoding import generate
from burnish.decoding.row import Asked
from burnish.decoding.text_stream import Decoder
from burnish.inference.session import open_session
from burnish.models.location import locate_model
from burnish.recipe.schema import ModelSection, Recipe
from burnish.selftest.weight_rules import compare_served
from burnish.tasks import make_task
from burnish.tasks.chat import ChatPredictor
from tests.tiny_architectures import make_text_to_text_tokenizer
from tests.tiny_models import make_tokenizer, save_model
from tests.tiny_vision import FAMILIES, draw, drawn_record, save_vision_model
from tests.unit.cli.streams import Screen
from tests.unit.data.chat.test_chat_format import CHATS, STYLES, is_trained, record
from tests.unit.data.tiny_tokenizers import GPT2, sentence_piece

CONTEXT = 2048


def seedlings() -> Any:
    """The tokenizer of the bundled model, with the template that lies beside it."""
    return AutoTokenizer.from_pretrained(str(locate_model(ModelSection(name="seedling")).folder))


def llama1() -> Any:
    """SentencePiece that splits nothing beforehand, with [INST] as plain text."""
    tokenizer = sentence_piece([], eos="</s>", bos="<s>", crosses_lines=True)
    tokenizer.chat_template = styles.MISTRAL
    return tokenizer


ALL: dict[str, Callable[[], Any]] = {
    **STYLES,
    "picky-calls": lambda: styles.chatml(styles.PICKY_CALLS),
    "llama3-without-bos": lambda: styles.llama3(adds_bos=False),
    "llama3-gpt2-splits": lambda: styles.llama3(pattern=GPT2),
    "llama1": llama1,
    "system-last": thinking.system_last,
    "drops-earlier": lambda: styles.chatml(thinking.DROPS_EARLIER),
    "empty-thought": lambda: styles.chatml(thinking.EMPTY_THOUGHT),
    "tiny": make_tokenizer,
    "seedling": seedlings,
}
TALKS = ("single", "multi", "system", "thought")


@pytest.fixture(scope="module", params=ALL)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the tokenizer and template of a style."""
    tokenizer = ALL[request.param]()
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer) + 1, max_position_embeddings=CONTEXT, **sizes)
    return save_model(tmp_path_factory.mktemp(request.param), LlamaForCausalLM(config), tokenizer)


@pytest.fixture(scope="module")
def session(folder: Path) -> Any:
    """That answers with the model. Shared: each test puts another parrot into it."""
    return open_session(str(folder))


@pytest.fixture(scope="module")
def task(folder: Path) -> Any:
    """Chats, with its tokenizer. Shared: nothing changes it."""
    return make_task("chat", AutoTokenizer.from_pretrained(str(folder)), Recipe())


class Parrot:
    """Says one answer after the other, and remembers what it was fed."""

    def __init__(self, answers: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
        self.fed: list[list[int]] = []
        self.stops: list[Collection[int]] = []
        self._answers = iter(answers)
        monkeypatch.setattr(generate, "_written", self)

    def __call__(self, batch: Any, asked: Sequence[Asked], on_token: Callable[[int], None]) -> list[list[int]]:
        """In place of the batch that would write."""
        (one,) = asked
        self.fed.append(one.ids)
        self.stops.append(one.stop_ids)
        answer = next(self._answers)
        for token in answer:
            on_token(token)
        return [answer]


def trained_turns(examples: list[Example]) -> list[tuple[list[int], list[int]]]:
    """For each trained answer what stands before it, and the answer with the token that ends it."""
    turns = []
    for example in examples:
        ids = [int(token) for token in example.input_ids]
        marks = [is_trained(example, at) for at in range(len(ids))]
        starts = [at for at in range(len(ids)) if marks[at] and (at == 0 or not marks[at - 1])]
        for start in starts:
            end = next((at for at in range(start, len(ids)) if not marks[at]), len(ids))
            turns.append((ids[:start], ids[start:end]))
    return turns


@pytest.mark.parametrize("name", TALKS)
def test_a_talk_is_fed_what_was_trained(name: str, session: Any, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = record(name)
    turns = trained_turns(task.encoder.encode(row, CONTEXT).examples)
    assert len(turns) == sum(message["role"] == "assistant" for message in row.messages)
    parrot = Parrot([answer for _, answer in turns], monkeypatch)
    system = [message for message in row.messages if message["role"] == "system"]
    typed = "".join(f"{message['content']}\n" for message in row.messages if message["role"] == "user")
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    talk(Screen().console, session, list(system), {"max_new_tokens": 64, "temperature": 0.0})
    assert parrot.fed == [prompt for prompt, _ in turns]
    assert all(answer[-1] in stops for (_, answer), stops in zip(turns, parrot.stops, strict=True))


def test_a_prompt_is_fed_as_it_was_trained(session: Any, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ((prompt, answer),) = trained_turns(task.encoder.encode(record("single"), CONTEXT).examples)
    parrot = Parrot([answer], monkeypatch)
    said = session.generate(CHATS["single"][0]["content"])
    assert said.removeprefix("</think>").lstrip() == "Fine.", "but for an empty thought that the template opens"
    assert parrot.fed == [prompt]


def test_what_a_template_writes_before_an_answer_is_not_shown_as_it_comes() -> None:
    """The stream holds it back, and gives out an answer that begins otherwise."""
    tokenizer: Any = styles.chatml(styles.NO_PROMPT)
    task: Any = make_task("chat", tokenizer, Recipe())
    ((_, answer),) = trained_turns(task.encoder.encode(record("single"), CONTEXT).examples)
    assert tokenizer.decode(answer).startswith("<|im_start|>assistant\n")
    for ids, text in ((answer, "Fine."), (tokenizer("ass and Fine.")["input_ids"], "ass and Fine.")):
        decoder = Decoder(tokenizer, task.predictor.visible_ids)
        assert "".join([*map(decoder.add, ids), decoder.rest()]) == text


@pytest.mark.parametrize("name", [*TALKS, "tools"])
def test_a_question_is_asked_as_it_was_trained(name: str, task: Any) -> None:
    """What evaluating asks of the last answer, with tools where there are any."""
    row = record(name)
    prompt, answer = trained_turns(task.encoder.encode(row, CONTEXT).examples)[-1]
    question = task.predictor.question(row)
    assert question is not None
    assert question.prompt_ids == prompt
    assert answer[-1] in task.predictor.stop_ids
    seen = compare_served(task, [row])
    assert (seen.prompts, seen.wrong) == (2, 0)


def test_pairs_are_prompted_as_conversations_are(folder: Path) -> None:
    pair = PreferenceRecord(
        CHATS["multi"][:3], CHATS["multi"][3:], ({"role": "assistant", "content": "Bad."},), None, "rows.jsonl:1"
    )
    task = make_task("preference", AutoTokenizer.from_pretrained(str(folder)), Recipe(task="preference"))
    seen = compare_served(task, [pair])
    assert (seen.prompts, seen.wrong) == (1, 0)


@pytest.mark.parametrize("name", TALKS)
def test_an_encoder_reads_what_it_was_trained_to_read(name: str) -> None:
    task = make_task("text-to-text", make_text_to_text_tokenizer(), Recipe(task="text-to-text"))
    seen = compare_served(task, [record(name)])
    assert (seen.prompts, seen.wrong) == (2, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_shown_as_they_were_trained(family: str, tmp_path: Path) -> None:
    model = save_vision_model(family, tmp_path / "model")
    picture = draw(tmp_path / "red.png", "red")
    task: Any = make_task("vision", AutoTokenizer.from_pretrained(str(model)), Recipe(task="vision"))
    row: Any = drawn_record([picture], "What is it?", "It is red.")
    seen = compare_served(task, [row])
    assert (seen.prompts, seen.wrong) == (1, 0)
    ((prompt, answer),) = trained_turns(task.encoder.encode(row, CONTEXT).examples)
    asked = {"role": "user", "content": json.dumps({"prompt": "<image>What is it?", "images": [str(picture)]})}
    assert task.predictor.prompt_ids([asked]) == prompt
    assert answer[-1] in task.predictor.stop_ids


class Longer(ChatPredictor):
    """Puts a token too many after a user's turns."""

    def prompt_ids(self, prompt: Any, tools: Any = None) -> list[int]:
        """Wrong by one."""
        return [*super().prompt_ids(prompt, tools), 7]


class Endless(ChatPredictor):
    """Stops at a token that no answer ends with."""

    @property
    def stop_ids(self) -> list[int]:
        """Never written."""
        return [0]


def test_a_difference_would_be_counted() -> None:
    """One token more is one wrong token; an answer that ends with no stop token is another."""
    row = record("single")
    task = make_task("chat", styles.chatml(), Recipe())
    chat_format = ChatFormat(styles.chatml())
    assert compare_served(replace(task, predictor=Longer(chat_format)), [row]).wrong == 1
    endless = replace(task, predictor=Endless(chat_format))
    assert compare_served(endless, [row]).wrong == 2, "once for each way of asking"


def test_a_thought_that_the_template_opened_is_no_part_of_the_answer() -> None:
    """The model goes on behind the open tag, so its text has only the end of it."""
    task: Any = make_task("chat", styles.chatml(styles.OPENS_THOUGHT), Recipe())
    ((_, answer),) = trained_turns(task.encoder.encode(record("single"), CONTEXT).examples)
    said = str(styles.chatml().decode(task.predictor.visible_ids(answer), skip_special_tokens=True))
    assert said.strip() == "</think>\n\nFine."
    assert task.predictor.answer_text(said) == "Fine."
    assert task.predictor.answer_text("Well.\n</think>\n\nFine.") == "Fine."
    assert task.predictor.answer_text("<think>\nWell.\n</think>\n\nFine.") == "Fine."
