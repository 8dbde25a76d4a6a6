"""Task `text-to-text`: what a model with an encoder and a decoder reads and learns to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from burnish.data.chat.probe import CALL_THOUGHT, message_keys
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import read_events
from burnish.tasks.task import Task
from burnish.tasks.text_to_text import TEXT_TO_TEXT
from burnish.workflows.run import load_run
from burnish.workflows.train import train
from tests.tiny_architectures import make_text_to_text_tokenizer, save_architecture
from tests.tiny_data import make_recipe, write_rows

EOS = 2
ROLES = "user: {0}\nassistant: {1}\nuser: {0}"


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """One message."""
    return {"role": role, "content": content, **more}


def record(*messages: dict[str, Any]) -> ChatRecord:
    """A conversation."""
    return ChatRecord(messages, None, "made.jsonl:1")


@pytest.fixture
def task() -> Task:
    """The task with a tokenizer that ends texts with EOS."""
    return TEXT_TO_TEXT.make(make_text_to_text_tokenizer(), Recipe())


def spelled(task: Task, ids: list[int]) -> str:
    """Ids as text, without special tokens."""
    return task.encoder._tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_an_instruction_is_read_as_it_is_and_the_answer_ends_with_eos(task: Task) -> None:
    (example,) = task.encoder.encode(record(turn("user", "Say hello."), turn("assistant", "Hello!")), 64).examples
    assert spelled(task, example.source_ids) == "Say hello."
    assert spelled(task, example.target_ids) == "Hello!"
    assert example.target_ids.count(EOS) == 1
    assert example.target_ids[-1] == EOS
    assert (example.num_trained, example.num_tokens) == (
        len(example.target_ids),
        len(example.source_ids) + len(example.target_ids),
    )


def test_every_answer_is_learned_from_the_turns_before_it(task: Task) -> None:
    messages = (
        turn("system", "Be brief."),
        turn("user", "Who?"),
        turn("assistant", "Anna."),
        turn("user", "Where?"),
        turn("assistant", "In Rome."),
    )
    first, second = task.encoder.encode(record(*messages), 90).examples
    assert spelled(task, first.source_ids) == "Be brief.\n\nWho?"
    assert spelled(task, second.source_ids) == "system: Be brief.\nuser: Who?\nassistant: Anna.\nuser: Where?"
    assert spelled(task, second.target_ids) == "In Rome."


def test_a_long_source_loses_its_beginning_and_a_long_answer_its_row(task: Task) -> None:
    row = task.encoder.encode(record(turn("user", "one two three four five six seven"), turn("assistant", "Yes.")), 12)
    (example,) = row.examples
    assert len(example.source_ids) == 12
    assert example.source_ids[-1] == EOS
    assert spelled(task, example.source_ids).endswith("seven")
    assert row.truncated_tokens > 0
    with pytest.raises(RowError, match=r"the answer alone is \d+ tokens"):
        task.encoder.encode(record(turn("user", "Go on."), turn("assistant", "one two three four five six")), 12)


def test_tool_calls_are_refused(task: Task) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    for answer in (
        turn("assistant", None, tool_calls=[call]),
        turn("assistant", "I will.", tool_calls=[call]),
        turn("assistant", None),
    ):
        with pytest.raises(RowError, match="tool call"):
            task.encoder.encode(record(turn("user", "Call."), answer), 64)


def test_an_answer_of_weight_0_is_not_learned(task: Task) -> None:
    messages = (
        turn("user", "Who?"),
        turn("assistant", "Bob.", weight=0),
        turn("user", "No."),
        turn("assistant", "Anna."),
    )
    (example,) = task.encoder.encode(record(*messages), 90).examples
    assert spelled(task, example.target_ids) == "Anna."
    assert "Bob." in spelled(task, example.source_ids)


def test_a_row_in_segments(task: Task) -> None:
    (example,) = task.encoder.encode(record(turn("user", "Who?"), turn("assistant", "Anna.")), 64).examples
    read, written = task.encoder.segments(example)
    assert (read.ids, set(read.is_learned)) == (example.source_ids, {False})
    assert (written.ids, set(written.is_learned)) == (example.target_ids, {True})


def test_lengths_at_the_context(task: Task) -> None:
    asked, answer = "one two three four five six seven", "one two three"
    whole = task.encoder._tokenizer(asked)["input_ids"]
    target = len(task.encoder._tokenizer(answer)["input_ids"])
    messages = turn("user", asked), turn("assistant", answer)
    assert len(whole) > target + 1
    for context in (len(whole), len(whole) - 1, target):
        row = task.encoder.encode(record(*messages), context)
        assert row.truncated_tokens == len(whole) - context
        assert row.examples[0].source_ids == whole[len(whole) - context :]
    with pytest.raises(RowError, match=f"the answer alone is {target} tokens, more than the context of {target - 1}$"):
        task.encoder.encode(record(*messages), target - 1)
    twice = task.encoder.encode(record(*messages, *messages), len(whole))
    assert twice.truncated_tokens == len(task.encoder._tokenizer(ROLES.format(asked, answer))["input_ids"]) - len(whole)


def test_bos_stays_in_front_of_a_cut_source() -> None:
    tokenizer = make_text_to_text_tokenizer()
    ids = tokenizer("a b c d e f g h", add_special_tokens=False)["input_ids"]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A </s>", special_tokens=[("</s>", EOS)]
    )
    bos = TEXT_TO_TEXT.make(tokenizer, Recipe())
    assert bos.encoder._lead == [EOS]
    (example,) = bos.encoder.encode(record(turn("user", "a b c d e f g h"), turn("assistant", "a")), 8).examples
    assert example.source_ids == [EOS, *ids[-6:], EOS]


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_ends_once_if_there_is_a_token_for_it(ends: bool) -> None:
    tokenizer = make_text_to_text_tokenizer()
    plain = tokenizer("Anna.", add_special_tokens=False)["input_ids"]
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel()
    tokenizer.eos_token = "</s>" if ends else None
    bare = TEXT_TO_TEXT.make(tokenizer, Recipe())
    (example,) = bare.encoder.encode(record(turn("user", "Who?"), turn("assistant", "Anna.")), 64).examples
    assert example.target_ids == [*plain, *[EOS] * ends]
    assert bare.predictor.stop_ids == [EOS] * ends


def test_what_is_asked_and_served(task: Task) -> None:
    messages = (turn("user", "Who?"), turn("assistant", " Anna. "))
    question = task.predictor.question(record(*messages))
    assert question is not None
    assert (question.prompt, question.answer, question.place) == ("Who?", "Anna.", "made.jsonl:1")
    assert question.prompt_ids == task.predictor.prompt_ids("Who?") == task.predictor.prompt_ids([messages[0]])
    assert task.predictor.served_prompts(record(*messages)) == [question.prompt_ids] * 2
    with_tools = ChatRecord(messages, ({"type": "function"},), "made.jsonl:1")
    assert task.predictor.served_prompts(with_tools) == [question.prompt_ids]
    (example,) = task.encoder.encode(record(*messages), 64).examples
    assert task.predictor.trained_prompt(record(*messages), example) == (example.source_ids, example.target_ids)
    assert task.predictor.answer_text(" Anna.\n") == "Anna."
    longer = record(*messages, turn("user", "Where?"), turn("assistant", "In Rome."))
    later = task.predictor.question(longer)
    assert later is not None
    assert (later.prompt, later.answer) == ("Where?", "In Rome.")
    assert task.predictor.served_prompts(longer) == [later.prompt_ids] * 2
    assert later.prompt_ids == task.predictor.prompt_ids(list(longer.messages[:3]))
    empty = task.predictor.question(record(turn("user", ""), messages[1]))
    assert empty is not None
    assert empty.prompt == ""


def test_padding_changes_no_loss(tmp_path: Path) -> None:
    folder = save_architecture("T5", tmp_path)
    network = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    task = TEXT_TO_TEXT.make(AutoTokenizer.from_pretrained(folder), Recipe())
    pairs = [("Who?", "Anna lives by the river."), ("Where does the old man live, by the river?", "Rome."), ("Hm", "A")]
    examples = [
        task.encoder.encode(record(turn("user", asked), turn("assistant", result)), 64).examples[0]
        for asked, result in pairs
    ]
    caches: list[bool] = []
    handle = network.register_forward_pre_hook(
        lambda module, given, named: caches.append(named["use_cache"]), with_kwargs=True
    )
    task.objective.losses(network, task.encoder.collate(examples, [[0]], False, None))
    handle.remove()
    assert caches == [False], "a cache would only take memory"
    with torch.no_grad():
        together = task.encoder.collate(examples, [[1], [2], [0]], False, None)
        losses = task.objective.losses(network, together)
        assert len(losses) == together.num_trained == int((together.targets != IGNORED).sum())
        for index, example in enumerate(examples):
            alone = task.objective.losses(network, task.encoder.collate(examples, [[index]], False, None))
            torch.testing.assert_close(losses[together.owners == index], alone, rtol=1e-4, atol=1e-5)
            labels = torch.tensor([example.target_ids])
            own = network(input_ids=torch.tensor([example.source_ids]), labels=labels).loss
            torch.testing.assert_close(alone.mean(), own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_it_trains_and_answers(method: str, tmp_path: Path) -> None:
    """Rows of a conversation and a model of this kind make the task by themselves; generation starts at the answer."""
    model = save_architecture("T5", tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Say it.", "completion": "Rome Rome."}\n' * 3 + '{"prompt": "a", "completion": "b"}\n')
    recipe = make_recipe(
        rows, model, tmp_path / "runs", method=method, train__epochs=25, train__learning_rate=0.05,
        train__early_stopping=False, data__validation=str(write_rows(tmp_path / "valid.jsonl", 2)),
    )  # fmt: skip
    run = load_run(str(train(recipe).path))
    assert run.summary["recipe"]["task"] == "text-to-text"
    steps = [line for line in read_events(run.folder.metrics) if line["event"] == "StepDone"]
    assert steps[-1]["loss"] < 0.5 * steps[0]["loss"]
    assert run.chat([{"role": "user", "content": "Say it."}], max_new_tokens=12) == run.generate("Say it.", 12)


def test_what_is_left_out_of_messages_is_named(task: Task) -> None:
    messages = (
        turn("user", "the fox", name="Ann"),
        turn("assistant", "a boat", reasoning_content="Hm."),
    )
    (example,) = task.encoder.encode(record(*messages), 64).examples
    assert spelled(task, example.target_ids) == "a boat"
    assert task.encoder.notes_on(message_keys(messages)) == [
        "thoughts are left out, except where they are a part of an answer's text",
        "these keys of the messages are not used: `name`",
    ]
    assert task.encoder.notes_on([CALL_THOUGHT]) == task.encoder.notes_on([]) == []
    late = [*messages, {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": " Yes. "}]
    assert task.encoder.notes_on(message_keys(late)) == task.encoder.notes_on(message_keys(messages))
